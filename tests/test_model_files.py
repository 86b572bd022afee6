"""No model file runs code, and each that is refused is refused in one sentence."""

import io
import json
import pathlib
import pickle
import zipfile

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy

from helpers import evaluate, models, weights

NETWORK = {"classes": 3, "width": 2, "depth": 1}


class Attack:
    """Its pickle makes a file called "executed" where it is opened."""

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path("executed"),)


def with_lambda():
    images = keras.Input((16, 16, 3))
    return keras.Model(
        images, keras.layers.Lambda(attack_lambda(), output_shape=(16, 16, 3))(images)
    )


def attack_lambda():
    return lambda x: (__import__("pathlib").Path("executed").touch(), x)[1]


def with_function():
    """A checkpoint whose layer names a function of the standard library."""
    network().save("whole.keras")
    config = json.loads(zipfile.ZipFile("whole.keras").read("config.json"))
    config["config"]["layers"][1] = {
        "module": "builtins",
        "class_name": "function",
        "config": "exec",
        "registered_name": "function",
    }
    return archive({"config.json": json.dumps(config).encode()})


def network(**changes):
    return models.unet(16, **{**NETWORK, **changes})


def archive(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return buffer.getvalue()


def saved(model, suffix):
    path = pathlib.Path(f"saved{suffix}")
    model.save(path)
    return path.read_bytes()


def torch_file():
    """What torch.save writes: a zip archive with a pickle in it."""
    return archive({"archive/data.pkl": pickle.dumps(Attack()), "archive/version": b"3\n"})


def pickled_arrays():
    """A whole checkpoint, but each array of its weights is a pickle."""
    files = zipfile.ZipFile(io.BytesIO(saved(network(), ".keras")))
    whole = {name: files.read(name) for name in ("config.json", "metadata.json")}
    with h5py.File(io.BytesIO(files.read("model.weights.h5"))) as weights_file:
        layers = [f"layers/{name}" for name in weights_file["layers"]]
    arrays = io.BytesIO()
    np.savez(arrays, **{name: np.array([Attack()], dtype=object) for name in layers})
    return archive({**whole, "model.weights.npz": arrays.getvalue()})


def safetensors_file(**config):
    whole = {"network": "unet", "arguments": {"input_size": 16, **NETWORK}, "threshold": None}
    metadata = {"config": json.dumps({**whole, **config})}
    return safetensors.numpy.save({"a": np.zeros(1, np.float16)}, metadata)


def for_other_classes():
    path = pathlib.Path("five.safetensors")
    weights.save(network(classes=5), path, "unet", {"input_size": 16, **NETWORK, "classes": 5})
    return path.read_bytes()


CODE, KIND = (
    "holds code, such as a Lambda layer, which is not run",
    "which may hold code: expected",
)
NOT_WHOLE, NOT_OURS = "is no whole Keras checkpoint", "does not hold weights of helpers.weights"
CLASSES = "has 5 classes: expected 3"
REFUSED = {  # the file's name, its content, what is said of it
    "Lambda": ("net.keras", lambda: saved(with_lambda(), ".keras"), CODE),
    "Lambda, legacy": ("net.h5", lambda: saved(with_lambda(), ".h5"), "a .h5 file, " + KIND),
    "Lambda, renamed": ("net.keras", lambda: saved(with_lambda(), ".h5"), NOT_WHOLE),
    "function": ("net.keras", with_function, NOT_WHOLE),
    "pickle": ("net.pkl", lambda: pickle.dumps(Attack()), "a .pkl file, " + KIND),
    "pickle as .keras": ("net.keras", lambda: pickle.dumps(Attack()), NOT_WHOLE),
    "pickle as .safetensors": ("net.safetensors", lambda: pickle.dumps(Attack()), NOT_OURS),
    "torch": ("net.pt", torch_file, "a .pt file, " + KIND),
    "torch as .keras": ("net.keras", torch_file, NOT_WHOLE),
    "torch as .safetensors": ("net.safetensors", torch_file, NOT_OURS),
    "pickled arrays": ("net.keras", pickled_arrays, NOT_WHOLE),
    "names a function": ("n.safetensors", lambda: safetensors_file(network="os.system"), NOT_OURS),
    "names a file": (
        "n.safetensors",
        lambda: safetensors_file(network="mobilenetv2_unet", arguments={"weights": "net.h5"}),
        NOT_OURS + ".*multiple values .*'weights'",
    ),
    "odd arguments": ("n.safetensors", lambda: safetensors_file(arguments={"hi": 1}), NOT_OURS),
    "other classes": ("net.keras", lambda: saved(network(classes=5), ".keras"), CLASSES),
    "other classes, ours": ("net.safetensors", for_other_classes, CLASSES),
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_one_sentence_and_nothing_in_it_is_run(case):
    name, content, message = REFUSED[case]
    content = content()
    pathlib.Path(name).write_bytes(content)
    pathlib.Path("executed").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=f"^{name} .*{message}") as caught:
        evaluate.load(name)
    assert not pathlib.Path("executed").exists()
    assert len(str(caught.value).splitlines()) == 1 and "safe_mode" not in str(caught.value)


def test_the_attacks_would_work_where_code_is_run():
    executed = pathlib.Path("executed")
    for content in (
        pickle.dumps(Attack()),
        zipfile.ZipFile(io.BytesIO(torch_file())).read("archive/data.pkl"),
    ):
        pickle.loads(content)
        assert executed.exists()
        executed.unlink()
    for suffix in (".keras", ".h5"):
        saved(with_lambda(), suffix)
        executed.unlink(missing_ok=True)  # building it may run it
        keras.saving.load_model(f"saved{suffix}", compile=False, safe_mode=False)(
            np.zeros((1, 16, 16, 3))
        )
        assert executed.exists()
        executed.unlink()


@pytest.mark.parametrize("name", ["net.keras", "net.safetensors"])
def test_a_file_that_is_not_there_is_named(name):
    with pytest.raises(FileNotFoundError, match=f"There is no file {name}"):
        evaluate.load(name)
