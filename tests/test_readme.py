"""The README says what the files say."""

import re
from pathlib import Path

import numpy as np
import pytest

from helpers import evaluation, readme

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
RESULTS = sorted((ROOT / "results").glob("*.json"))
KEYS = {
    "confusion_matrix",
    "images",
    "input_size",
    "data_source",
    "settings",
    "seed",
    "versions",
    "device",
    "train_seconds",
    "validation",
    "command",
}


@pytest.fixture(params=RESULTS, ids=lambda path: path.stem)
def result(request):
    return readme.load_results(request.param.parent)[RESULTS.index(request.param)]


def test_numbers_are_those_of_the_results():
    assert RESULTS
    assert readme.filled(TEXT, readme.load_results(ROOT / "results")) == TEXT


def test_another_number_would_be_noticed():
    results = readme.load_results(ROOT / "results")
    results[0]["mean_iou"] += 0.001
    assert readme.filled(TEXT, results) != TEXT


def test_without_its_markers_it_is_not_touched():
    with pytest.raises(ValueError, match="needs each of these lines once"):
        readme.filled("nothing here", readme.load_results(ROOT / "results"))


def test_result_has_its_protocol(result):
    assert result.keys() >= KEYS


def test_result_follows_from_its_confusion_matrix(result):
    for name, value in evaluation.scores(result["confusion_matrix"]).items():
        assert result[name] == pytest.approx(value)
    pixels = np.sum(result["confusion_matrix"])
    assert pixels == result["images"] * result["input_size"] ** 2


def test_result_is_of_the_whole_official_test_split(result):
    assert result["images"] == 3669
    assert result["data_source"].startswith("Oxford-IIIT Pet")
    assert result["data_source"].endswith("official test split (3,669)")


def test_files_that_it_names_exist():
    named = re.findall(
        r"`((?:helpers|notebooks|results|tests)/[\w./]*|[\w-]+\.(?:txt|png))`", TEXT
    )
    linked = [target for target in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in target]
    assert len(named) > 5 and len(linked) > 1
    for name in named + linked:
        assert (ROOT / name).exists(), name


def test_commands_that_it_names_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"(?:^|`)make (\w+)", TEXT, re.MULTILINE)
    assert len(targets) >= 4
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for module in re.findall(r"python3? -m (helpers\.\w+)", TEXT):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
