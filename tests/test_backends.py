"""Measures, losses, U-Net and notebook 04 on PyTorch and JAX, where they are installed."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import backend_checks as example
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_every_backend_gives_the_same_numbers(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.backend_checks"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    values = json.loads(ran.stdout.splitlines()[-1])
    assert values["backend"] == backend
    expected = {
        "hard": example.HARD,
        "soft": example.SOFT,
        "binary": example.BINARY,
        "losses": [by_hand for _, *by_hand in example.LOSSES.values()],
        "boundary": list(example.BOUNDARY.values()),
        "mean_dice": example.POOLED,
        "step": example.STEP,
    }
    for name, value in expected.items():
        assert np.allclose(values[name], value, atol=1e-6), name
    assert np.isnan(values["wrong_step"]).all()
    here = example.compute()["unet"]
    assert np.ptp(here) > 0.1  # the weights say something
    assert np.allclose(values["unet"], here, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_binary_notebook_runs_on_other_backends(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "tools.run_notebook", "notebooks/04_binary_segmentation.ipynb"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "PETS_PROFILE": "smoke"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Backend: {backend}" in done.stdout
