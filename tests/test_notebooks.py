"""The notebooks as files: complete, executed, clean. That they run is tested by nbval itself."""

import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import nbformat
import pytest
from colab_lane import DELTA, PINS, STARTUP

from helpers import run_notebook

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [out for cell in code_cells(notebook) for out in cell.outputs]


def run_pytest(*arguments):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_nbval_collects_every_notebook():
    collected = run_pytest("--collect-only", "-q").stdout
    found = set(re.findall(r"^notebooks/(.+?\.ipynb)::", collected, re.MULTILINE))
    assert NOTEBOOKS and found == {path.name for path in NOTEBOOKS}


def test_cells_have_a_time_out(pytestconfig):
    assert float(pytestconfig.getoption("nbval_cell_timeout")) <= 180


@pytest.mark.parametrize(
    "death", ["os.kill(os.getpid(), 9)", "os._exit(0)"], ids=["killed", "exited"]
)
def test_a_dead_kernel_fails_at_once(tmp_path, death):
    cells = [nbformat.v4.new_code_cell(code) for code in (f"import os\n{death}", "1 + 1")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "dies.ipynb")
    start = time.monotonic()
    ran = run_pytest("-c", ROOT / "pyproject.toml", "-p", "conftest", tmp_path / "dies.ipynb")
    assert ran.returncode == 1 and "kernel died" in ran.stdout, ran.stdout
    assert "2 failed" in ran.stdout
    assert time.monotonic() - start < 60  # the time-out of one cell alone is 180


def test_committed_executed_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert not [out for out in outputs(notebook) if out.output_type == "error"]


def test_committed_clean(path, notebook):
    assert not [out for out in outputs(notebook) if out.get("name") == "stderr"]
    assert path.stat().st_size < 1_500_000  # --save and --scrub make figures small
    for cell in notebook.cells:
        texts = [cell.source, json.dumps(cell.metadata)]
        for out in cell.get("outputs", []):
            texts += [out.get("text", ""), str(out.get("data", {}).get("text/plain", ""))]
        for text in texts:  # a folder from the root on, Colab's apart; and a Windows drive
            assert not re.findall(r"(?<![\w:/.])/(?!content/)\w+/|\b[A-Z]:\\", text)


def test_committed_pictures_show_drawn_pets(notebook):
    text = "".join(out.get("text", "") for out in outputs(notebook))
    assert "Data: drawn pets (synthetic)" in text
    assert "Data: Oxford" not in text  # what open_pets prints: numbers of photographs are welcome


def test_one_title_and_short_cells(notebook):
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    titles = [line for text in prose for line in text.splitlines() if line.startswith("# ")]
    assert len(titles) == 1
    assert max(len(cell.source.splitlines()) for cell in code_cells(notebook)) <= 30


def test_opens_in_colab_from_the_repository(path, notebook):
    place = REPOSITORY.removeprefix("https://github.com/")
    link = f"https://colab.research.google.com/github/{place}/blob/main/notebooks/{path.name}"
    assert f"]({link})" in notebook.cells[0].source
    assert f"]({link})" in (ROOT / "README.md").read_text()
    setup = code_cells(notebook)[0].source
    assert "google.colab" in setup and f'"{REPOSITORY}"' in setup


def setup_cells():
    notebooks = [nbformat.read(path, as_version=4) for path in NOTEBOOKS]
    return [(notebook.cells[1].source, code_cells(notebook)[0].source) for notebook in notebooks]


def pins(text):
    """The requirements of a text: dict, name -> version."""
    return {
        name.lower().replace("_", "-"): version
        for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)
    }


def test_setup_is_the_same_in_every_notebook():
    assert len(set(setup_cells())) == 1


def test_setup_installs_what_does_not_fit_on_colab_and_nothing_else():
    (line,) = re.findall("%pip install --quiet (.+)", setup_cells()[0][1])
    delta, colab = pins(line.replace(" ", "\n")), pins(PINS.read_text())
    assert len(line.split()) == len(delta) and delta.keys() == DELTA
    # TensorFlow Datasets imports the one; the other, as Colab has it, refuses Colab's protobuf
    ours = pins((ROOT / "requirements.txt").read_text())
    assert "importlib-resources" not in colab
    assert delta["importlib-resources"] == ours["importlib-resources"]
    assert colab["protobuf"].startswith("5.") and colab["tensorflow-metadata"] == "1.21.0"
    assert delta["tensorflow-metadata"] == "1.17.3"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_setup_on_colab_finds_its_clone_and_elsewhere_does_nothing(tmp_path, monkeypatch):
    repository, content = tmp_path / "repository", tmp_path / "content"
    for folder in (repository / "helpers", repository / "notebooks", content):
        folder.mkdir(parents=True)
        (folder / "kept").touch()
    identity = "-c user.name=test -c user.email=test@example.org -c commit.gpgsign=no".split()
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    monkeypatch.setenv("UNET_PETS_REPO", repository.as_uri())
    no_pip = "get_ipython().register_magic_function(lambda line: print('pip'), magic_name='pip')"
    setup = setup_cells()[0][1] + "\nprint(os.getcwd())"
    restart = f"%cd -q {content}"  # where a session that starts again would be
    cells = [no_pip, setup, STARTUP, setup, setup, restart, setup]
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), content / "any.ipynb")
    ran = [
        "".join(out.text for out in cell.outputs)
        for cell in run_notebook.run(content / "any.ipynb").cells
    ]
    inside = f"{content}/unet-pets/notebooks\n"
    assert ran == ["", f"{content}\n", "", f"pip\n{inside}", inside, "", f"pip\n{inside}"]
