"""Dice against values worked out by hand, in float16, and on every installed backend."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import backend_checks as example
import keras
import numpy as np
import pytest
from keras import ops

from helpers import dice, evaluation

ROOT = Path(__file__).parents[1]
LOSSES = [dice.DiceLoss, dice.CrossEntropyDiceLoss]


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


def test_losses_by_hand():
    loss = 1 - np.mean(example.SOFT)
    assert float(dice.DiceLoss()(example.SOFT_LABELS, example.LOGITS)) == pytest.approx(loss)
    both = float(dice.CrossEntropyDiceLoss()(example.SOFT_LABELS, example.LOGITS))
    assert both == pytest.approx(loss + example.ENTROPY)
    both = float(dice.CrossEntropyDiceLoss()(example.BINARY_LABELS, example.BINARY_LOGITS))
    assert both == pytest.approx(1 - example.BINARY[0][0] + example.BINARY_ENTROPY)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_every_backend_gives_the_same_numbers(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.backend_checks"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    values = json.loads(ran.stdout.splitlines()[-1])
    assert values["backend"] == backend
    expected = {
        "hard": example.HARD,
        "soft": example.SOFT,
        "binary": example.BINARY,
        "entropy": [example.ENTROPY],
        "binary_entropy": [example.BINARY_ENTROPY],
        "dice_loss": 1 - np.mean(example.SOFT),
        "loss": 1 - np.mean(example.SOFT) + example.ENTROPY,
        "mean_dice": example.POOLED,
    }
    for name, value in expected.items():
        assert np.allclose(values[name], value, atol=1e-6), name
    here = example.compute()["unet"]
    assert np.ptp(here) > 0.1  # the weights say something
    assert np.allclose(values["unet"], here, rtol=1e-4, atol=1e-4)


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


WRONG_LOGITS = {
    "one-hot truth": (ONE_HOT, ONE_HOT),
    "one-hot truth, binary": (ONE_HOT, A),
    "truth without channel axis": (A[..., 0], ONE_HOT),
    "logits without channel axis": (A, A[..., 0]),
    "both without": (A[..., 0], A[..., 0]),
    "one image for a batch": (A[:1], ONE_HOT),
    "one row for all": (A[:, :1], ONE_HOT),
    "no batch axis": (A[0], ONE_HOT[0]),
}
ON_LOGITS = {
    "soft_dice": dice.soft_dice,
    "cross_entropy": dice.cross_entropy,
    "DiceLoss": dice.DiceLoss(),
    "CrossEntropyDiceLoss": dice.CrossEntropyDiceLoss(),
    "MeanDice": dice.MeanDice(3).update_state,
}


@pytest.mark.parametrize("function", ON_LOGITS)
@pytest.mark.parametrize("case", WRONG_LOGITS)
def test_logits_of_wrong_shape_raise(case, function):
    truth, logits = WRONG_LOGITS[case]
    with pytest.raises(ValueError, match="has shape|have shape"):
        ON_LOGITS[function](truth, logits.astype("float32"))


# Precision


@pytest.mark.parametrize("size", [128, 256])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_float16_logits_give_what_float32_ones_give(size, channels, policy):
    labels, half = random_batch(size, channels=channels)
    single = half.astype("float32")
    exact = {name: np.array(ON_LOGITS[name](labels, single)) for name in list(ON_LOGITS)[:4]}
    keras.config.set_dtype_policy(policy)
    try:
        for name, expected in exact.items():
            value = ON_LOGITS[name](labels, half)
            assert keras.backend.standardize_dtype(value.dtype) == "float32", name
            assert np.isfinite(value).all() and np.array_equal(value, expected), name
        for loss in LOSSES:  # made under the policy
            assert np.array_equal(loss()(labels, half), exact[loss.__name__])
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_loss_of_dtype_float16_still_adds_up_in_float32():
    labels, half = random_batch(256)
    for loss in LOSSES:
        exact = float(loss()(labels, half))
        assert float(loss(dtype="float16")(labels, half)) == pytest.approx(exact, rel=1e-3)


def test_hard_dice_counts_beyond_float16(mixed_float16):
    labels = np.zeros((16, 256, 256, 1), np.uint8)  # 65,536 pixels an image
    labels[:, 0, :3] = 1
    values = dice.dice_coefficient(labels, np.zeros_like(labels), 2)
    assert np.allclose(values, [[2 * 65533 / (65533 + 65536), 0]], rtol=1e-6, atol=0)


def test_mean_dice_under_mixed_float16(mixed_float16):
    labels, half = random_batch(256)
    metric = dice.MeanDice(3)
    assert {weight.dtype for weight in (metric.shared, metric.total)} == {"int32"}
    metric.update_state(labels, half)
    matrix = evaluation.confusion_matrix(labels[..., 0], half.argmax(-1), 3)
    assert float(metric.result()) == pytest.approx(evaluation.scores(matrix)["mean_dice"])


def gradient(loss, labels, logits):
    import tensorflow as tf

    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(labels, logits)
    return float(value), tape.gradient(value, logits).numpy()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("height", [0.0, 5.0, 6e4])
def test_loss_and_gradient_are_finite(loss, channels, height):
    # The first image lacks every class but 0; wrong and right pixels alike, up to float16's end.
    labels = np.zeros((2, 8, 8, 1), int)
    labels[1, :4] = channels - 1 or 1
    signs = np.random.default_rng(0).choice([-1, 1], (2, 8, 8, channels))
    value, slope = gradient(loss(), labels, (height * signs).astype("float16"))
    assert np.isfinite(value) and np.isfinite(slope).all()
    if height < 10:
        assert np.abs(slope[0]).max() > 0  # an image that lacks a class teaches all the same


def test_gradient_points_towards_the_truth():
    labels = np.array([[[[0], [1], [2]]]])
    for loss in LOSSES:
        _, slope = gradient(loss(), labels, np.zeros((1, 1, 3, 3), "float32"))
        assert np.array_equal(slope < 0, np.eye(3, dtype=bool)[None, None])


# Per image


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("channels", [1, 3])
def test_loss_is_the_mean_over_images_not_pooled(loss, channels):
    labels = np.zeros((2, 16, 16, 1), int)
    labels[0] = 1  # a pet that fills its image, and one of a single pixel
    labels[1, 0, 0] = 1
    logits = np.random.default_rng(0).normal(0, 2, (2, 16, 16, channels)).astype("float32")
    alone = [float(loss()(labels[i : i + 1], logits[i : i + 1])) for i in range(2)]
    assert np.allclose(loss(reduction=None)(labels, logits), alone)
    assert float(loss()(labels, logits)) == pytest.approx(np.mean(alone))
    pooled = loss()(labels.reshape(1, 32, 16, 1), logits.reshape(1, 32, 16, channels))
    assert abs(float(pooled) - np.mean(alone)) > 0.01  # the example tells the two apart


# The metric


def test_mean_dice_counts_exactly_beyond_float32():
    # float32 cannot tell 2^24 from 2^24 + 1.
    metric = dice.MeanDice(2)
    metric.shared.assign([2**24, 0])
    metric.total.assign([2**25, 0])
    for _ in range(3):
        metric.update_state(np.zeros((1, 1, 1, 1), int), np.array([[[[1.0, 0.0]]]], "float32"))
    assert metric.shared.numpy()[0] == 2**24 + 3
    assert metric.total.numpy()[0] == 2**25 + 6


def test_mean_dice_counts_a_large_batch_exactly(monkeypatch):
    counts = np.array([[2**24, 0], [1, 0], [1, 0]], "float32")  # by image and class
    overlap = ops.convert_to_tensor(counts)
    monkeypatch.setattr(dice, "_overlap", lambda a, b: (overlap, overlap))
    metric = dice.MeanDice(2)
    metric.update_state(np.zeros((3, 1, 1, 1), int), np.zeros((3, 1, 1, 2), "float32"))
    assert metric.shared.numpy()[0] == metric.total.numpy()[0] == 2**24 + 2


def test_mean_dice_refuses_what_it_cannot_count():
    labels, logits = random_batch(8)
    with pytest.raises(ValueError, match="3 channels, but this metric was made for 2 classes"):
        dice.MeanDice(2).update_state(labels, logits)
    with pytest.raises(ValueError, match="sample_weight is not supported"):
        dice.MeanDice(3).update_state(labels, logits, sample_weight=np.ones(16))


# Files


@pytest.mark.parametrize("thing", [*(loss(name="a") for loss in LOSSES), dice.MeanDice(4, "a")])
def test_config_round_trip(thing):
    again = type(thing).from_config(thing.get_config())
    assert again.get_config() == thing.get_config() and again.name == "a"
    if isinstance(thing, dice.MeanDice):
        assert again.classes == 4
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(thing)))
    assert saved["registered_name"].startswith("unet_pets>")
    assert type(keras.saving.deserialize_keras_object(saved, safe_mode=True)) is type(thing)


@pytest.mark.parametrize("loss", LOSSES)
def test_compiled_model_is_saved_with_loss_and_metric(loss, tmp_path):
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, keras.layers.Conv2D(3, 1)(images))
    model.compile("adam", loss(), metrics=[dice.MeanDice(3)])
    x, (y, _) = np.random.default_rng(0).random((4, 8, 8, 3), "float32"), random_batch(8, batch=4)
    before = model.evaluate(x, y, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(again.loss) is loss
    assert again.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(before)
    assert set(before) == {"loss", "mean_dice"}
