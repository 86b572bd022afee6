"""Notebook 04 on PyTorch and JAX, where they are installed: pytest tests/test_backends.py"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_binary_notebook_runs_on_other_backends(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "helpers.run_notebook", "notebooks/04_binary_segmentation.ipynb"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "PETS_PROFILE": "smoke"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Backend: {backend}" in done.stdout
