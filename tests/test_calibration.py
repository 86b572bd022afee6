"""Temperature scaling: found on validation, divided into the last layer."""

import keras
import numpy as np
import pytest
from scipy import special

from helpers import calibration, evaluation, models
from helpers.classes import PETS, VOID

TOO_SURE = 2.0  # times


def task(classes, seed=0):
    """Images, masks that are drawn by the probabilities that each pixel's colour says, and a
    network that gives these colours as logits, ``TOO_SURE`` times too large."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (4, 128, 128, 3), np.uint8)
    logits = images[..., :classes] / 64.0
    if classes == 1:
        logits = np.concatenate([logits, np.zeros_like(logits)], axis=-1)
    chances = special.softmax(logits, axis=-1).cumsum(axis=-1)
    masks = (rng.random(chances.shape[:-1] + (1,)) > chances).sum(axis=-1, keepdims=True)
    inputs = keras.Input((128, 128, 3))
    x = keras.layers.Rescaling(1 / 64)(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(classes, 1, name="logits")(x))
    kernel = TOO_SURE * np.eye(3, classes)[None, None]
    model.layers[-1].set_weights([kernel, np.zeros(classes)])
    return model, [{"image": images, "mask": masks.astype(np.uint8)}]


def error(model, batch):
    probabilities = evaluation.predict_probabilities(model, batch["image"])
    ids, truth = probabilities.argmax(axis=-1), batch["mask"][..., 0]
    sure = probabilities.max(axis=-1)
    bins = np.stack([np.ones(ids.shape), ids == truth, sure], axis=-1)
    return evaluation.calibration_error(bins.reshape(-1, 3).sum(axis=0, keepdims=True))


@pytest.mark.parametrize("classes", [1, 3])
def test_finds_by_how_much_a_network_is_too_sure_and_mends_it(classes):
    model, batches = task(classes)
    before = evaluation.predict(model, batches[0]["image"])
    assert error(model, batches[0]) > 0.05
    assert calibration.calibrate(model, batches, PETS) == pytest.approx(TOO_SURE, rel=0.1)
    assert error(model, batches[0]) < 0.02
    assert (evaluation.predict(model, batches[0]["image"]) == before).all()
    assert calibration.temperature(model, batches, PETS) == pytest.approx(1, rel=1e-3)


def test_pixels_that_count_for_nothing_do_not_count():
    model, batches = task(3)
    expected = calibration.temperature(model, batches, PETS)
    void = {"image": batches[0]["image"], "mask": np.full_like(batches[0]["mask"], VOID)}
    assert calibration.temperature(model, [void, *batches], PETS) == pytest.approx(expected)
    with pytest.raises(ValueError, match="nothing to calibrate with"):
        calibration.temperature(model, [void], PETS)


@pytest.mark.parametrize("name", [*models.DECODERS, "mirrored", "enlarged", "from scratch"])
def test_every_network_of_ours_can_be_divided(name):
    if name == "from scratch":
        model = models.unet(32, 3, width=4, depth=2)
    else:
        decoder = name if name in models.DECODERS else "light"
        model = models.mobilenetv2_unet(32, 3, weights=None, decoder=decoder)
    if name in ("mirrored", "enlarged"):
        model = getattr(models, name)(model)
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    before = model.predict_on_batch(images)
    calibration.divide_logits(model, 2.0)
    half, size = model.predict_on_batch(images), np.abs(before).max()
    np.testing.assert_allclose(half / size, before / size / 2, atol=1e-4)
