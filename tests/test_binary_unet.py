"""The recipe of the binary pipeline: its command with little work."""

import functools
import json

import keras
import numpy as np
import pytest
from helpers.recipe import Stage

from helpers import binary_unet, data, evaluation, mobilenetv2_unet, models
from helpers.albumentations_augmentation import albumentations_augment


def tiny(input_size, classes, weights=None):
    """In place of MobileNetV2, which takes seconds to build; it ends in the same kind of layer."""
    images = keras.Input((input_size, input_size, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(images)
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="down")(x)
    up = keras.layers.Conv2DTranspose(classes, 3, strides=2, padding="same", name="up")
    return keras.Model(images, up(x), name="tiny")


@pytest.fixture
def command(drawn_pets, monkeypatch, tmp_path):
    """The command on few data and a tiny network, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "open_pets", lambda: drawn_pets)
    monkeypatch.setattr(models, "mobilenetv2_unet", tiny)
    settings = {"ARGUMENTS": {"classes": 1}, "STAGES": (Stage(32, 1, 4, 1e-3),)}
    settings |= {"SMALL_STAGES": (Stage(64, 2, 4, 1e-2),), "SMALL": {"train": 6, "validation": 1}}
    settings |= {"THREE_CLASSES": (Stage(32, 1, 4, 1e-2),)}
    for name, value in settings.items():
        monkeypatch.setattr(binary_unet, name, value)
    monkeypatch.setattr(mobilenetv2_unet, "build", functools.partial(tiny, classes=3))

    def run(*options):
        monkeypatch.setattr("sys.argv", ["binary_unet", *options])
        binary_unet.main()
        return {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("results/*")}

    return run


def test_all_images_or_the_small_subset(command, fits):
    (name, whole), *others = command().items()
    assert name == "binary_unet" and not others
    (small,) = (result for name, result in command("--small-subset").items() if "small" in name)
    assert (whole["settings"]["training_images"], small["settings"]["training_images"]) == (18, 6)
    checkpoints = [result["settings"]["checkpoint"] for result in (whole, small)]
    assert checkpoints == ["best validation Dice of each stage", "last epoch"]
    assert [settings["keep_best"] for *_, settings in fits] == [True, True, False]
    assert (whole["input_size"], small["input_size"]) == (32, 64)
    assert small["command"] == "python -m helpers.binary_unet --small-subset"
    seen = [sum(len(images) for images, *_ in train(0)) for _, train, *_ in fits]
    assert seen == [18, 18, 6]
    held_out = [sum(len(images) for images, *_ in batches) for _, _, batches, _ in fits]
    assert held_out == [2, 2, 1]


def test_the_result_follows_from_the_test_splits_matrix(command, fits):
    (result,) = command().values()
    assert np.sum(result["confusion_matrix"]) == 5 * 32 * 32
    assert result["data_source"] == "drawn pets (synthetic), test split (5)"
    for rule in data.BORDER_RULES:
        expected = evaluation.binary_scores([result["confusion_matrix"]], rule)
        assert result["binary_scores"][rule]["dice"] == pytest.approx(expected["dice"])
    assert result["threshold"] in binary_unet.THRESHOLDS
    curve = result["validation"]["dice_by_threshold"]
    assert curve[str(result["threshold"])] == max(curve.values())
    assert np.shape(result["validation"]["matrices_of_small_subset"]) == (1, 3, 2)


def test_it_trains_on_binary_masks_that_albumentations_moved(command, fits, monkeypatch):
    seeds = []

    def spy(images, masks, seed):
        seeds.append(seed)
        return albumentations_augment(images, masks, seed)

    monkeypatch.setattr(binary_unet, "albumentations_augment", spy)
    command("--small-subset")
    assert seeds
    images, targets, weights = next(iter(fits[0][1](0)))
    assert set(np.unique(targets)) == {0, 1} and np.all(weights == 1)


def test_it_resumes(command, fits):
    first = command()["binary_unet"]
    del fits[:]
    assert command()["binary_unet"]["confusion_matrix"] == first["confusion_matrix"]
    assert not fits


def test_all_images_go_on_behind_the_three_classes_the_small_subset_does_not(command, fits):
    command()
    three, binary = fits
    assert [call[3]["metric"].name for call in fits] == ["mean_dice", "dice"]
    assert np.shape(three[0][-1]) == (3,) and np.shape(binary[0][-1]) == (1,)
    saved = mobilenetv2_unet.build(32)
    saved.load_weights(f"{mobilenetv2_unet.RUN_DIR}/stage_1/best.keras")
    assert all(map(np.array_equal, saved.get_weights()[:-2], binary[0][:-2]))
    del fits[:]
    command("--small-subset")
    assert [call[3]["metric"].name for call in fits] == ["dice"]


def test_it_starts_as_pet_and_border_less_twice_the_background(monkeypatch):
    small = {"alpha": 0.35, "widths": (8, 6, 4, 2), "weights": None}
    monkeypatch.setattr(binary_unet, "ARGUMENTS", {"classes": 1, **small})
    three = models.mobilenetv2_unet(32, 3, **small)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    pet, background, border = np.moveaxis(three.predict_on_batch(images), -1, 0)
    logits = binary_unet.from_three_classes(three).predict_on_batch(images)[..., 0]
    assert np.allclose(logits, pet + border - 2 * background, atol=1e-4)


def test_it_prints_which_files_the_subset_has(command, capsys, drawn_pets):
    assert command("--files") == {}
    printed = capsys.readouterr().out.split()
    names = data.spread(drawn_pets, "train", 6) + data.spread(drawn_pets, "validation", 1)
    assert [word for word in printed if word.endswith(".jpg")] == names


def test_published_settings_are_those_that_are_stated():
    assert binary_unet.SMALL == {"train": 100, "validation": 20}
    assert max(stage.size for stage in binary_unet.STAGES) <= 256
    assert not binary_unet.SMALL_STAGES[0].train_encoder and binary_unet.BORDER == "pet"
