"""What a result says beside its scores."""

import datetime
import sys
from importlib.metadata import PackageNotFoundError

import keras
import numpy as np
import pytest

from experiments import publish
from helpers import run_mode


def test_a_result_says_where_and_when_it_was_obtained():
    found = publish.environment()
    assert found["versions"]["keras"] == keras.__version__
    assert found["versions"]["numpy"] == np.__version__
    assert found["versions"]["python"].split(".")[:2] == [str(v) for v in sys.version_info[:2]]
    assert {"tensorflow", "tensorflow-datasets"} < set(found["versions"])
    assert found["backend"] == keras.backend.backend()
    assert found["device"] == run_mode.device_name()
    assert abs(datetime.date.fromisoformat(found["date"]) - datetime.date.today()).days <= 1


@pytest.mark.parametrize("installed, expected", [("tensorflow-cpu", "2.21.0"), (None, "unknown")])
def test_a_package_of_another_name_does_not_cost_the_result(monkeypatch, installed, expected):
    def version(name):
        if name != installed:
            raise PackageNotFoundError(name)
        return "2.21.0"

    monkeypatch.setattr(publish, "version", version)
    assert publish.environment()["versions"]["tensorflow"] == expected
