"""Each notebook, run once more, from the repository's root, draws what it always drew."""

import base64
import io
import os
import subprocess
import sys
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

pytestmark = pytest.mark.slow


def figures(path):
    """The notebook's figures as thumbnails, but for those that show how long something took."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and not cell.source.startswith(VARIES):
            for out in cell.outputs:
                if encoded := out.get("data", {}).get("image/png"):
                    image = PIL.Image.open(io.BytesIO(base64.b64decode(encoded)))
                    yield image.convert("RGB").resize(THUMBNAIL, PIL.Image.Resampling.BOX)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_figures_are_those_of_the_references(path, tmp_path):
    for name in ("helpers", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    # The encoder's weights are random, whatever this machine has or can fetch.
    nowhere = {name: "http://localhost:9" for name in ("http_proxy", "https_proxy")}
    env = {**os.environ, **nowhere, "KERAS_HOME": str(tmp_path / "keras")}
    command = [sys.executable, "-m", "tools.run_notebook", "--save", copy]
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr

    drawn = np.concatenate([np.asarray(figure) for figure in figures(copy)])  # in a column
    sheet = tmp_path / f"{path.stem}.png"
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
