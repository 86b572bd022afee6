"""Each notebook, run twice from its seed, prints the same and draws what it always drew."""

import base64
import io
import os
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
THUMBNAIL = (240, 180)
TOLERANCE = 3  # mean difference of a thumbnail, of 255


def run(*arguments):
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Notebook's name -> its copy with the outputs of a first run, and how nbval compared them
    with a second one."""
    place = tmp_path_factory.mktemp("runs")
    for name in ("helpers", "results", "weights"):
        (place / name).symlink_to(ROOT / name)
    (place / "notebooks").mkdir()

    def twice(path):
        copy = place / "notebooks" / path.name
        copy.write_bytes(path.read_bytes())
        first = run("helpers.run_notebook", "--save", copy)
        assert first.returncode == 0, first.stdout + first.stderr
        options = ["-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml", "-o", "addopts="]
        options += ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=180"]
        options += ["--nbval-sanitize-with", ROOT / "tests/nbval.cfg"]
        return copy, run("pytest", *options, copy)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return dict(zip((path.stem for path in NOTEBOOKS), threads.map(twice, NOTEBOOKS)))


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_a_second_run_prints_the_same(name, runs):
    _, second = runs[name]
    assert second.returncode == 0, second.stdout[-5000:]
    assert "passed" in second.stdout


def figures(path):
    """The notebook's figures, but those that show how long something took, as thumbnails."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and not cell.source.startswith(VARIES):
            for out in cell.outputs:
                if encoded := out.get("data", {}).get("image/png"):
                    image = PIL.Image.open(io.BytesIO(base64.b64decode(encoded)))
                    yield image.convert("RGB").resize(THUMBNAIL, PIL.Image.Resampling.BOX)


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_the_figures_are_those_of_the_references(name, runs, tmp_path):
    copy, _ = runs[name]
    drawn = np.concatenate([np.asarray(figure) for figure in figures(copy)])  # one below the other
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
