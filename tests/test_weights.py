"""Weights as files: what is loaded is what was saved, and no model file runs code."""

import hashlib
import io
import json
import pathlib
import pickle
import zipfile

import keras
import numpy as np
import pytest
import safetensors.numpy

from helpers import models, weights
from helpers.classes import PETS, Labelling
from helpers.photos import View

ARGUMENTS = {"classes": 3, "width": 4, "depth": 1}


def network(size=16, labelling=PETS, threshold=None, **changed):
    arguments = {**ARGUMENTS, **changed}
    model = models.unet(size, **arguments)
    return weights.Network(model, labelling, threshold, "unet", arguments)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


PATH = pathlib.Path("net.safetensors")


@pytest.mark.parametrize("bits, error", [(16, 2**-11), (8, 1 / 254)])
def test_what_comes_back_is_rounded_and_no_more(bits, error):
    labelling = Labelling(("cat", "dog", "sky"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)), void=9)
    plain = network((16, 32), labelling, threshold=0.4)._replace(view=View(overlap=8))
    views = {"mirrored": bits == 16, "enlarged": True}
    saved = weights.with_views(plain, **views)
    rng = np.random.default_rng(0)
    saved.model.set_weights([w + rng.normal(0, 0.1, w.shape) for w in saved.model.get_weights()])
    report = weights.save(saved, PATH, bits)
    sha256 = hashlib.sha256(PATH.read_bytes()).hexdigest()
    assert report == {"file": PATH.name, "sha256": sha256, "bits": bits}
    loaded = weights.load(PATH, sha256)
    assert loaded[1:] == (*saved[1:-1], sha256) and loaded.model.input_shape == (None, 16, 32, 3)
    for old, new in zip(saved.model.get_weights(), loaded.model.get_weights(), strict=True):
        largest = np.abs(old).max(axis=tuple(range(old.ndim - 1)))
        assert np.all(np.abs(old - new) <= error * largest * 1.001), new.shape
    image = rng.integers(0, 256, (1, 32, 32, 3), np.uint8)
    once = weights.at_size(plain, 32)
    larger, expected = weights.at_size(saved, 32), weights.with_views(once, **views)
    seen = [net.model.predict_on_batch(image) for net in (larger, expected, once)]
    assert np.allclose(seen[0], seen[1], atol=1e-4) and not np.allclose(*seen[1:], atol=1e-4)
    size = PATH.stat().st_size
    assert weights.save(saved, PATH, bits) == report
    weights.save(saved, PATH, 24 - bits)
    assert (PATH.stat().st_size < size) == (bits == 16)


def test_a_changed_or_cut_file_is_not_loaded():
    sha256 = weights.save(network(), PATH)["sha256"]
    content = PATH.read_bytes()
    PATH.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="is not the published file: its SHA-256 is"):
        weights.load(PATH, sha256)
    for cut in (content[:-100], content[:20], b"", b"<html>"):
        PATH.write_bytes(cut)
        with pytest.raises(ValueError, match="does not hold weights of helpers.weights"):
            weights.load(PATH)


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("residual_unet", {"classes": 2, "width": 2, "depth": 1}),
        ("encoder_unet", {"classes": 2, "encoder": "MobileNetV3Small", "decoder": "lraspp"}),
    ],
)
def test_every_network_comes_back_with_its_arguments(name, arguments):
    random = {"weights": None} if "encoder" in arguments else {}
    model = getattr(models, name)(32, **arguments, **random)
    model.set_weights([np.float16(w).astype("float32") for w in model.get_weights()])
    weights.save(weights.Network(model, PETS.binary, None, name, arguments), PATH)
    getattr(models, name)(32, **arguments, **random)  # another one built meanwhile
    loaded = weights.load(PATH)
    assert loaded.builder == name and loaded.arguments == arguments
    for old, new in zip(model.get_weights(), loaded.model.get_weights(), strict=True):
        assert np.array_equal(old, new)


@pytest.mark.parametrize(
    "changed, message",
    [({"classes": 1}, "has the shape"), ({"depth": 2}, "is only in one of the two")],
)
def test_a_file_of_another_network_is_not_loaded(changed, message):
    weights.save(network()._replace(arguments={**ARGUMENTS, **changed}), PATH)
    with pytest.raises(ValueError, match="is of another network: .*" + message):
        weights.load(PATH)


@pytest.mark.parametrize("fault", [ValueError, RuntimeError])
def test_a_network_that_cannot_be_built_is_not_called_damaged_weights(monkeypatch, fault):
    weights.save(network(), PATH)

    def unet(input_size, classes, width, depth):
        raise fault("Keras is set up wrongly")

    monkeypatch.setattr(models, "unet", unet)
    with pytest.raises(fault, match="^(The network that .* cannot be built: )?Keras is set up"):
        weights.load(PATH)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("place", [0, -1], ids=["kernel", "bias"])
def test_what_does_not_fit_into_float16_is_not_written(bits, place):
    broken = network()
    for bad in (1e6, np.nan):
        weight = broken.model.weights[place]
        weight.assign(np.full(weight.shape, bad))
        with pytest.raises(ValueError, match="does not fit into float16"):
            weights.save(broken, PATH, bits)
    assert not PATH.exists()


def test_published_weights_are_those_that_were_scored():
    names = {path.stem for path in weights.FOLDER.glob("*" + weights.SUFFIX)}
    for name in names:
        result = json.loads((weights.RESULTS / f"{name}.json").read_text())
        path = weights.FOLDER / result["weights"]["file"]
        assert path.stem == name and path.stat().st_size < 10e6
        assert hashlib.sha256(path.read_bytes()).hexdigest() == result["weights"]["sha256"]
    found = weights.published("unet_from_scratch")
    result = json.loads((weights.RESULTS / "unet_from_scratch.json").read_text())
    assert found.model.input_shape[1] == result["input_size"] and found.labelling == PETS
    assert found.model.count_params() == result["settings"]["parameters"]
    with pytest.raises(ValueError, match=f"no weights named 'resnet': expected {min(names)} or"):
        weights.published("resnet")


# No code is run


class Attack:
    """Its pickle makes a file called "executed" where it is opened."""

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path("executed"),)


def with_lambda():
    attack = lambda x: (__import__("pathlib").Path("executed").touch(), x)[1]  # noqa: E731
    images = keras.Input((16, 16, 3))
    return keras.Model(images, keras.layers.Lambda(attack, output_shape=(16, 16, 3))(images))


def archive(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return buffer.getvalue()


def saved(model, suffix=".keras"):
    model.save(f"saved{suffix}")
    return pathlib.Path(f"saved{suffix}").read_bytes()


def torch_file():
    """What torch.save writes: a zip archive with a pickle in it."""
    return archive({"archive/data.pkl": pickle.dumps(Attack()), "archive/version": b"3\n"})


def safetensors_file(**config):
    arguments = {"input_size": 16, **ARGUMENTS}
    config = {"network": "unet", "arguments": arguments, "threshold": None, **config}
    return safetensors.numpy.save({"a": np.zeros(1, np.float16)}, {"config": json.dumps(config)})


CODE, KIND = "holds code, such as a Lambda layer", "which may hold code: expected"
CUT, NOT_OURS = "is no complete Keras checkpoint", "does not hold weights of helpers.weights"
OTHER = {
    "network": "mobilenetv2_unet",
    "arguments": {"input_size": 32, "classes": 3, "weights": "a"},
}
REFUSED = {  # the file's name, its content, what is said of it
    "Lambda": ("net.keras", lambda: saved(with_lambda()), CODE),
    "Lambda, legacy": ("net.h5", lambda: saved(with_lambda(), ".h5"), "a .h5 file, " + KIND),
    "Lambda, renamed": ("net.keras", lambda: saved(with_lambda(), ".h5"), CUT),
    "pickle": ("net.pkl", lambda: pickle.dumps(Attack()), "a .pkl file, " + KIND),
    "pickle as .keras": ("net.keras", lambda: pickle.dumps(Attack()), CUT),
    "pickle as .safetensors": ("net.safetensors", lambda: pickle.dumps(Attack()), NOT_OURS),
    "torch": ("net.pt", torch_file, "a .pt file, " + KIND),
    "torch as .keras": ("net.keras", torch_file, CUT),
    "torch as .safetensors": ("net.safetensors", torch_file, NOT_OURS),
    "names a function": ("n.safetensors", lambda: safetensors_file(network="exec"), NOT_OURS),
    "names a file": ("n.safetensors", lambda: safetensors_file(**OTHER), NOT_OURS + ".*weights"),
    "odd arguments": ("n.safetensors", lambda: safetensors_file(arguments={"hi": 1}), NOT_OURS),
    "no arguments": ("n.safetensors", lambda: safetensors_file(arguments=[1]), NOT_OURS),
    "other classes": (
        "net.keras",
        lambda: saved(network(classes=5).model),
        r"has 5 classes: expected 3 \(pet, background, border\), or one logit",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_one_sentence_and_nothing_in_it_is_run(case):
    name, content, message = REFUSED[case]
    with pytest.raises(FileNotFoundError if name.endswith(("keras", "tensors")) else ValueError):
        weights.open_network(name)
    pathlib.Path(name).write_bytes(content())
    pathlib.Path("executed").unlink(missing_ok=True)  # building a network may have run it
    with pytest.raises(ValueError, match=f"^{name} .*{message}") as caught:
        weights.open_network(name)
    assert not pathlib.Path("executed").exists()
    assert len(str(caught.value).splitlines()) == 1 and "safe_mode" not in str(caught.value)


def test_the_attacks_would_work_where_code_is_run():
    executed = pathlib.Path("executed")
    pickle.loads(zipfile.ZipFile(io.BytesIO(torch_file())).read("archive/data.pkl"))
    assert executed.exists()
    saved(with_lambda())
    executed.unlink()
    model = keras.saving.load_model("saved.keras", compile=False, safe_mode=False)
    model(np.zeros((1, 16, 16, 3)))
    assert executed.exists()
