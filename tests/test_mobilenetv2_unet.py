"""The recipe of the U-Net on MobileNetV2, and its command with little work and random weights."""

import functools
import json

import numpy as np
import pytest

from helpers import data, mobilenetv2_unet, training
from helpers.recipe import Stage


@pytest.mark.parametrize("size", mobilenetv2_unet.STAGES)
def test_stages_freeze_then_tune_at_a_smaller_rate(size):
    frozen, *tuned = mobilenetv2_unet.STAGES[size]
    assert frozen.freeze_encoder and tuned[-1].size == size
    for stage in tuned:
        assert not stage.freeze_encoder and stage.learning_rate <= frozen.learning_rate / 3


def test_the_command_writes_the_result_of_its_size(drawn_pets, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "open_pets", lambda: drawn_pets)
    stages = (Stage(32, 1, 8, 1e-3, freeze_encoder=True), Stage(32, 1, 8, 1e-4))
    monkeypatch.setitem(mobilenetv2_unet.STAGES, 256, stages)
    small = functools.partial(mobilenetv2_unet.mobilenetv2_unet, alpha=0.35, weights=None)
    monkeypatch.setattr(mobilenetv2_unet, "mobilenetv2_unet", small)
    trainable, fit = [], training.fit

    def spy(model, *args, **settings):
        trainable.append(len(model.get_layer("encoder").trainable_weights))
        return fit(model, *args, **settings)

    monkeypatch.setattr(training, "fit", spy)
    monkeypatch.setattr("sys.argv", ["mobilenetv2_unet", "--size", "256"])
    mobilenetv2_unet.main()
    result = json.loads((tmp_path / "results/mobilenetv2_unet_256.json").read_text())
    assert trainable[0] == 0 < trainable[1]
    assert result["data_source"] == "drawn pets (synthetic), test split (5)"
    assert np.sum(result["confusion_matrix"]) == 5 * 32 * 32
    assert result["settings"]["model"] == "mobilenetv2_unet"
    assert result["command"] == "python -m helpers.mobilenetv2_unet --size 256"
