"""Results: complete, and written whole or not at all."""

import datetime
import json
import sys
from importlib.metadata import PackageNotFoundError

import keras
import numpy as np
import pytest

from helpers import results, run_mode

SCORES = {"pixel_accuracy": 0.5, "iou": [0.5, 0.25, 0.0], "confusion_matrix": [[2, 1], [0, 1]]}
PROTOCOL = {
    "protocol": "every pixel counts once",
    "images": 7,
    "input_size": 16,
    "data_source": "drawn pets, test split (7)",
    "settings": {"width": 4},
    "seed": 42,
}


# Result


def test_result_has_the_protocol_beside_the_scores():
    values = results.result(SCORES, **PROTOCOL)
    assert {name: values[name] for name in PROTOCOL} == PROTOCOL
    assert {name: values[name] for name in SCORES} == SCORES
    assert values["classes"] == ["pet", "background", "border"]
    assert values["versions"]["keras"] == keras.__version__
    assert values["versions"]["numpy"] == np.__version__
    assert values["versions"]["python"].split(".")[:2] == [str(v) for v in sys.version_info[:2]]
    assert {"tensorflow", "tensorflow-datasets"} < set(values["versions"])
    assert values["backend"] == keras.backend.backend()
    assert values["device"] == run_mode.device_name()
    assert abs(datetime.date.fromisoformat(values["date"]) - datetime.date.today()).days <= 1


@pytest.mark.parametrize("protocol", [results.PIXELS, results.PET_AGAINST_BACKGROUND])
def test_protocols_say_what_can_be_misread(protocol):
    for word in ("border", "size", "nearest", "pooled", "bootstrap"):
        assert word in protocol


def test_result_passes_more_through():
    more = {"train_seconds": 12.5, "validation": {"mean_iou": 0.5}, "command": "make run"}
    values = results.result(SCORES, **PROTOCOL, **more)
    assert {name: values[name] for name in more} == more


def test_result_needs_the_whole_protocol():
    for name in PROTOCOL:
        with pytest.raises(TypeError, match=name):
            results.result(SCORES, **{k: v for k, v in PROTOCOL.items() if k != name})


@pytest.mark.parametrize("installed, expected", [("tensorflow-cpu", "2.21.0"), (None, "unknown")])
def test_a_package_of_another_name_does_not_cost_the_result(monkeypatch, installed, expected):
    def version(name):
        if name != installed:
            raise PackageNotFoundError(name)
        return "2.21.0"

    monkeypatch.setattr(results, "version", version)
    assert results.result(SCORES, **PROTOCOL)["versions"]["tensorflow"] == expected


# Files


def test_write_result_can_be_read_again(tmp_path):
    path = tmp_path / "deep" / "er" / "result.json"
    values = results.result(SCORES, **PROTOCOL)
    results.write_result(path, {"old": True})
    results.write_result(path, values)
    assert json.loads(path.read_text()) == values
    assert path.read_text().endswith("}\n")
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]


BAD_VALUES = {
    "NaN": (float("nan"), ValueError),
    "infinity": (float("inf"), ValueError),
    "array": (np.zeros(2), TypeError),
    "NumPy float": (np.float32(1), TypeError),
}


@pytest.mark.parametrize("case", BAD_VALUES)
@pytest.mark.parametrize("existing", [True, False])
def test_values_json_cannot_hold_leave_the_old_file(tmp_path, case, existing):
    value, error = BAD_VALUES[case]
    path = tmp_path / "result.json"
    if existing:
        path.write_text("old")
    with pytest.raises(error):
        results.write_result(path, {"first": 1, "bad": value})
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"] * existing
