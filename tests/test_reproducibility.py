"""Each notebook, run twice from its seed, prints the same and draws what it always drew."""

import base64
import io
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import numpy as np
import PIL.Image
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REFERENCES = ROOT / "tests/references"
VARIES = "# NBVAL_IGNORE_OUTPUT"  # opens a cell that shows how long something took
TIMES = re.compile(r"\b\d+m?s(/step| -)|\b\d+ s$", re.MULTILINE)
THUMBNAIL = (240, 180)
TOLERANCE = 3  # mean difference of a thumbnail, of 255


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Notebook's name -> its copies with the outputs of two runs; or how one failed."""
    places = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    for place in places:
        for name in ("helpers", "results", "weights"):
            (place / name).symlink_to(ROOT / name)
        (place / "notebooks").mkdir()

    # The encoder's weights are random, whatever this machine has or can fetch.
    nowhere = {name: "http://localhost:9" for name in ("http_proxy", "https_proxy")}
    env = {**os.environ, **nowhere, "KERAS_HOME": str(tmp_path_factory.mktemp("keras"))}

    def run(path):
        copies = [place / "notebooks" / path.name for place in places]
        for copy in copies:
            copy.write_bytes(path.read_bytes())
            command = [sys.executable, "-m", "helpers.run_notebook", "--save", copy]
            ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
            if ran.returncode:
                return ran.stdout + ran.stderr
        return copies

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return dict(zip((path.stem for path in NOTEBOOKS), threads.map(run, NOTEBOOKS)))


@pytest.fixture(params=[path.stem for path in NOTEBOOKS])
def name(request):
    return request.param


@pytest.fixture
def copies(name, runs):
    assert not isinstance(runs[name], str), runs[name]
    return runs[name]


def results(path):
    """What cells printed and showed, but for those that show how long something took."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and not cell.source.startswith(VARIES):
            yield from cell.outputs


def figures(path):
    """The notebook's figures as thumbnails."""
    for out in results(path):
        if encoded := out.get("data", {}).get("image/png"):
            image = PIL.Image.open(io.BytesIO(base64.b64decode(encoded)))
            yield image.convert("RGB").resize(THUMBNAIL, PIL.Image.Resampling.BOX)


def test_a_second_run_prints_and_draws_the_same(copies):
    first, second = (
        [out.get("text") or out.get("data", {}).get("text/plain") for out in results(copy)]
        for copy in copies
    )
    assert first and len(first) == len(second)
    for text, same in zip(first, second):
        assert TIMES.sub("", text) == TIMES.sub("", same)
    drawn, again = (list(map(np.asarray, figures(copy))) for copy in copies)
    differ = [n for n, pair in enumerate(zip(drawn, again), 1) if not np.array_equal(*pair)]
    assert len(drawn) == len(again) and not differ, f"Figures that differ: {differ}"


def test_the_figures_are_those_of_the_references(name, copies, tmp_path):
    drawn = np.concatenate([np.asarray(figure) for figure in figures(copies[0])])  # in a column
    sheet = tmp_path / f"{name}.png"
    PIL.Image.fromarray(drawn).quantize(64, dither=0).save(sheet, optimize=True)
    advice = f"If the change is meant, copy {sheet} to {REFERENCES}."
    assert (REFERENCES / sheet.name).is_file(), advice
    drawn, reference = (
        np.asarray(PIL.Image.open(path).convert("RGB"), float)
        for path in (sheet, REFERENCES / sheet.name)
    )
    assert drawn.shape == reference.shape, advice
    difference = np.abs(drawn - reference).reshape(-1, THUMBNAIL[1] * THUMBNAIL[0] * 3).mean(1)
    assert difference.max() <= TOLERANCE, f"figure {difference.argmax() + 1}: {advice}"
