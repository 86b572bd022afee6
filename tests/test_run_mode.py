"""Profile, choice of data and seeds."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers import models, run_mode

ROOT = Path(__file__).parents[1]
VALUES = {"full": 60, "quick": 12, "smoke": 1}


@pytest.fixture
def gpu(monkeypatch):
    """A function that puts a GPU in, or takes it out."""
    return lambda there: monkeypatch.setattr(
        keras.distribution, "list_devices", lambda kind=None: ["gpu:0"] if there else []
    )


@pytest.mark.parametrize("there, expected", [(True, "full"), (False, "quick")])
@pytest.mark.parametrize("value", [None, ""])
def test_default_profile_depends_on_the_gpu(monkeypatch, gpu, there, expected, value):
    # An empty variable is how shells and CI systems blank one.
    if value is None:
        monkeypatch.delenv("PETS_PROFILE")
    else:
        monkeypatch.setenv("PETS_PROFILE", value)
    gpu(there)
    assert run_mode.has_gpu() is there
    assert run_mode.profile() == expected
    assert run_mode.pick(**VALUES) == VALUES[expected]


def test_has_gpu_asks_for_gpus(monkeypatch):
    asked = []
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: asked.append(kind) or [])
    assert run_mode.has_gpu() is False and asked == ["gpu"]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("profile", VALUES)
def test_profile_that_was_asked_for_wins(monkeypatch, gpu, profile, there):
    monkeypatch.setenv("PETS_PROFILE", profile)
    gpu(there)
    assert run_mode.profile() == profile
    assert run_mode.pick(**VALUES) == VALUES[profile]


@pytest.mark.parametrize("value", [None, ""])
def test_data_choice_is_auto_unless_set(monkeypatch, value):
    if value is None:
        monkeypatch.delenv("PETS_DATA")
    else:
        monkeypatch.setenv("PETS_DATA", value)
    assert run_mode.data_choice() == "auto"


@pytest.mark.parametrize("choice", ["auto", "oxford", "synthetic"])
def test_data_choice_that_was_asked_for(monkeypatch, choice):
    monkeypatch.setenv("PETS_DATA", choice)
    assert run_mode.data_choice() == choice


@pytest.mark.parametrize("value", ["fast", "Full", " full", "0"])
def test_unknown_values_are_named_with_what_is_expected(monkeypatch, value):
    monkeypatch.setenv("PETS_PROFILE", value)
    monkeypatch.setenv("PETS_DATA", value)
    for call in (run_mode.profile, lambda: run_mode.pick(**VALUES)):
        with pytest.raises(ValueError, match=f"PETS_PROFILE='{value}'.*full, quick or smoke"):
            call()
    with pytest.raises(ValueError, match=f"PETS_DATA='{value}'.*auto, oxford or synthetic"):
        run_mode.data_choice()


def test_pick_needs_all_three():
    for name in VALUES:
        with pytest.raises(TypeError, match=name):
            run_mode.pick(**{key: value for key, value in VALUES.items() if key != name})


def drawn(seed):
    run_mode.set_seed(seed)
    weights = models.unet(16, 3, width=2, depth=2).get_weights()
    old_numpy = np.random.random(3)  # noqa: NPY002, it is the generator that gets seeded
    return [*weights, old_numpy, random.random(), keras.random.normal((3,))]


def test_the_same_seed_draws_the_same():
    first, again, other = drawn(1), drawn(1), drawn(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    # Conv2D's and Conv2DTranspose's weights, and the three random numbers
    assert not any(np.array_equal(first[i], other[i]) for i in (0, -3, -2, -1))


# Both parts of the reproducibility in one process of its own: determinism cannot be turned off.
TWO_TRAININGS = """
import json, numpy as np, tensorflow as tf
from helpers import models, run_mode
from helpers.dice import CrossEntropyDiceLoss

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (16, 16, 16, 3), np.uint8)
masks = rng.integers(0, 3, (16, 16, 16, 1))

def train():
    run_mode.set_seed(3, deterministic=True)
    model = models.unet(16, 3, width=2, depth=1)
    data = tf.data.Dataset.from_tensor_slices((images, masks)).shuffle(16, seed=1).batch(4)
    start = model.get_weights()
    model.compile("adam", CrossEntropyDiceLoss())
    model.fit(data, epochs=2, verbose=0)
    moved = not np.array_equal(start[0], model.get_weights()[0])
    return model.get_weights(), moved

run_mode.set_seed(3)
from tensorflow.python.framework import config
by_default = config.is_op_determinism_enabled()
(first, moved), (second, _) = train(), train()
print(json.dumps({
    "equal": all(np.array_equal(a, b) for a, b in zip(first, second)), "moved": moved,
    "by_default": by_default, "deterministic": config.is_op_determinism_enabled(),
}))
"""


def test_deterministic_trainings_end_with_equal_weights():
    ran = subprocess.run(
        [sys.executable, "-c", TWO_TRAININGS],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {
        "equal": True,
        "moved": True,
        "by_default": False,  # set_seed alone leaves TensorFlow's kernels as they are
        "deterministic": True,
    }


def test_device_name_says_cpu_or_gpu(monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: [])
    name, cores = run_mode.device_name().split(", ", 1)
    assert name.strip() and cores == f"{os.cpu_count()} cores, no GPU"
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: [f"{kind}:0"])
    monkeypatch.setattr(run_mode, "_gpu_name", lambda: "Tesla T4")
    assert run_mode.device_name() == "Tesla T4"


def test_each_profile_has_a_run_folder_of_its_own_and_a_test_always_a_new_one(monkeypatch):
    monkeypatch.setenv("PETS_PROFILE", "full")
    assert run_mode.run_folder("02") == "../runs/02_full"
    monkeypatch.setenv("PETS_PROFILE", "smoke")
    first, second = (Path(run_mode.run_folder("02")) for _ in range(2))
    assert first != second and first.is_dir() and not list(first.iterdir())
    first.rmdir(), second.rmdir()


@pytest.mark.parametrize("writable", [True, False])
def test_keras_homes_are_where_keras_puts_files(monkeypatch, tmp_path, writable):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", "~/weights")
    (tmp_path / "weights").mkdir()
    if not writable:
        monkeypatch.setattr(os, "access", lambda path, mode: "weights" not in str(path))
    source, folder = tmp_path / "source.txt", f"test_{tmp_path.name}_{os.getpid()}"
    source.touch()
    homes = run_mode.keras_homes()
    placed = Path(
        keras.utils.get_file("a.txt", source.as_uri(), cache_dir=homes[0], cache_subdir=folder)
    )
    assert placed.parent == homes[0 if writable else 1] / folder
    placed.unlink(), placed.parent.rmdir()


def test_without_the_variable_the_first_of_keras_homes_is_kerass_own(tmp_path):
    """In a process of its own: Keras looks once, when it is imported."""
    (tmp_path / "source").touch()
    code = (
        "import keras; from helpers import run_mode;"
        f"print(keras.utils.get_file('a', '{(tmp_path / 'source').as_uri()}'));"
        "print(run_mode.keras_homes()[0])"
    )
    env = {key: value for key, value in os.environ.items() if key != "KERAS_HOME"}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**env, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    *_, placed, home = ran.stdout.splitlines()
    assert home == str(tmp_path / ".keras") and placed == f"{home}/datasets/a"
