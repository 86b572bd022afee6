"""The recipe of the binary pipeline: its command with little work."""

import functools

import keras
import numpy as np
import pytest

from experiments import binary_unet, mobilenetv2_unet
from helpers import datasets, evaluation, models
from helpers.classes import PETS
from helpers.training import Run, Stage


def tiny(input_size, classes, weights=None):
    """In place of MobileNetV2, which takes seconds to build; it ends in the same kind of layer."""
    height, width = (input_size, input_size) if isinstance(input_size, int) else input_size
    images = keras.Input((height, width, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(images)
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="down")(x)
    up = keras.layers.Conv2DTranspose(classes, 3, strides=2, padding="same", name="up")
    return keras.Model(images, up(x), name="tiny")


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "mobilenetv2_unet", tiny)
    monkeypatch.setattr(mobilenetv2_unet, "build", functools.partial(tiny, classes=3))
    monkeypatch.setattr(mobilenetv2_unet, "RUN", Run(tmp_path / "three", verbose=0))
    for name, value in {
        "ARGUMENTS": {"classes": 1},
        "THREE_CLASSES": (Stage((16, 32), 1, 9, 1e-2),),
        "STAGES": (Stage((16, 32), 1, 9, 1e-3),),
        "SMALL_STAGES": (Stage(32, 2, 6, 1e-2),),
        "SMALL": {"train": 6, "validation": 1},
    }.items():
        monkeypatch.setattr(binary_unet, name, value)


def test_all_images_continue_from_the_three_classes(small, command, fits):
    result = command(binary_unet)["binary_unet"]
    three, binary = fits
    assert [call["start"][-1].shape for call in fits] == [(3,), (1,)]
    assert all(map(np.array_equal, three["model"].get_weights()[:-2], binary["start"][:-2]))
    assert [sum(len(images) for images, *_ in call["batches"]) for call in fits] == [18, 18]
    images, targets, pixel_weights = next(iter(binary["batches"]))
    assert set(np.unique(targets)) == {0, 1} and np.all(pixel_weights == 1)
    assert result["settings"]["checkpoint"] == "best validation Dice of each stage"
    assert (result["input_size"], result["settings"]["training_images"]) == ([16, 32], 18)
    assert np.sum(result["confusion_matrix"]) == 5 * 16 * 32
    for rule, entries in PETS.border_rules.items():
        expected = evaluation.pooled_binary_scores(np.array(result["confusion_matrix"]), entries)
        assert result["binary_scores"][rule]["dice"] == pytest.approx(expected["dice"], abs=1e-6)
    curve = result["validation"]["dice_by_threshold"]
    assert curve[str(result["threshold"])] == max(curve.values())
    assert np.shape(result["validation"]["matrices_of_small_subset"]) == (1, 3, 2)
    del fits[:]
    again = command(binary_unet)["binary_unet"]
    assert again["confusion_matrix"] == result["confusion_matrix"] and not fits


def test_the_small_subset_is_trained_alone_to_its_last_epoch(
    small, command, fits, synthetic_dataset, capsys
):
    result = command(binary_unet, "--small-subset")["binary_small_subset"]
    (call,) = fits
    assert call["start"][-1].shape == (1,)
    assert sum(len(images) for images, *_ in call["batches"]) == 2 * 6
    assert sum(len(images) for images, *_ in call["validation_data"]) == 1
    assert result["settings"]["checkpoint"] == "last epoch"
    assert result["command"] == "python -m experiments.binary_unet --small-subset"
    capsys.readouterr()
    command(binary_unet, "--files")
    subsets = {"train": 6, "validation": 1}.items()
    names = [datasets.stratified_subset(synthetic_dataset, *subset) for subset in subsets]
    printed = [word for word in capsys.readouterr().out.split() if not word.endswith(":")]
    assert printed == [name for part in names for name in sorted(part)]


def test_it_starts_as_pet_and_border_less_twice_the_background(monkeypatch):
    monkeypatch.setattr(models, "mobilenetv2_unet", tiny)
    monkeypatch.setattr(binary_unet, "ARGUMENTS", {"classes": 1})
    three = tiny((16, 32), 3)
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 3)).astype("float32")
    pet, background, border = np.moveaxis(three.predict_on_batch(images), -1, 0)
    logits = binary_unet.from_three_classes(three).predict_on_batch(images)[..., 0]
    assert np.allclose(logits, pet + border - 2 * background, atol=1e-4)


def test_published_settings_are_those_that_are_stated():
    assert binary_unet.SMALL == {"train": 100, "validation": 20}
    assert max(stage.size for stage in binary_unet.STAGES) <= 256
    assert not binary_unet.SMALL_STAGES[0].train_encoder and binary_unet.BORDER == "pet"
