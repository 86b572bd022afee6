"""The recipe of the U-Net on MobileNetV2, and its command with little work and random weights."""

import functools
import json

import numpy as np
import pytest
from helpers.recipe import Stage

from helpers import data, mobilenetv2_unet


@pytest.mark.parametrize("size", mobilenetv2_unet.STAGES)
def test_stages_freeze_then_tune_at_a_smaller_rate(size):
    frozen, *tuned = mobilenetv2_unet.STAGES[size]
    assert frozen.train_encoder is False and tuned[-1].size == size
    for stage in tuned:
        assert stage.train_encoder and stage.learning_rate <= frozen.learning_rate / 3


@pytest.fixture
def command(drawn_pets, monkeypatch, tmp_path):
    """The command on few data and a small network, in an empty folder; returns its result."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "open_pets", lambda: drawn_pets)
    at_32 = (Stage(32, 1, 8, 1e-3, train_encoder=False), Stage(32, 1, 8, 1e-4))
    monkeypatch.setattr(mobilenetv2_unet, "STAGES", {128: at_32, 256: (*at_32, at_32[1])})
    small = {**mobilenetv2_unet.ARGUMENTS, "alpha": 0.35}
    random = functools.partial(mobilenetv2_unet.mobilenetv2_unet, weights=None)
    monkeypatch.setattr(mobilenetv2_unet, "ARGUMENTS", small)
    monkeypatch.setattr(mobilenetv2_unet, "mobilenetv2_unet", random)

    def run(size, *options):
        monkeypatch.setattr("sys.argv", ["mobilenetv2_unet", "--size", str(size), *options])
        mobilenetv2_unet.main()
        return json.loads((tmp_path / f"results/mobilenetv2_unet_{size}.json").read_text())

    return run


def test_the_command_writes_the_result_and_the_larger_size_goes_on_behind_it(command, fits):
    result = command(128)
    assert result["data_source"] == "drawn pets (synthetic), test split (5)"
    assert np.sum(result["confusion_matrix"]) == 5 * 32 * 32
    assert result["settings"]["model"] == "mobilenetv2_unet"
    assert result["command"] == "python -m helpers.mobilenetv2_unet --size 128"
    assert len(fits) == 2
    assert len(command(256)["settings"]["stages"]) == 3
    assert len(fits) == 3
