"""The workflow on GitHub runs the README's commands on every Python that the project is for."""

import re
from pathlib import Path

import yaml  # comes with jupyterlab

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / ".github/workflows/ci.yml").read_text()
JOBS = yaml.safe_load(TEXT)["jobs"]


def commands(job):
    return [step["run"] for step in job["steps"] if "run" in step]


def test_commands_are_the_readmes():
    assert commands(JOBS["test"]) == ["make test"] and commands(JOBS["colab"]) == ["make colab"]
    readme = (ROOT / "README.md").read_text()
    for command in ("make test", "make colab"):
        assert re.search(rf"^{command}\b", readme, re.MULTILINE), command


def test_every_python_is_run():
    (lanes,) = re.findall(r"^LANES := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert JOBS["test"]["strategy"]["matrix"]["python"] == lanes.split()


def test_pip_keeps_its_files_for_each_set_of_requirements():
    for job, requirements in (
        ("test", "requirements.txt"),
        ("colab", "tests/colab-requirements.txt"),
    ):
        _, python, _ = JOBS[job]["steps"]
        assert python["with"]["cache"] == "pip"
        assert python["with"]["cache-dependency-path"] == requirements
        assert (ROOT / requirements).is_file()


def test_it_can_only_read_and_comes_to_an_end():
    workflow = yaml.safe_load(TEXT)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    assert all(job["timeout-minutes"] <= 60 for job in JOBS.values())
