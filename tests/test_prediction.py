"""Masks that fit the photo, and a command that never leaves half of them."""

import contextlib
import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

import cv2
import keras
import numpy as np
import PIL.Image
import pytest
import skimage.data
import tensorflow as tf
from PIL.Image import Transpose

from helpers import (
    evaluation,
    exported,
    models,
    overlays,
    photos,
    pipeline,
    prediction,
    tiles,
    weights,
)
from helpers.classes import PETS, Labelling
from helpers.datasets import read_records
from helpers.photos import View
from helpers.prediction.__main__ import main
from tests.test_photos import CLASSES, COLOUR, PALETTE, PICTURE, exif, refuse, saved

REPOSITORY = Path(__file__).parents[1]
RNG = np.random.default_rng(0)


class Mixture:
    """A model whose logits are mixtures of a pixel's red, green and blue."""

    def __init__(self, mixture, bias=0, size=(32, 32)):
        self.mixture, self.bias, self.input_shape = mixture, bias, (None, *size, 3)

    def predict_on_batch(self, images):
        return images @ np.array(self.mixture, np.float32) / 20 + self.bias


def by_redness(threshold):
    return weights.Network(Mixture([[1], [0], [0]], -6), PETS, threshold)


def labelling(count):
    colors = map(tuple, RNG.integers(0, 256, (count, 3)))
    return Labelling(tuple(f"class {k}" for k in range(count)), tuple(colors))


BY_COLOUR = weights.Network(Mixture(np.eye(3)), PETS)
TWELVE = weights.Network(Mixture(RNG.normal(size=(3, 12)), size=(24, 40)), labelling(12))

# Predicting


@pytest.mark.parametrize("network", [BY_COLOUR, by_redness(0.4), TWELVE])
@pytest.mark.parametrize(
    "shape", [(32, 32), (1, 1), (3, 10_000), (2, 40_000), (5_000, 2), (7, 9), (700, 901)]
)
def test_a_mask_is_that_of_a_plain_computation_at_full_size(shape, network, monkeypatch):
    monkeypatch.setattr(photos, "STRIP", 5_000)
    photo, size = RNG.integers(0, 256, (*shape, 3), np.uint8), network.model.input_shape[1:3]
    seen = photos.network_input(photo, size)
    ids = prediction.predict_photo(network, photo)
    assert ids.dtype == np.uint8 and np.array_equal(ids, plain_mask(network, seen, shape))


def plain_mask(network, image, shape):
    probabilities = evaluation.predict_probabilities(network.model, np.asarray(image)[None])[0]
    return evaluation.decide(cv2.resize(probabilities, shape[::-1]), network.threshold or 0.5)


@pytest.mark.parametrize(
    "photo", [PICTURE / 255, PICTURE[..., 0], PICTURE[None], PICTURE[:0], PICTURE.astype(int)]
)
def test_what_is_no_photo_array_is_refused(photo):
    message = r"The photo is .*: expected uint8, 0\.\.255, of shape \(H, W, 3\)"
    with pytest.raises(ValueError, match=message):
        prediction.predict_photo(BY_COLOUR, photo)
    with pytest.raises(ValueError, match=message):
        prediction.predict_photo(BY_COLOUR._replace(view=View(overlap=8)), photo)


HUGE = """
import contextlib, re, sys
from helpers.prediction.__main__ import main

def memory(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

for photo in sys.argv[1:]:
    sys.argv[1:] = [photo]
    before = memory("VmRSS")
    with contextlib.suppress(SystemExit):
        main()
print((memory("VmHWM") - before) / 1e8)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures as Linux does")
def test_100_megapixels_take_bounded_memory(tmp_path):
    small, huge = tmp_path / "small.jpg", tmp_path / "huge.jpg"
    COLOUR.save(small)
    PIL.Image.new("RGB", (12_500, 8_000)).save(huge, exif=exif(6))
    command = [sys.executable, "-c", HUGE, small, huge]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert run.returncode == 0 and "8000 x 12500 pixels" in run.stdout, run.stderr
    assert float(run.stdout.split()[-1]) < 8.5  # bytes a pixel
    assert PIL.Image.open(tmp_path / "huge_overlay.png").size == (1024, 1600)


# The command


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the command in an empty folder; returns its exit status, and the lines of its output
    and of its errors."""
    monkeypatch.chdir(tmp_path)
    open_network = weights.open_network

    def run(*options, network=BY_COLOUR, encoding="utf-8"):
        monkeypatch.setattr(
            weights,
            "open_network",
            open_network if network is None else lambda source, **_: network,
        )
        monkeypatch.setattr("sys.argv", ["prediction", *map(str, options)])
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            with pytest.raises(SystemExit) as stop:
                main()
            status = stop.value.code
            if isinstance(status, str):  # as Python itself does
                print(status, file=err, flush=True)
                status = 1
        return status, *(s.buffer.getvalue().decode(encoding).splitlines() for s in (out, err))

    return run


def write_photos(*names, image=COLOUR):
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(saved(image, "PNG"))


def present():
    return {path.as_posix() for path in Path().rglob("*") if path.is_file()}


def test_mask_and_overlay_are_written_beside_the_photo(command):
    write_photos("cat.photo.jpg")
    shares = "pet 25.0 %, background 50.0 %, border 25.0 %"
    files_written = "cat.photo_mask.png, cat.photo_overlay.png"
    line = f"cat.photo.jpg: 48 x 32 pixels, {shares} -> {files_written}"
    assert command("cat.photo.jpg") == (0, [line], [])
    assert present() == {"cat.photo.jpg", *files_written.split(", ")}
    mask = PIL.Image.open("cat.photo_mask.png")
    assert mask.mode == "P" and np.array_equal(mask, CLASSES)


def test_one_logit_has_two_classes_and_its_own_threshold(command):
    write_photos("cat.jpg")
    for threshold, shares in ((0.0, "pet 100.0 %"), (0.3, "pet 25.0 %, background 75.0 %")):
        _, (line,), _ = command("cat.jpg", "--out", "a/b", network=by_redness(threshold))
        assert f"{shares} -> a/b/cat_mask.png" in line


def test_a_weights_file_brings_its_own_classes_and_colours(command):
    keras.utils.set_random_seed(1)
    arguments = {"classes": 4, "width": 4, "depth": 2}
    model = models.unet((64, 128), **arguments)
    saved_network = weights.Network(model, labelling(4), None, "unet", arguments)
    weights.save(saved_network, "own.safetensors")
    photo = RNG.integers(0, 256, (90, 70, 3), np.uint8)
    write_photos("cat.png", image=PIL.Image.fromarray(photo))
    status, *_ = command("cat.png", "--weights", "own.safetensors", network=None)
    network = weights.load("own.safetensors")  # in float16
    expected = plain_mask(network, photos.network_input(photo, (64, 128)), (90, 70))
    mask, overlay = (PIL.Image.open(f"cat_{name}.png") for name in ("mask", "overlay"))
    assert status == 0 and len(np.unique(expected)) > 1 and np.array_equal(mask, expected)
    colors = np.array(saved_network.labelling.colors)
    assert np.array_equal(mask.convert("RGB"), colors[expected])
    assert np.array_equal(overlay, overlays.overlay(photo, expected, network.labelling))


def test_a_failure_does_not_stop_the_others_and_is_listed_again(command, monkeypatch):
    write_photos("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    Path("bad.jpg").write_bytes(b"<html>")
    errors = [MemoryError(), KeyError("x"), PermissionError(13, "Read-only")]
    predict = mock.Mock(side_effect=[*errors, CLASSES])
    monkeypatch.setattr(prediction, "predict_photo", predict)
    status, out, err = command("none.jpg", "bad.jpg", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    assert status == 1 and len(out) == 1 and out[0].startswith("d.jpg: ")
    assert err[5] == "5 of 6 photos failed:" and err[6:] == err[:5]
    assert err[0] == "none.jpg: there is no such file." and err[1].startswith("bad.jpg is a web")
    assert err[2].startswith("a.jpg: There is not enough memory.")
    assert err[3:5] == ["b.jpg: KeyError('x')", "c.jpg: Read-only"]
    assert command("none.jpg") == (1, [], err[:1])  # one alone is not listed again


@pytest.mark.parametrize("name", ["cat_mask.png", "cat_overlay.png"])
def test_a_file_of_the_user_is_not_replaced(command, name):
    write_photos("cat.jpg", name)
    own = Path(name).read_bytes()
    status, _, (err,) = command("cat.jpg")
    assert status == 1 and f"{name} is there and was not written by" in err
    assert Path(name).read_bytes() == own and len(present()) == 2


def test_its_own_files_are_replaced_and_not_taken_for_photos(command):
    write_photos("cat.png")
    assert command("cat.png")[0] == 0
    write_photos("cat.png", image=COLOUR.transpose(Transpose.FLIP_TOP_BOTTOM))
    status, out, _ = command("*.png")
    assert status == 0 and out[0] == "Left out: 2 files made by helpers.prediction."
    assert np.array_equal(PIL.Image.open("cat_mask.png"), CLASSES[::-1]) and len(present()) == 3
    status, _, (err,) = command("cat_mask.png")
    assert status == 1 and err.startswith("cat_mask.png was made from a photo by helpers.")


@pytest.mark.parametrize("second", ["cat.png", "same/cat.jpg"])
def test_two_photos_do_not_write_the_same_files(command, second):
    write_photos("cat.jpg")
    write_photos("cat.png", image=PALETTE)
    Path("same").symlink_to(".")  # as on a disk that takes two names for one
    status, out, err = command("cat.jpg", Path("cat.jpg").absolute(), "./cat.jpg", second)
    assert status == 1 and len(out) == 1
    assert f"{second}: " in err[0] and "cat_mask.png has just been written for" in err[0]


NAMES = ["a b.jpg", "-a.jpg", "\N{CAT FACE}.jpg", "e\u0301.jpg", "\u00e9.jpg", "A.jpg", "a.jpg"]
NAMES += ["new\nline.jpg", "red\x1b[31m.jpg", "no suffix", ".hidden.jpg", "[1].jpg", "~.jpg"]
NAMES += [os.fsdecode(b"\xff.jpg"), 226 * "n" + ".jpg"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_names_of_any_kind(command, encoding):
    for name in NAMES:
        with contextlib.suppress(OSError):  # not every file system takes them all
            write_photos(name)
    given, too_long = sorted(present()), 246 * "n" + ".jpg"
    write_photos(too_long)
    status, out, err = command("--out", "masks", "--", *given, too_long, encoding=encoding)
    assert len(out) == len(given) and not any("\x1b" in line for line in out)
    assert status == 1 and err[-1].startswith(too_long) and "give a shorter name" in err[-1]
    masks = {Path(name).stem for name in present() if "_mask" in name}
    assert masks == {Path(name).stem + "_mask" for name in given}


PATTERNS = {
    "in [1]/*.jpg": ["in [1]/a.jpg", "in [1]/b.jpg"],
    "in*/[ac].???": ["in [1]/a.jpg", "in [1]/c.png"],
    "[x].jpg": ["[x].jpg"],
    "**/*.jpg": ["[x].jpg", "in [1]/a.jpg", "in [1]/b.jpg", "in [1]/deep/d.jpg", "x.jpg"],
    "*.gif": ["*.gif: there is no such file."],
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_that_the_shell_did_not_expand(command, pattern):
    write_photos(
        "in [1]/a.jpg", "in [1]/b.jpg", "in [1]/c.png", "in [1]/deep/d.jpg", "[x].jpg", "x.jpg"
    )
    _, out, err = command(pattern)
    assert [line.split(": 48 x")[0] for line in out] + err == PATTERNS[pattern]


@pytest.mark.parametrize(
    "error, complete", [(OSError(28, "Disk full"), {"a", "c"}), (KeyboardInterrupt(), {"a"})]
)
def test_both_files_of_a_photo_are_written_or_neither(command, monkeypatch, error, complete):
    write_photos("a.jpg", "b.jpg", "c.jpg")
    replace = os.replace
    outcomes = iter([None, None, None, error, None, None])  # of two files a photo

    def replace_or_fail(*paths):
        if (outcome := next(outcomes)) is not None:
            raise outcome
        replace(*paths)

    monkeypatch.setattr(os, "replace", replace_or_fail)
    status, out, err = command("a.jpg", "b.jpg", "c.jpg")
    assert len(out) == len(complete)
    assert (status, err[0][:6]) in [(1, "b.jpg:"), (130, "Stoppe")]
    written = {f"{name}_{kind}.png" for name in complete for kind in ("mask", "overlay")}
    assert present() == {"a.jpg", "b.jpg", "c.jpg"} | written


def test_what_is_wrong_from_the_beginning_is_said_at_once(command, monkeypatch):
    write_photos("cat.jpg")
    status, _, (err,) = command("cat.jpg", "--weights", "resnet", network=None)
    assert status == 1 and "There are no weights named 'resnet': expected" in err
    status, _, (err,) = command("cat.jpg", "--tile", 64, network=None)
    assert status == 1 and "takes 256 x 256 pixels alone, not 64 x 64" in err
    monkeypatch.setattr(exported, "load", refuse)
    status, _, (err,) = command("cat.jpg", "--counts", "cat.jpg", network=None)
    assert status == 1 and err.endswith("expected a file that ends in .csv.")
    status, _, (err,) = command("cat.jpg", "--out", "cat.jpg", network=None)
    assert status == 1 and err.startswith("cat.jpg")


def test_published_weights_predict_offline_what_the_pipeline_leads_to(
    command, monkeypatch, synthetic_dataset
):
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    records = list(read_records(synthetic_dataset, "test").take(3).as_numpy_iterator())
    names = [record["file_name"].decode() for record in records]
    for name, record in zip(names, records):
        Path(name).write_bytes(record["image"])
    assert command(*names, network=None)[0] == 0
    network = weights.open_network(prediction.WEIGHTS)
    source = weights.published(Path(prediction.WEIGHTS).stem)
    for name, record in zip(names, records):
        # TensorFlow's default for JPEG is a faster and less exact inverse DCT than Pillow's.
        exact = tf.io.decode_jpeg(record["image"], dct_method="INTEGER_ACCURATE")
        assert np.array_equal(photos.read_photo(name), exact)
        seen = photos.network_input(exact, 256)
        off = np.abs(seen.astype(int) - pipeline.decode(record, 256, PETS)[0].numpy())
        assert off.max() <= 8 and off.mean() < 1.5  # of 255
        equal = evaluation.predict(network.model, seen[None]) == evaluation.predict(
            source.model, seen[None]
        )
        assert equal.mean() >= 0.9995
        mask = np.asarray(PIL.Image.open(f"{Path(name).stem}_mask.png"))
        assert np.array_equal(mask, plain_mask(network, seen, mask.shape))


FOLDER = ["in/a.jpg", "in/b.PNG", "in/deep/a.jpg"]
IDENTIFIED = BY_COLOUR._replace(sha256="1")


def test_a_folder_is_predicted_with_its_folders_and_resumes(command, monkeypatch):
    write_photos("in/a.jpg", "in/notes.txt", "in/.hidden.jpg", "in/bad.jpg")
    Path("in/deep").mkdir()
    write_photos("in/b.PNG", "in/deep/a.jpg")
    Path("in/bad.jpg").write_bytes(b"<html>")

    def run(network=IDENTIFIED, done=0, failed=1):
        status, out, err = command("in", "--out", "in/out", "--counts", "c.csv", network=network)
        words = f"{3 + failed} photos: {3 - done} predicted, {done} were done before, "
        assert out[-1] == words + f"{failed} failed." and status == bool(failed)
        assert not failed or (err[-2] == "1 of 4 photos failed:" and "bad.jpg is a web" in err[-1])

    run()
    written = {f"in/out/{name}" for name in ("a", "b", "deep/a")}
    assert {f"{name}_{kind}.png" for name in written for kind in ("mask", "overlay")} == {
        name for name in present() if "/out/" in name
    }
    table = Path("c.csv").read_text()
    assert table.splitlines()[1] == "in/a.jpg,pet,0.250000,1,384.0,384.0,384,384"
    assert len(table.splitlines()) == 1 + 3 * 3
    run(done=3)
    assert Path("c.csv").read_text() == table
    content = Path("in/out/a_overlay.png").read_bytes()
    Path("in/out/a_overlay.png").write_bytes(content[:-5])
    write_photos("in/b.PNG", image=PALETTE)
    os.utime("in/b.PNG", (1, 1))
    run(done=1)
    assert Path("in/out/a_overlay.png").read_bytes() == content
    run(network=IDENTIFIED._replace(mirrored=True))
    run(network=IDENTIFIED._replace(enlarged=True))
    run()
    run(network=IDENTIFIED._replace(sha256="2"))
    Path("in/bad.jpg").unlink()
    run(network=IDENTIFIED._replace(sha256="2"), done=3, failed=0)
    Path("empty").mkdir()
    status, _, (err,) = command("empty")
    assert status == 1 and err.startswith("empty has no photos in it: expected .jpg")


def test_a_network_that_was_trained_on_tiles_predicts_in_tiles(command):
    photo = RNG.integers(0, 256, (90, 70, 3), np.uint8)
    write_photos("cat.png", image=PIL.Image.fromarray(photo))
    tiled = BY_COLOUR._replace(view=View(overlap=8))
    ids = tiles.predict(BY_COLOUR, photo, 8)
    whole = prediction.predict_photo(BY_COLOUR, photo)
    assert np.array_equal(prediction.predict_photo(tiled, photo), ids)
    assert np.array_equal(photo.argmax(axis=-1), ids) and not np.array_equal(ids, whole)
    for network, options, expected in (
        (tiled, (), ids),
        (BY_COLOUR, (), whole),
        (BY_COLOUR, ("--tile", 32), ids),
        (tiled, ("--tile", 0), whole),
    ):
        assert command("cat.png", *options, network=network)[0] == 0
        assert np.array_equal(PIL.Image.open("cat_mask.png"), expected), options


def test_with_mirror_a_network_looks_twice(command):
    photo = skimage.data.chelsea()
    write_photos("cat.png", image=PIL.Image.fromarray(photo))
    assert command("cat.png", "--mirror", network=None)[0] == 0
    network = weights.open_network(prediction.WEIGHTS)
    both = weights.with_views(network, mirrored=True)
    once, twice = (prediction.predict_photo(one, photo) for one in (network, both))
    found = np.asarray(PIL.Image.open("cat_mask.png"))
    assert np.array_equal(found, twice) and not np.array_equal(found, once)
    status, _, (err,) = command("cat.png", "--enlarge", network=None)
    assert status == 1 and "takes 256 x 256 pixels alone, not 320 x 320: export it with" in err


def test_several_at_once_are_those_of_one_after_the_other(command):
    names = [f"{number}.png" for number in range(6)]
    for name in names:
        image = RNG.integers(0, 256, (*RNG.integers(20, 90, 2), 3), np.uint8)
        write_photos(name, image=PIL.Image.fromarray(image))
    Path("bad.png").write_bytes(b"<html>")
    write_photos("0.jpg")  # the same mask as of 0.png
    given = [*names[:3], "bad.png", *names[3:], "0.jpg"]
    status, out, (*err, _, _, _) = command(*given, network=None)
    assert status == 1 and [line.split(":")[0] for line in out] == names
    assert err[0].startswith("bad.png is a web") and "has just been written for 0.png" in err[1]
    network = weights.open_network(prediction.WEIGHTS)
    for name in names:
        expected = prediction.predict_photo(network, photos.read_photo(name))
        assert np.array_equal(PIL.Image.open(f"{Path(name).stem}_mask.png"), expected)


LIGHT = """
import sys
from helpers.prediction.__main__ import main

try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print([name for name in ("tensorflow", "keras", "matplotlib") if name in sys.modules])
"""


def test_an_exported_network_predicts_without_tensorflow(tmp_path):
    write_photos(tmp_path / "cat.jpg")
    command = [sys.executable, "-c", LIGHT, tmp_path, "--counts", tmp_path / "counts.csv"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert run.returncode == 0 and run.stdout.splitlines()[-1] == "[]", run.stderr
    assert run.stderr == "" and len(list(tmp_path.glob("cat_*.png"))) == 2


@pytest.mark.skipif(os.name == "nt", reason="closes streams with a POSIX shell")
def test_nobody_reads_and_nothing_comes_in(tmp_path):
    names = [tmp_path / name for name in ("a.jpg", "\u00e9.jpg", "c.jpg")]
    write_photos(names[0], names[2])
    names[1].write_bytes(b"<html>")
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "helpers.prediction", *names],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        cwd=REPOSITORY,
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert run.returncode == 1 and run.stderr.count(b"\n") == 3 and b"\\xe9.jpg" in run.stderr
    assert len(list(tmp_path.glob("*_*.png"))) == 4
