"""ImageNet weights: which file is taken, fetching it, and what is said where that fails."""

import functools
import http.server
import threading

import keras
import numpy as np
import pytest

from helpers import models, pretrained, run_mode

NAME = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_%s_no_top.h5"
encoder = functools.partial(models.mobilenetv2_encoder, alpha=0.35)


@pytest.fixture
def home(monkeypatch, tmp_path):
    """An empty folder of Keras; nothing lies in the one that it falls back on."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    own = run_mode.keras_homes()[0]
    monkeypatch.setattr(run_mode, "keras_homes", lambda: (own, tmp_path / "other"))
    (own / "models").mkdir(parents=True)
    return own


@pytest.fixture
def no_network(monkeypatch):
    """The URLs that were asked for; none answers."""
    asked = []
    monkeypatch.setattr(pretrained.downloads, "host_answers", asked.append)
    return asked


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file of MobileNetV2 in Keras's format, with an alpha of 0.35."""
    base = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, include_top=False, weights=None)
    path = tmp_path_factory.mktemp("weights") / "all.h5"  # in the old format, as on Keras's host
    base.save(path)
    return path


def is_from(model, path):
    """Whether a model has the weights of a file, and not random ones."""
    with_file = encoder((32, 32), weights=path)
    return all(map(np.array_equal, model.get_weights(), with_file.get_weights()))


@pytest.mark.parametrize(
    "size, there, taken",
    [
        ((128, 128), ["0.35_128", "0.35_224"], "0.35_128"),
        ((128, 128), ["0.35_224", "0.35_96"], "0.35_224"),
        ((64, 96), ["0.35_96", "0.35_224"], "0.35_224"),
        ((256, 256), ["0.35_96"], "0.35_96"),
    ],
)
def test_a_file_that_serves_is_taken_without_a_network(
    home, no_network, weights, capsys, size, there, taken
):
    for name in there:
        content = weights.read_bytes() if name == taken else b"another"
        (home / "models" / (NAME % name)).write_bytes(content)
    assert is_from(encoder(size), weights)
    said = capsys.readouterr().out
    own = "0.35_128" if size == (128, 128) else "0.35_224"  # what Keras would read
    assert (NAME % taken in said and "fit any size" in said) == (taken != own)
    assert not no_network


def test_a_file_in_the_folder_that_keras_falls_back_on_is_taken(home, no_network, weights):
    other = run_mode.keras_homes()[1] / "models"
    other.mkdir(parents=True)
    (other / (NAME % "0.35_224")).write_bytes(weights.read_bytes())
    assert is_from(encoder((32, 32)), weights) and not no_network


@pytest.mark.parametrize(
    "size, alpha, name",
    [
        ((128, 128), 1.0, "1.0_128"),
        ((256, 256), 1.0, "1.0_224"),
        ((128, 160), 0.5, "0.5_224"),
        ((128, 128), 1.4, "1.4_224"),  # there is no 1.4_128
    ],
)
def test_missing_weights_are_named(home, no_network, size, alpha, name):
    with pytest.raises(FileNotFoundError, match="host does not answer.*weights=None") as error:
        models.mobilenetv2_unet(size, 3, alpha=alpha)
    assert f"not in {home / 'models' / (NAME % name)} and" in str(error.value)
    assert no_network == [f"{pretrained.HOST}mobilenet_v2/{NAME % name}"]


def test_an_alpha_without_imagenet_weights_is_refused(home, no_network):
    with pytest.raises(ValueError, match=r"alpha=0.9: ImageNet weights are there for \(0.35, "):
        models.mobilenetv2_unet(32, 3, alpha=0.9)


@pytest.fixture
def host(monkeypatch, tmp_path):
    """A host with a folder of its own."""
    folder = tmp_path / "host"
    (folder / "mobilenet_v2").mkdir(parents=True)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(pretrained, "HOST", f"http://127.0.0.1:{server.server_port}/")
        yield folder / "mobilenet_v2"
        server.shutdown()


def test_weights_are_fetched_once(home, host, weights, capsys):
    (host / (NAME % "0.35_224")).write_bytes(weights.read_bytes())
    assert is_from(encoder((32, 32)), weights)
    path = home / "models" / (NAME % "0.35_224")
    assert f"ImageNet weights: downloaded to {path}\n" in capsys.readouterr().out
    (host / (NAME % "0.35_224")).unlink()
    assert is_from(encoder((32, 32)), weights)


def test_a_folder_that_is_not_there_is_made(monkeypatch, tmp_path, host, weights):
    (host / (NAME % "0.35_224")).write_bytes(weights.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", "~/new/keras")
    assert is_from(encoder((32, 32)), weights)
    assert (tmp_path / "new/keras/models" / (NAME % "0.35_224")).is_file()


def test_a_download_that_fails_says_what_to_do(home, host, monkeypatch):
    monkeypatch.setattr(pretrained.downloads, "host_answers", lambda url: True)
    with pytest.raises(FileNotFoundError, match="fetching them failed .*404.*Put http.* there"):
        encoder((32, 32))
    assert not list((home / "models").iterdir())


@pytest.mark.parametrize("inside", [False, True])
def test_a_folder_that_is_a_file_is_said_so(monkeypatch, tmp_path, inside):
    home = tmp_path / "file"
    home.touch()
    monkeypatch.setenv("KERAS_HOME", str(home / "keras" if inside else home))
    with pytest.raises(
        NotADirectoryError, match=f"the folder {home}.* that is a file.*KERAS_HOME"
    ):
        encoder((32, 32))


@pytest.mark.parametrize(
    "damage, reason",
    [
        (lambda content: content[:-1000], "truncated file"),
        (lambda content: b"<!doctype html>", "signature not found"),
        (lambda content: b"", "signature not found"),
    ],
)
def test_a_damaged_file_is_named(home, no_network, weights, damage, reason):
    path = home / "models" / (NAME % "0.35_224")
    path.write_bytes(damage(weights.read_bytes()))
    message = f"{path} does not hold weights of MobileNetV2.* .*{reason}.*Delete it and run again"
    with pytest.raises(ValueError, match=message):
        encoder((32, 32))


def test_a_file_of_ones_own_that_does_not_fit_is_named(tmp_path, weights):
    with pytest.raises(FileNotFoundError, match=f"no weights file {tmp_path}/none.h5"):
        encoder((32, 32), weights=tmp_path / "none.h5")
    with pytest.raises(ValueError, match=f"{weights} .* of another network .*Shape mismatch"):
        models.mobilenetv2_encoder((32, 32), alpha=0.5, weights=weights)
    (tmp_path / "page.keras").write_text("<!doctype html>")
    with pytest.raises(ValueError, match="page.keras does not hold weights of MobileNetV2"):
        encoder((32, 32), weights=tmp_path / "page.keras")


@pytest.mark.parametrize("channels", [2, 5])
def test_a_grey_image_is_seen_alike_in_any_number_of_channels(weights, channels):
    grey = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 1)).astype(np.float32)
    of_rgb, other = (encoder((32, 32), weights=weights, channels=n) for n in (3, channels))
    for expected, found in zip(
        of_rgb(np.repeat(grey, 3, -1)), other(np.repeat(grey, channels, -1))
    ):
        assert np.ptp(expected) > 0 and np.allclose(found, expected, atol=1e-5)


@pytest.mark.real_data
@pytest.mark.parametrize("size", [128, 256])
def test_the_real_imagenet_weights_are_taken(size):
    if not any(
        (home / "models" / (NAME % "1.0_224")).is_file() for home in run_mode.keras_homes()
    ):
        pytest.skip("the ImageNet weights are not in Keras's folder")
    first, again = (models.mobilenetv2_encoder((size, size)).get_weights() for _ in range(2))
    assert all(map(np.array_equal, first, again))  # random ones would differ
