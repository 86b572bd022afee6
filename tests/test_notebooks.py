"""The notebooks as files: complete, executed, clean. That they run is tested by nbval itself."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from tools import run_notebook
from tools.colab import DELTA, PINS, STARTUP

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


def test_committed_pictures_show_drawings(notebook):
    text = "".join(out.get("text", "") for out in outputs(notebook))
    assert "Data: synthetic pets" in text or "drawn cells" in text
    assert "Data: Oxford" not in text  # what open_pets prints: numbers of photographs are welcome


def test_one_title_and_short_cells(notebook):
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    titles = [line for text in prose for line in text.splitlines() if line.startswith("# ")]
    assert len(titles) == 1
    assert max(len(cell.source.splitlines()) for cell in code_cells(notebook)) <= 30


def test_each_figure_is_followed_by_a_sentence_about_it(notebook):
    for cell, following in zip(notebook.cells, notebook.cells[1:]):
        if cell.source.endswith("plt.show()"):
            assert following.cell_type == "markdown" or "print(" in following.source


def test_opens_in_colab_from_the_repository(path, notebook):
    place = REPOSITORY.removeprefix("https://github.com/")
    link = f"https://colab.research.google.com/github/{place}/blob/main/notebooks/{path.name}"
    assert f"]({link})" in notebook.cells[0].source
    assert f"]({link})" in (ROOT / "README.md").read_text()


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
    assert f'"{REPOSITORY}"' in setup_cells()[0][1]


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


def printed(folder, *cells):
    """What each cell prints, in a notebook that is run in that folder."""
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "any.ipynb")
    ran = run_notebook.run(folder / "any.ipynb").cells
    return ["".join(out.text for out in cell.outputs) for cell in ran]


@pytest.fixture
def repository(tmp_path):
    """A folder that looks like ours, as a git repository."""
    place = tmp_path / "repository"
    for folder in (place / "helpers", place / "notebooks"):
        folder.mkdir(parents=True)
        (folder / "kept").touch()
    identity = "-c user.name=test -c user.email=test@example.org -c commit.gpgsign=no".split()
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=place, check=True)
    return place


WHERE = setup_cells()[0][1] + "\nprint(os.getcwd())"
NO_PIP = "get_ipython().register_magic_function(lambda line: print('pip'), magic_name='pip')"

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@needs_git
def test_setup_finds_the_repository_from_its_root_and_from_the_notebooks(repository):
    for folder in (repository, repository / "notebooks"):
        assert printed(folder, WHERE, WHERE) == [f"{repository}\n"] * 2  # also when run again


def test_a_notebook_opened_alone_says_to_clone_the_repository(tmp_path):
    with pytest.raises(CellExecutionError, match=f"needs its repository: git clone {REPOSITORY}"):
        printed(tmp_path, WHERE)


@needs_git
def test_setup_on_colab_clones_the_repository_once(repository, tmp_path, monkeypatch):
    content = tmp_path / "content"
    content.mkdir()
    monkeypatch.setenv("UNET_PETS_REPO", repository.as_uri())
    restart = f"%cd -q {content}"  # where a session that starts again would be
    ran = printed(content, NO_PIP, STARTUP, WHERE, WHERE, restart, WHERE)
    inside = f"{content}/unet-pets\n"
    assert ran == ["", "", f"pip\n{inside}", inside, "", f"pip\n{inside}"]
