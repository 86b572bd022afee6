"""Profile, choice of data and seeds."""

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


@pytest.fixture
def gpu(monkeypatch):
    """A function that puts a GPU in, or takes it out."""
    return lambda there: monkeypatch.setattr(
        keras.distribution, "list_devices", lambda kind: [f"{kind}:0"] if there else []
    )


@pytest.mark.parametrize("there, default", [(True, "full"), (False, "quick")])
def test_a_profile_is_as_asked_for_or_depends_on_the_gpu(monkeypatch, gpu, there, default):
    gpu(there)
    for value, picked in {"full": 60, "quick": 12, "smoke": 8}.items():
        monkeypatch.setenv("PETS_PROFILE", value)
        assert run_mode.profile() == value and run_mode.pick(full=60, quick=12) == picked
    monkeypatch.setenv("PETS_PROFILE", "")  # how shells and CI systems blank a variable
    assert run_mode.profile() == default
    monkeypatch.delenv("PETS_PROFILE")
    assert run_mode.profile() == default and run_mode.has_gpu() is there


def test_the_choice_of_data_is_auto_unless_set(monkeypatch):
    for value, choice in {"": "auto", "oxford": "oxford", "synthetic": "synthetic"}.items():
        monkeypatch.setenv("PETS_DATA", value)
        assert run_mode.data_choice() == choice
    monkeypatch.delenv("PETS_DATA")
    assert run_mode.data_choice() == "auto"


@pytest.mark.parametrize("value", ["fast", "Full", " full", "0"])
def test_unknown_values_are_named_with_what_is_expected(monkeypatch, value):
    monkeypatch.setenv("PETS_PROFILE", value)
    monkeypatch.setenv("PETS_DATA", value)
    for call in (run_mode.profile, lambda: run_mode.pick(full=2, quick=1)):
        with pytest.raises(ValueError, match=f"PETS_PROFILE='{value}'.*full, quick or smoke"):
            call()
    with pytest.raises(ValueError, match=f"PETS_DATA='{value}'.*auto, oxford or synthetic"):
        run_mode.data_choice()


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


def test_a_device_is_named_as_cpu_or_gpu(monkeypatch, gpu):
    gpu(False)
    name, cores = run_mode.device_name().split(", ", 1)
    assert name.strip() and cores == f"{os.cpu_count()} cores, no GPU"
    gpu(True)
    monkeypatch.setattr(run_mode, "_gpu_name", lambda: "Tesla T4")
    assert run_mode.device_name() == "Tesla T4"


def test_each_profile_has_a_run_folder_of_its_own_and_a_test_always_a_new_one(monkeypatch):
    monkeypatch.setenv("PETS_PROFILE", "full")
    assert run_mode.run_folder("02") == ROOT / "runs" / "02_full"
    monkeypatch.setenv("PETS_PROFILE", "smoke")
    first, second = (run_mode.run_folder("02") for _ in range(2))
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
