"""Weights as files: what is loaded is what was saved, and nothing else is."""

import hashlib
import json

import keras
import numpy as np
import pytest

from helpers import models, weights

ARGUMENTS = {"input_size": 16, "classes": 3, "width": 4, "depth": 1}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    model = models.unet(**ARGUMENTS)
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.normal(0, 0.1, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("bits, error", [(16, 2**-11), (8, 1 / 254)])
def test_what_comes_back_is_rounded_and_no_more(model, path, bits, error):
    told = weights.save(model, path, "unet", ARGUMENTS, bits=bits, threshold=0.4)
    assert told == {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bits": bits,
    }
    again, threshold = weights.load(path, told["sha256"])
    assert threshold == 0.4 and again.input_shape == model.input_shape
    for old, new in zip(model.weights, again.weights, strict=True):
        old, new = np.asarray(old), np.asarray(new)
        largest = np.abs(old).max(axis=tuple(range(old.ndim - 1)))
        assert np.all(np.abs(old - new) <= error * largest * 1.001), new.shape
    images = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 3)).astype("float32")
    assert np.allclose(model(images), again(images), atol=0.05)


def test_a_file_of_eight_bits_is_smaller_and_the_same_network_gives_the_same_file(model, path):
    whole = weights.save(model, path, "unet", ARGUMENTS)
    size = path.stat().st_size
    assert weights.save(model, path, "unet", ARGUMENTS)["sha256"] == whole["sha256"]
    weights.save(model, path, "unet", ARGUMENTS, bits=8)
    assert path.stat().st_size < size
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_changed_or_cut_file_is_not_loaded(model, path):
    told = weights.save(model, path, "unet", ARGUMENTS)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="is not the published file: its SHA-256 is"):
        weights.load(path, told["sha256"])
    for cut in (content[:-100], content[:20], b"", b"<html>"):
        path.write_bytes(cut)
        with pytest.raises(ValueError, match="does not hold weights of helpers.weights"):
            weights.load(path)
    with pytest.raises(FileNotFoundError, match="no file"):
        weights.load(path.with_name("none.safetensors"))


@pytest.mark.parametrize(
    "change, message",
    [({"classes": 1}, "has the shape"), ({"depth": 2}, "is only in one of the two")],
)
def test_a_file_of_another_network_is_not_loaded(model, path, change, message):
    weights.save(model, path, "unet", {**ARGUMENTS, **change})
    with pytest.raises(ValueError, match="is of another network: .*" + message):
        weights.load(path)


def test_an_unknown_network_is_not_built(model, path):
    weights.save(model, path, "os.system", ARGUMENTS)
    with pytest.raises(ValueError, match="does not hold weights"):
        weights.load(path)


def test_a_network_that_cannot_be_built_is_not_called_damaged_weights(model, path):
    weights.save(model, path, "unet", {**ARGUMENTS, "width": 0})
    with pytest.raises(ValueError, match=f"network that {path} is for cannot be built: width=0"):
        weights.load(path)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("place", [0, -1], ids=["kernel", "bias"])
def test_what_does_not_fit_into_float16_is_not_written(path, bits, place):
    model = models.unet(**ARGUMENTS)
    for bad in (1e6, np.nan):
        weight = model.weights[place]
        weight.assign(np.full(weight.shape, bad))
        with pytest.raises(ValueError, match="does not fit into float16"):
            weights.save(model, path, "unet", ARGUMENTS, bits=bits)
    assert not path.exists()


PUBLISHED = sorted(path.stem for path in weights.FOLDER.glob("*" + weights.SUFFIX))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_are_those_that_were_scored(name):
    result = json.loads((weights.RESULTS / f"{name}.json").read_text())
    model, threshold = weights.published(name)
    assert model.input_shape[1] == result["input_size"]
    assert model.count_params() == result["settings"]["parameters"]
    assert threshold == result["threshold"]
    path = weights.FOLDER / f"{name}{weights.SUFFIX}"
    assert path.stat().st_size < 10e6 and path.name == result["weights"]["file"]


def test_every_result_has_its_weights_and_the_other_way_round():
    results = {path.stem for path in weights.RESULTS.glob("*.json")} - {"time_to_accuracy"}
    assert PUBLISHED and results == set(PUBLISHED)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=f"no weights named 'resnet': expected {PUBLISHED[0]}"):
        weights.published("resnet")
