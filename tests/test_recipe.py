"""Training in stages and its report, with a tiny U-Net on a few drawn pets."""

import functools
import json

import keras
import numpy as np
import pytest
from helpers.recipe import Stage

from helpers import data, dice, recipe, training, unet_from_scratch
from helpers.albumentations_augmentation import albumentations_augment
from helpers.models import mobilenetv2_unet, unet

SMALL = functools.partial(unet, classes=data.CLASSES, width=2, depth=1)
STAGES = (Stage(16, 2, 4, 1e-2), Stage(32, 1, 4, 1e-3))


@pytest.fixture
def pets(drawn_pets):
    return drawn_pets


@pytest.fixture
def train(pets, tmp_path):
    settings = {"seed": 7, "limit": 12, "run_dir": tmp_path / "run", "verbose": 0}
    return lambda build=SMALL, stages=STAGES, **more: recipe.train(
        build, pets, stages, **{**settings, **more}
    )


def equal(model, other):
    return all(map(np.array_equal, model.get_weights(), other.get_weights()))


def test_a_stage_starts_from_the_best_weights_of_the_one_before(train, fits, tmp_path):
    model, history = train()
    best = keras.models.load_model(tmp_path / "run/stage_1/best.keras").get_weights()
    assert all(map(np.array_equal, best, fits[1][0]))
    assert model.input_shape[1:3] == (32, 32)
    assert len(history["loss"]) == len(history["val_mean_dice"]) == 3  # epochs of both stages
    assert len(history["seconds"]) == 2


def test_the_same_seed_gives_the_same_network(train, fits, tmp_path):
    first, history = train()
    again, same = train(run_dir=tmp_path / "again")
    other, _ = train(run_dir=tmp_path / "other", seed=8)
    assert equal(first, again) and history["loss"] == same["loss"]
    assert not equal(first, other)


def test_the_first_stage_starts_from_the_start(train, fits):
    start = SMALL(16)
    start.set_weights([weight + 0.5 for weight in start.get_weights()])
    train(start=start)
    assert all(map(np.array_equal, fits[0][0], start.get_weights()))
    assert not all(map(np.array_equal, fits[1][0], start.get_weights()))

    del fits[:]
    train(start=start)
    assert not fits
    train(start=SMALL(16))
    assert fits  # from another start, it is another training


def test_limit_counts_training_images_and_a_tenth_of_it_validation_images(train, fits):
    train(stages=STAGES[:1], limit=12)
    (_, batches, held_out, _), *_ = fits
    assert sum(len(images) for images, _ in batches(0)) == 12
    assert sum(len(images) for images, _ in held_out) == 1


def test_without_augmentation_the_images_stay_as_they_are(train, fits, pets):
    train(stages=[Stage(16, 1, 4, 1e-3, augmented=False)], limit=8)
    seen = {image.numpy().tobytes() for images, _ in fits[0][1](0) for image in images}
    whole = data.load_split(pets, "train", 16, 8)
    assert seen == {image.numpy().tobytes() for image, _ in whole}


def test_a_frozen_stage_leaves_the_encoder_alone(train, fits):
    def build(size):
        options = {"alpha": 0.35, "weights": None, "widths": (8, 6, 4, 2)}
        return mobilenetv2_unet(size, data.CLASSES, **options)

    def encoder_of(weights):
        model = build(32)
        model.set_weights(weights)
        return {w.path: w.numpy().copy() for w in model.get_layer("encoder").trainable_weights}

    stages = [Stage(32, 1, 4, 1e-2, train_encoder=False), Stage(32, 1, 4, 1e-2)]
    model, _ = train(build, stages)
    start, frozen, tuned = map(encoder_of, (fits[0][0], fits[1][0], model.get_weights()))
    assert start and all(np.array_equal(start[path], frozen[path]) for path in start)
    assert not any(np.array_equal(frozen[path], tuned[path]) for path in start)


@pytest.mark.parametrize("real", [True, False], ids=["trained", "stand-in"])
def test_a_resumed_training_ends_as_one_that_never_broke_off(
    real, train, monkeypatch, request, tmp_path
):
    if not real:
        request.getfixturevalue("fits")
    fit, calls = training.fit, []

    def broken(*arguments, **settings):
        calls.append(1)
        if len(calls) == 4:  # the second stage of the second training
            raise KeyboardInterrupt
        return fit(*arguments, **settings)

    monkeypatch.setattr(training, "fit", broken)
    whole, history = train(run_dir=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train()
    resumed, same = train()
    assert len(calls) == 5  # the second stage alone
    assert not (tmp_path / "run/stage_2/state.safetensors").exists()  # of no use once it is done
    assert equal(whole, resumed) and history["loss"] == same["loss"]


def test_loss_and_callbacks_are_handed_on(train, fits):
    train(stages=STAGES[:1])
    assert isinstance(fits[0][3]["loss"], dice.CrossEntropyDiceLoss)
    loss, callback = dice.DiceLoss(), keras.callbacks.Callback()
    train(loss=loss, callbacks=[callback], stages=STAGES[:1])
    assert fits[1][3]["loss"] is loss and fits[1][3]["callbacks"] == [callback]


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 8},
        {"loss": dice.DiceLoss()},
        {"limit": 11},
        {"augmentation": albumentations_augment},
        {"stages": (Stage(16, 2, 4, 2e-2), STAGES[1])},
        {"build": functools.partial(unet, classes=data.CLASSES, width=3, depth=1)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_was_trained_otherwise_is_trained_anew(train, fits, changed):
    train()
    del fits[:]
    train()
    assert not fits
    train(**changed)
    assert len(fits) == 2


def test_a_layer_that_keras_names_by_itself_is_the_same_in_each_build(train, fits):
    def build(size):
        options = {"alpha": 0.35, "weights": None, "widths": (8, 6, 4, 2), "decoder": "pix2pix"}
        return mobilenetv2_unet(size, data.CLASSES, **options)

    stages = [Stage(32, 1, 4, 1e-3)]
    train(build, stages)
    train(build, stages)
    assert len(fits) == 1


def test_a_damaged_note_is_explained(train, fits, tmp_path):
    train()
    (tmp_path / "run/stage_1/finished.json").write_text("")
    with pytest.raises(ValueError, match=r"finished\.json is damaged .*delete its folder"):
        train()


def test_without_resume_everything_is_trained_anew(train, fits):
    train()
    train(resume=False)
    assert len(fits) == 4


@pytest.fixture
def command(pets, monkeypatch, tmp_path):
    """``python -m helpers.unet_from_scratch`` on few data, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "open_pets", lambda: pets)
    monkeypatch.setattr(unet_from_scratch, "STAGES", STAGES)
    small = {"classes": data.CLASSES, "width": 2, "depth": 1}
    monkeypatch.setattr(unet_from_scratch, "ARGUMENTS", small)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["unet_from_scratch", *arguments])
        unet_from_scratch.main()
        return json.loads((tmp_path / "results/unet_from_scratch.json").read_text())

    return run


def test_a_finished_command_does_not_train_again(command, fits):
    first = command()
    del fits[:]
    assert command()["confusion_matrix"] == first["confusion_matrix"]
    assert not fits
