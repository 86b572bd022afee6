"""Dice, as measure and metric, against values worked out by hand and in float16."""

import json

import backend_checks as example
import keras
import numpy as np
import pytest
from sklearn.metrics import f1_score

from helpers import dice, losses


@pytest.fixture
def mixed_float16():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def random_batch(size, batch=16, channels=3):
    """Class ids (B, H, W, 1) and float16 logits."""
    rng = np.random.default_rng(size)
    labels = rng.integers(0, max(channels, 2), (batch, size, size, 1))
    return labels, rng.normal(0, 3, (batch, size, size, channels)).astype("float16")


# By hand; the examples are in backend_checks.py


def test_hard_dice_per_image_and_class():
    values = dice.dice_coefficient(example.LABELS, example.GUESSES, 3)
    assert keras.backend.standardize_dtype(values.dtype) == "float32"
    assert np.allclose(values, example.HARD)
    flat = dice.dice_coefficient(example.LABELS[..., 0], example.GUESSES[..., 0], 3)
    assert np.allclose(flat, example.HARD)


def test_hard_dice_of_binary_masks():
    # Foreground: 2 x 1 / (1 + 2); background: 2 x 2 / (3 + 2).
    truth, guess = np.array([[[0, 0], [0, 1]]]), np.array([[[0, 0], [1, 1]]])
    assert np.allclose(dice.dice_coefficient(truth, guess, 2), [[4 / 5, 2 / 3]])


@pytest.mark.parametrize("truth, guess, expected", [(0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 1, 1)])
def test_absent_class(truth, guess, expected):
    # Is class 1 in the truth, and is it in the prediction?
    truth, guess = np.full((1, 4, 4, 1), truth), np.full((1, 4, 4, 1), guess)
    assert dice.dice_coefficient(truth, guess, 2)[0, 1] == expected
    assert dice.dice_coefficient(truth, guess, 3)[0, 2] == 1


def test_soft_dice_of_known_probabilities():
    assert np.allclose(dice.soft_dice(example.SOFT_LABELS, example.LOGITS), example.SOFT)
    binary = dice.soft_dice(example.BINARY_LABELS, example.BINARY_LOGITS)
    assert np.allclose(binary, example.BINARY)


def test_soft_dice_of_an_absent_class_is_1():
    logits = np.array([[[[100.0, -100.0]]]], "float32")
    assert np.allclose(dice.soft_dice([[[[0]]]], logits), 1)
    assert np.allclose(dice.soft_dice([[[[0]]]], [[[[-100.0]]]]), 1)


# Shapes

A, ONE_HOT = np.zeros((2, 8, 8, 1), int), np.zeros((2, 8, 8, 3), int)
WRONG_LABELS = {
    "sparse and one-hot": (A, ONE_HOT),
    "one-hot and sparse": (ONE_HOT, A),
    "both one-hot": (ONE_HOT, ONE_HOT),
    "channel axis only in the truth": (A, A[..., 0]),
    "channel axis only in the prediction": (A[..., 0], A),
    "one image for a batch": (A[:1], A),
    "another width": (A, A[:, :, :1]),
    "no batch axis": (A[0], A[0]),
    "no batch and channel axes": (A[0, ..., 0], A[0, ..., 0]),
}


@pytest.mark.parametrize("case", WRONG_LABELS)
def test_label_maps_of_wrong_shape_raise(case):
    truth, guess = WRONG_LABELS[case]
    with pytest.raises(ValueError, match=r"y_true has shape .*\d\)"):
        dice.dice_coefficient(truth, guess, 3)


# Precision


@pytest.mark.parametrize("size", [128, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_float16_logits_give_what_float32_ones_give(size, channels, mixed_float16):
    labels, half = random_batch(size, channels=channels)
    value = dice.soft_dice(labels, half)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert np.array_equal(value, dice.soft_dice(labels, half.astype("float32")))


def test_hard_dice_counts_beyond_float16(mixed_float16):
    labels = np.zeros((16, 256, 256, 1), np.uint8)  # 65,536 pixels an image
    labels[:, 0, :3] = 1
    values = dice.dice_coefficient(labels, np.zeros_like(labels), 2)
    assert np.allclose(values, [[2 * 65533 / (65533 + 65536), 0]], rtol=1e-6, atol=0)


# The metric


@pytest.mark.parametrize("channels", [1, 3])
def test_the_metric_under_mixed_float16(channels, mixed_float16):
    labels, half = random_batch(256, channels=channels)
    metric = dice.MeanDice(channels)
    assert {weight.dtype for weight in metric.variables} == {"int32"}
    metric.update_state(labels, half)
    guess = half > 0 if channels == 1 else half.argmax(-1)[..., None]
    scores = f1_score(labels.ravel(), guess.ravel(), average=None)
    assert float(metric.result()) == pytest.approx(scores[1] if channels == 1 else scores.mean())


def test_the_metric_counts_exactly_beyond_float32():
    # float32 cannot tell 2^24 from 2^24 + 1: neither within a batch nor from one to the next.
    metric = dice.BinaryDice()
    labels = np.ones((1025, 128, 128, 1), np.uint8)
    logits = np.ones(labels.shape, np.float16)
    logits[0, 0, 0] = -1
    metric.update_state(labels, logits)
    metric.update_state(labels[:1, :1, :2], logits[:1, :1, :2])
    assert metric.shared.numpy().item() == labels.size
    assert metric.total.numpy().item() == 2 * labels.size + 2


def test_the_metric_refuses_another_number_of_channels():
    labels, logits = random_batch(8)
    for metric in (dice.MeanDice(4), dice.BinaryDice()):
        with pytest.raises(ValueError, match="3 channels, but this metric was made for [14],"):
            metric.update_state(np.minimum(labels, 1), logits)
    with pytest.raises(ValueError, match="threshold=1.0"):
        dice.BinaryDice(1.0)


def test_a_probability_of_exactly_the_threshold_is_background():
    metric = dice.BinaryDice(0.5)
    metric.update_state(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))
    assert float(metric.result()) == 0


def test_logits_that_are_nan_have_no_score():
    metric = dice.MeanDice(2)
    metric.update_state(np.zeros((1, 2, 2, 1)), np.full((1, 2, 2, 2), np.nan))
    assert np.isnan(metric.result())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("by_image", [True, False])
def test_weights_and_ignore_leave_out_in_compiled_metrics_too(channels, by_image):
    labels, logits = random_batch(8, batch=4, channels=channels)
    weights = np.zeros(4) if by_image else np.zeros(labels.shape)
    weights[:2], weights[0] = 0.3, 7  # how large they are is the same to a metric
    images = keras.Input((8, 8, channels))
    model = keras.Model(images, keras.layers.Identity()(images))
    name = "dice" if channels == 1 else "mean_dice"

    def evaluate(labels, logits, weights=None, **options):
        metric = dice.BinaryDice(**options) if channels == 1 else dice.MeanDice(3, **options)
        loss = losses.CrossEntropyDiceLoss(**options)
        model.compile(loss=loss, weighted_metrics=[metric])
        return model.evaluate(logits, labels, sample_weight=weights, verbose=0, return_dict=True)

    expected = evaluate(labels[:2], logits[:2])[name]
    assert evaluate(labels, logits, weights)[name] == pytest.approx(expected)
    void = np.where(np.arange(4).reshape(4, 1, 1, 1) < 2, labels, 255)
    assert evaluate(void, logits, ignore=255)[name] == pytest.approx(expected)


# Files


@pytest.mark.parametrize("metric", [dice.MeanDice(4, ignore=9, name="a"), dice.BinaryDice(0.3)])
def test_config_round_trip(metric):
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(metric)))
    assert saved["registered_name"] == "unet_pets>MeanDice"
    again = keras.saving.deserialize_keras_object(saved, safe_mode=True)
    assert again.get_config() == metric.get_config()
    assert (again.classes, again.threshold, again.ignore, again.name) in (
        (4, 0.5, 9, "a"),
        (1, 0.3, None, "dice"),
    )
