"""tools/run_notebook.py on notebooks of a few lines."""

import base64
import io
import sys
import threading

import nbformat
import numpy as np
import PIL.Image
import pytest
from nbclient.exceptions import CellExecutionError

from tools import run_notebook


@pytest.fixture
def write(tmp_path):
    def write(*cells):
        path = tmp_path / "small.ipynb"
        cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return write


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["run_notebook", *map(str, arguments)])
    run_notebook.main()


def test_prints_while_the_cell_still_runs(write, monkeypatch, tmp_path):
    go = tmp_path / "go"
    path = write(
        "import pathlib, time\n"
        "print('epoch 1', flush=True)\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.05)\n"
        "print('epoch 2')"
    )
    printed, first = [], threading.Event()

    def show(text, **_):
        printed.append(text)
        if "epoch 1" in text:
            first.set()

    monkeypatch.setattr(run_notebook, "print", show, raising=False)
    thread = threading.Thread(target=run_notebook.run, args=(path,))
    thread.start()
    try:
        assert first.wait(30)
        assert "epoch 2" not in "".join(printed)
    finally:
        go.touch()
        thread.join()
    assert "epoch 2" in "".join(printed)


def test_leaves_the_file_alone_unless_told_to_save(write, monkeypatch):
    path = write("import sys\nprint('hello')\nprint('noise', file=sys.stderr)\nprint('again')")
    before = path.read_bytes()
    call(monkeypatch, path)
    assert path.read_bytes() == before
    call(monkeypatch, "--save", path)
    (cell,) = nbformat.read(path, as_version=4).cells
    assert [out.text for out in cell.outputs] == ["hello\nagain\n"]  # without the noise
    assert cell.execution_count == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_a_notebook_that_takes_too_much_memory_is_named_and_not_saved(write, monkeypatch, capsys):
    path = write("print('hello')")
    before = path.read_bytes()
    with pytest.raises(SystemExit, match=r"small.ipynb took .* GB of memory: expected at most"):
        call(monkeypatch, "--save", "--memory", "0.01", path)
    assert path.read_bytes() == before
    call(monkeypatch, "--memory", "1000", path)
    assert "Peak memory: " in capsys.readouterr().out


def test_runs_in_the_notebooks_folder(write):
    path = write("import os\nos.getcwd()")
    (cell,) = run_notebook.run(path).cells
    assert cell.outputs[0].data["text/plain"] == repr(str(path.parent))


def test_an_error_stops_the_run_and_shows_the_traceback(write, monkeypatch):
    path = write("1 / 0", "print('never')")
    before = path.read_bytes()
    with pytest.raises(CellExecutionError):
        run_notebook.run(path)
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        call(monkeypatch, "--save", path)
    assert path.read_bytes() == before


def test_a_dead_kernel_is_named(write, monkeypatch):
    with pytest.raises(SystemExit, match="kernel died"):
        call(monkeypatch, write("import os\nos._exit(1)"))


def test_a_missing_file_is_named(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        call(monkeypatch, "none.ipynb")
    assert "none.ipynb is no file" in capsys.readouterr().err


def test_scrub_keeps_results_and_drops_the_machine(write, monkeypatch):
    path = write("1")
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.from_dict({"language_info": {"version": "3.11.7"}})
    notebook.cells[0].metadata = nbformat.from_dict({"ExecuteTime": "now"})
    notebook.cells[0].execution_count = 7
    notebook.cells[0].outputs = [
        nbformat.v4.new_output("stream", name=name, text=name) for name in ("stdout", "stderr")
    ]
    nbformat.write(notebook, path)
    call(monkeypatch, "--scrub", path)
    tidy = nbformat.read(path, as_version=4)
    assert list(tidy.metadata) == ["kernelspec"] and not tidy.cells[0].metadata
    assert [out.text for out in tidy.cells[0].outputs] == ["stdout"]
    assert tidy.cells[0].execution_count == 7


def test_scrub_makes_figures_small_once():
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    pixels[:40] = (68, 1, 84)  # a class colour
    png = io.BytesIO()
    PIL.Image.fromarray(pixels).save(png, "PNG")
    data = {"image/png": base64.b64encode(png.getvalue()).decode()}
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", data)])
    notebook = run_notebook.scrub(nbformat.v4.new_notebook(cells=[cell]))
    small = notebook.cells[0].outputs[0].data["image/png"]
    assert len(small) < len(data["image/png"]) / 2
    image = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(small))).convert("RGB"))
    assert image.shape == pixels.shape and (image[:40] == (68, 1, 84)).all()
    again = run_notebook.scrub(notebook).cells[0].outputs[0].data["image/png"]
    assert again == small
