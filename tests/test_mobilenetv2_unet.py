"""The recipe of the U-Net on MobileNetV2, and its command with little work and a tiny encoder."""

import keras
import numpy as np
import pytest

from experiments import mobilenetv2_unet
from helpers import models
from helpers.training import Run, Stage


@pytest.mark.parametrize("size", mobilenetv2_unet.STAGES)
def test_stages_freeze_then_tune_at_a_smaller_rate(size):
    frozen, *tuned = mobilenetv2_unet.STAGES[size]
    assert frozen.train_encoder is False and tuned[-1].size == size
    for stage in tuned:
        assert stage.train_encoder and stage.learning_rate <= frozen.learning_rate / 3


def tiny(input_size, classes, decoder, weights=None):
    """In place of MobileNetV2, which takes seconds to build."""
    side = input_size if isinstance(input_size, int) else input_size[0]
    images = keras.Input((side, side, 3))
    inner = keras.layers.Conv2D(2, 1, name="inner")(images)
    encoder = keras.Model(images, inner, name="encoder")
    return keras.Model(images, keras.layers.Conv2D(classes, 1, name="logits")(encoder(images)))


def test_the_larger_size_continues_from_the_smaller(command, fits, monkeypatch, tmp_path):
    for target in (mobilenetv2_unet, models):
        monkeypatch.setattr(target, "mobilenetv2_unet", tiny)
    at_16 = (Stage(16, 1, 18, 1e-3, train_encoder=False), Stage(16, 1, 18, 1e-4))
    stages = {128: at_16, 256: (*at_16, Stage(32, 1, 18, 1e-4))}
    monkeypatch.setattr(mobilenetv2_unet, "STAGES", stages)
    monkeypatch.setattr(mobilenetv2_unet, "RUN", Run(tmp_path / "runs", verbose=0))
    result = command(mobilenetv2_unet, "--size", 128)["mobilenetv2_unet_128"]
    assert np.sum(result["confusion_matrix"]) == 5 * 16 * 16 and len(fits) == 2
    assert result["command"] == "python -m experiments.mobilenetv2_unet --size 128"
    larger = command(mobilenetv2_unet, "--size", 256)["mobilenetv2_unet_256"]
    assert len(larger["settings"]["stages"]) == 3 and len(fits) == 3
