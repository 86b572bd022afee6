"""Exporting: the file says what it is, names what Keras names, or is not kept."""

import functools
import itertools

import numpy as np
import pytest

from experiments import export
from helpers import evaluation, models, run_mode, weights
from helpers.classes import PETS
from helpers.photos import View

for module in ("onnx", "tf2onnx", "ai_edge_litert"):  # experiments/export-requirements.txt
    pytest.importorskip(module)
ARGUMENTS = {"classes": 3, "width": 4, "depth": 2}
SIZE = (32, 64)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, *SIZE, 3), np.uint8)


@pytest.fixture
def network(tmp_path):
    run_mode.set_seed(0)
    model = models.unet(SIZE, **ARGUMENTS)
    kernel, _ = model.layers[-1].get_weights()
    middle = np.median(model.predict_on_batch(IMAGES), axis=(0, 1, 2))
    model.layers[-1].set_weights([kernel, -middle])  # all classes
    source = weights.Network(model, PETS, None, "unet", ARGUMENTS, View(16))
    weights.save(source, tmp_path / "net.safetensors")
    return weights.with_views(weights.load(tmp_path / "net.safetensors"), mirrored=True)


def same_classes(network, other, images):
    pair = (evaluation.predict(one.model, images) for one in (network, other))
    return np.mean(np.equal(*pair))


CASES = [("onnx", "float16", False), ("onnx", None, True)]
SLOW = [
    ("onnx", "int8", False),
    ("onnx", "int8", True),
    ("litert", "float16", False),
    ("litert", None, True),
    ("litert", "int8", True),
]


@pytest.mark.parametrize(
    "how", [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_the_file_names_what_keras_names(network, tmp_path, how):
    how = export.How(*how)
    path = tmp_path / f"net{export.FORMATS[how.format]}"
    path.write_bytes(export.export(network, how, IMAGES))
    other = weights.open_network(path)
    assert other[1:3] == network[1:3] and other.view == View(16)
    assert other.mirrored and not other.enlarged
    assert other.model.input_shape == network.model.input_shape
    least = 0.9 if how.quantize == "int8" else 0.999
    assert same_classes(network, other, IMAGES) >= least
    if how.flexible:
        large = np.random.default_rng(1).integers(0, 256, (1, 96, 32, 3), np.uint8)
        pair = (weights.at_size(one, (96, 32)) for one in (network, other))
        assert same_classes(*pair, large) >= least
        pair = (weights.with_views(one, enlarged=True) for one in (network, other))
        assert same_classes(*pair, IMAGES) >= least
        with pytest.raises(ValueError, match="cannot take 40 x 64 pixels: expected multiples"):
            weights.at_size(other, (40, 64))
    if how.quantize == "float16":
        assert path.stat().st_size < 2.9 * network.model.count_params() + 60_000


def test_a_file_that_names_other_classes_is_not_kept(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    write_photo(tmp_path / "photos/a.png")
    run = functools.partial(command, monkeypatch, "net.safetensors", "--format", "onnx")
    shares = itertools.chain([0.5], itertools.repeat(1.0))
    monkeypatch.setattr(export, "equal_share", lambda *_: next(shares))
    with pytest.raises(SystemExit, match="50.00 % of the pixels of 1 images as Keras does"):
        run("--images", "photos")
    assert not list(tmp_path.rglob("*.onnx"))
    run("--images", "photos")
    assert (tmp_path / "runs/exported/net_float32.onnx").exists()
    with pytest.raises(SystemExit, match="is exported already"):
        command(monkeypatch, "runs/exported/net_float32.onnx", "--format", "onnx")


def test_the_test_split_is_scored_by_both(network, synthetic_dataset):
    found = export.parity(network, network, synthetic_dataset)
    assert found["equal_pixels"] == 1 and found["mean_iou"] == found["keras_mean_iou"] > 0
    one_logit = network._replace(model=models.unet(SIZE, 1, 4, 2), threshold=0.5)
    assert 0 < export.parity(one_logit, one_logit, synthetic_dataset, 2)["mean_iou"] < 1


def write_photo(path):
    import PIL.Image

    PIL.Image.fromarray(IMAGES[0]).save(path)


def command(monkeypatch, *options):
    monkeypatch.setattr("sys.argv", ["export", *options])
    export.main()
