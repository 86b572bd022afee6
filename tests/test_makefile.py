"""The two commands on a bare clone, with a stand-in for Python that only writes down its calls."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

PYTHON = """#!/bin/sh
echo "$@" >> calls
case "$*" in
    *version_info*) exit ${OLD:-0} ;;
    --version) echo Python 3.9.1 ;;
    "-m venv .venv") mkdir -p .venv/bin && cp python .venv/bin/python ;;
    "-m pip install"*) exit ${PIP:-0} ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    return tmp_path


def make(clone, target, **environment):
    """Runs make; returns its exit status, what it printed, and the calls of Python."""
    (clone / "calls").write_text("")
    ran = subprocess.run(
        ["make", target, "PYTHON=./python"],
        cwd=clone,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    return ran.returncode, ran.stdout + ran.stderr, (clone / "calls").read_text().splitlines()


def test_run_installs_once(clone):
    _, _, first = make(clone, "run")
    assert "-m venv .venv" in first and "-m pip install -r requirements.txt" in first
    assert first[-1] == "-m helpers.run_notebook notebooks/03_unet_from_scratch.ipynb"
    status, _, second = make(clone, "run")
    assert status == 0 and second == first[-1:]


def test_changed_requirements_are_installed(clone):
    make(clone, "run")
    later = (clone / ".venv/.installed").stat().st_mtime + 10
    os.utime(clone / "requirements.txt", (later, later))
    assert any("pip install" in call for call in make(clone, "run")[2])


def test_a_broken_off_install_is_taken_up_again(clone):
    status, _, calls = make(clone, "run", PIP="1")
    assert status != 0 and not any("run_notebook" in call for call in calls)
    assert any("pip install" in call for call in make(clone, "run")[2])


def test_a_python_that_does_not_fit_is_named(clone):
    status, printed, calls = make(clone, "run", OLD="1")
    assert status != 0 and not (clone / ".venv").exists()
    assert "Python 3.9.1" in printed and "3.11, 3.12 or 3.13" in printed
    assert not any("venv" in call for call in calls)
