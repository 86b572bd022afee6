"""Make's commands on a bare clone, with a stand-in for Python that only writes down its calls."""

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
    "-m venv "*) mkdir -p $3/bin && cp python $3/bin/python && cp python $3/bin/ruff ;;
    "-m pip install"*) exit ${PIP:-0} ;;
    "-m pytest"*) test "$0" != "$FAILS" ;;
esac
"""
PYTEST = "-m pytest -n logical --dist loadfile"
VERSIONS = ("3.11", "3.12", "3.13")


@pytest.fixture
def clone(tmp_path):
    (tmp_path / "tests").mkdir()
    for name in ("Makefile", "requirements.txt", "tests/colab-requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    write(tmp_path / "python", PYTHON)
    return tmp_path


@pytest.fixture
def pythons(clone, monkeypatch):
    """The folder that holds a Python of each version, first on the path."""
    folder = clone / "bin"
    folder.mkdir()
    for version in VERSIONS:
        write(folder / f"python{version}", PYTHON)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def write(path, script):
    path.write_text(script)
    path.chmod(0o755)


def make(clone, target, **environment):
    """Runs make; returns its exit status, what it printed, and the calls of Python."""
    (clone / "calls").write_text("")
    ran = subprocess.run(
        ["make", target, "PYTHON=./python"],
        cwd=clone,
        env={**os.environ, "MAKEFLAGS": "", **environment},  # make may have started these tests
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


def test_every_python_has_a_lane(clone, pythons):
    status, printed, calls = make(clone, "lanes")
    assert status == 0 and "Passed: 3.11 3.12 3.13. Failed: none." in printed
    assert [call for call in calls if "venv" in call] == [
        f"-m venv .lanes/{version}" for version in VERSIONS
    ]
    for call in ("-m pip install -r requirements.txt", "check .", PYTEST):
        assert calls.count(call) == 3


def test_a_python_that_is_missing_is_left_out(clone, pythons):
    write(pythons / "python3.12", "#!/bin/sh\nexit 127\n")  # as pyenv's stand-in does
    status, printed, _ = make(clone, "lanes")
    assert status == 0 and "Passed: 3.11 3.13. Failed: none." in printed
    assert "Python 3.12 is left out: there is no python3.12 here. Install it from" in printed


def test_lanes_fail_where_none_could_run(clone, pythons):
    for version in VERSIONS:
        write(pythons / f"python{version}", "#!/bin/sh\nexit 127\n")
    status, printed, _ = make(clone, "lanes")
    assert status != 0 and "Passed: none. Failed: none." in printed


def test_a_lane_that_fails_does_not_stop_the_others(clone, pythons):
    status, printed, calls = make(clone, "lanes", FAILS=".lanes/3.12/bin/python")
    assert status != 0 and "Passed: 3.11 3.13. Failed: 3.12." in printed
    assert calls.count(PYTEST) == 3


def test_colab_has_its_own_packages_and_python(clone, pythons):
    status, printed, calls = make(clone, "colab")
    assert status == 0 and "There is no" not in printed
    assert "-m venv .lanes/colab" in calls and calls[-1] == "-m tests.colab_lane"
    assert [call for call in calls if "pip" in call] == [
        "-m pip install -r tests/colab-requirements.txt"
    ]


def test_colab_on_another_python_says_so(clone, pythons):
    write(pythons / "python3.13", "#!/bin/sh\nexit 127\n")
    status, printed, calls = make(clone, "colab")
    assert status == 0 and calls[-1] == "-m tests.colab_lane"
    assert "There is no python3.13 here, which is Colab's: ./python is taken." in printed
