"""Losses against values worked out by hand, alone and added up, in float16 and in files."""

import json

import backend_checks as example
import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers import dice, losses

LOSSES = {
    **{name: loss for name, (loss, *_) in example.LOSSES.items()},
    "balanced": losses.CrossEntropy(class_weights="balanced"),
    "boundary": losses.BoundaryLoss(),
    "sum": 0.5 * losses.CrossEntropy() + losses.LovaszLoss(),
}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def random_batch(size, channels=3, batch=4):
    """Class ids (B, H, W, 1) and float16 logits."""
    rng = np.random.default_rng(size)
    labels = rng.integers(0, max(channels, 2), (batch, size, size, 1))
    return labels, rng.normal(0, 3, (batch, size, size, channels)).astype("float16")


def row(*probabilities):
    """Logits (1, 1, W, C) of pixels: of their classes, or of one number each, the foreground."""
    values = np.array(probabilities, "float32")
    if values.ndim == 1:
        return np.log(values / (1 - values)).reshape(1, 1, -1, 1)
    return np.log(values)[None, None]


def ids(*values):
    return np.array(values).reshape(1, 1, -1, 1)


# By hand; more examples are in backend_checks.py


@pytest.mark.parametrize("name", example.LOSSES)
def test_by_hand(name):
    loss, soft, binary = example.LOSSES[name]
    assert float(loss(example.SOFT_LABELS, example.LOGITS)) == pytest.approx(soft)
    assert float(loss(example.BINARY_LABELS, example.BINARY_LOGITS)) == pytest.approx(binary)


@pytest.mark.parametrize("width", example.BOUNDARY)
def test_boundary_by_hand(width):
    value = losses.BoundaryLoss(width)(example.EDGE_LABELS, example.EDGE_LOGITS)
    assert float(value) == pytest.approx(example.BOUNDARY[width])


def test_there_is_no_boundary_beside_ignored_pixels():
    # A pixel predicted beside one that is ignored is near nothing: (0 + 1) / (1 + 1) and 1 / 1.
    value = losses.BoundaryLoss(ignore=255)(ids(0, 0, 0, 255), 50 * ids(-1.0, -1, 1, 0))
    assert float(value) == pytest.approx(1 / 3, rel=1e-5)
    # A region that only ignored pixels end has no boundary there either.
    value = losses.BoundaryLoss(ignore=255)(ids(1, 1, 1, 255), 50 * ids(1.0, 1, 1, 0))
    assert float(value) == pytest.approx(0)


def test_class_weights_of_pixels():
    labels, logits = ids(0, 0, 1), row(0.2, 0.4, 0.9)
    entropy = -np.log([0.8, 0.6, 0.9])
    loss = losses.CrossEntropy(class_weights=(1, 3))
    assert float(loss(labels, logits)) == pytest.approx((entropy * [1, 1, 3]).sum() / 5)
    balanced = losses.CrossEntropy(class_weights="balanced")
    assert float(balanced(labels, logits)) == pytest.approx((entropy * [0.5, 0.5, 1]).sum() / 2)
    focal = losses.FocalLoss(gamma=1, class_weights=(0.75, 0.25))
    value = (entropy * [0.2, 0.4, 0.1] * np.array([0.75, 0.75, 0.25])).sum() / 1.75
    assert float(focal(labels, logits)) == pytest.approx(value)
    # Of three classes one is absent: two share.
    logits = row([0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.05, 0.9, 0.05])
    assert float(balanced(labels, logits)) == pytest.approx((entropy * [0.5, 0.5, 1]).sum() / 2)


def test_class_weights_of_regions():
    scores = np.array(example.SOFT[0])
    loss = losses.DiceLoss(class_weights=(1, 3, 0))
    value = float(loss(example.SOFT_LABELS, example.LOGITS))
    assert value == pytest.approx(1 - (scores[0] + 3 * scores[1]) / 4)
    # Class 0 errs by 0.5, class 1 by 0.3, class 2 is absent: see backend_checks.
    loss = losses.LovaszLoss(class_weights=(1, 3, 5))
    value = float(loss(example.SOFT_LABELS, example.LOGITS))
    assert value == pytest.approx((0.5 + 3 * 0.3) / 4)


def test_generalized_dice_weighs_classes_by_their_true_areas():
    # Areas 2 and 1: weights 1/4 and 1. Shared 1.4 and 0.9; in all 3.5 and 2.5.
    labels, logits = ids(0, 0, 1), row([0.8, 0.2], [0.6, 0.4], [0.1, 0.9])
    value = 1 - (2 * (0.35 + 0.9) + 1) / (3.5 / 4 + 2.5 + 1)
    assert float(losses.GeneralizedDiceLoss()(labels, logits)) == pytest.approx(value)
    binary = losses.GeneralizedDiceLoss()(labels, row(0.2, 0.4, 0.9))
    assert float(binary) == pytest.approx(value)
    value = 1 - (2 * (0.35 + 5 * 0.9) + 1) / (3.5 / 4 + 5 * 2.5 + 1)
    loss = losses.GeneralizedDiceLoss(class_weights=(1, 5))
    assert float(loss(labels, logits)) == pytest.approx(value)
    # Areas 2, 4 and 0: weights 1, 1/4 and 1. Each is predicted in 6 / 3 pixels.
    value = 1 - (2 * (2 / 3 + 4 / 3 / 4) + 1) / (4 + 6 / 4 + 2 + 1)
    even = np.zeros((1, 1, 6, 3), "float32")
    labels = ids(0, 0, 1, 1, 1, 1)
    assert float(losses.GeneralizedDiceLoss()(labels, even)) == pytest.approx(value)


def test_alpha_of_tversky_weighs_false_positives_unlike_in_keras():
    one, three = ids(1, 0, 0, 0), ids(1, 1, 1, 0)
    ours, theirs = losses.TverskyLoss(0.2, 0.8), keras.losses.Tversky(0.2, 0.8)
    # Of one pixel three are predicted, so two falsely; then of three one, so two are missed.
    for truth, guess, counted, swapped in ((one, three, 0.4, 1.6), (three, one, 1.6, 0.4)):
        value = float(ours(truth, 100.0 * guess - 50))
        assert value == pytest.approx(1 - 1.5 / (1.5 + counted))
        value = float(theirs(truth.astype("float32"), guess.astype("float32")))
        assert value == pytest.approx(1 - 1 / (1 + swapped))


def lovasz_of_the_paper(errors, truth):
    """Algorithm 1 of the paper for one class, as its authors' code has it."""
    order = np.argsort(-errors, kind="stable")
    sorted_truth = truth[order]
    shared = sorted_truth.sum() - sorted_truth.cumsum()
    union = sorted_truth.sum() + (1 - sorted_truth).cumsum()
    jaccard = 1 - shared / union
    jaccard[1:] -= jaccard[:-1].copy()
    return errors[order] @ jaccard


@pytest.mark.parametrize("channels", [1, 3])
def test_lovasz_is_that_of_the_paper_on_pixels_that_count(channels):
    labels, logits = random_batch(6, channels, batch=1)
    labels[0, 0] = 255
    loss = losses.LovaszLoss(ignore=255)
    kept, truth = logits[labels[..., 0] != 255].astype(float), labels[labels != 255]
    if channels == 1:
        expected = lovasz_of_the_paper(np.maximum(1 - kept[:, 0] * (2 * truth - 1), 0), truth)
    else:
        chances = np.exp(kept) / np.exp(kept).sum(axis=1, keepdims=True)
        fits = np.eye(3)[truth]
        classes = [lovasz_of_the_paper(abs(f - c), f) for f, c in zip(fits.T, chances.T)]
        expected = np.mean(classes)
    assert float(loss(labels, logits)) == pytest.approx(expected, rel=1e-5)


def test_lovasz_of_certain_predictions_is_jaccard_exactly():
    labels = np.random.default_rng(0).integers(0, 3, (1, 9, 9, 1))
    guess = np.random.default_rng(1).integers(0, 3, (1, 9, 9))
    value = float(losses.LovaszLoss()(labels, 100 * np.eye(3)[guess]))
    score = dice.dice_coefficient(labels[..., 0], guess, 3).numpy()
    assert value == pytest.approx(1 - np.mean(score / (2 - score)))


# Pixels and images


@each_loss
@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_left_is_no_loss_and_no_slope(loss, channels):
    labels, logits = random_batch(8, channels)
    value, slope = gradient(loss, labels, logits, np.zeros(labels.shape))
    assert value == pytest.approx(0, abs=1e-5) and np.abs(slope).max() == 0


@each_loss
def test_weights_of_images_multiply_and_those_of_pixels_count(loss):
    labels, logits = random_batch(8)
    loss = type(loss).from_config(loss.get_config())
    alone = np.array([float(loss(labels[i : i + 1], logits[i : i + 1])) for i in range(4)])
    assert float(loss(labels, logits)) == pytest.approx(alone.mean())
    value = float(loss(labels, logits, np.array([0, 1, 2, 0.5])))
    assert value == pytest.approx((alone * [0, 1, 2, 0.5]).mean())
    loss.reduction = None
    assert np.allclose(loss(labels, logits), alone)
    pixels = np.ones(labels.shape)
    pixels[0] = 0
    by_pixel = loss(labels, logits, pixels)  # the reduction holds for these too
    assert np.allclose(by_pixel, [0, *alone[1:]], atol=1e-5)


@pytest.mark.parametrize("name", ["cross-entropy", "Dice", "Jaccard", "Tversky", "Lovasz"])
def test_a_pixel_of_weight_2_is_two_pixels(name):
    labels, logits = random_batch(6)
    weights = np.ones(labels.shape)
    weights[:, :, :2] = 2
    twice = [np.concatenate([part, part[:, :, :2]], axis=2) for part in (labels, logits)]
    value = float(LOSSES[name](labels, logits, weights))
    assert value == pytest.approx(float(LOSSES[name](*twice)), rel=1e-5)


# Sums


def test_a_sum_is_the_sum():
    batch = random_batch(16)
    entropy, region, lovasz = losses.CrossEntropy(), losses.DiceLoss(), losses.LovaszLoss()
    total = 2 * (0.5 * entropy + region) + lovasz * 3
    parts = [float(loss(*batch)) for loss in (entropy, region, lovasz)]
    assert float(total(*batch)) == pytest.approx(np.dot(parts, [1, 2, 3]), rel=1e-6)
    both = losses.CrossEntropyDiceLoss()
    assert float(both(*batch)) == float((entropy + region)(*batch))


def test_what_cannot_be_added():
    with pytest.raises(TypeError, match="unsupported operand"):
        losses.DiceLoss() + keras.losses.MeanSquaredError()
    with pytest.raises(ValueError, match="factor is -1.0"):
        -1 * losses.DiceLoss()
    with pytest.raises(ValueError, match="reductions .*the same of all"):
        losses.DiceLoss(reduction="sum") + losses.CrossEntropy()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: losses.CrossEntropy(label_smoothing=1), "label_smoothing=1"),
        (lambda: losses.CrossEntropy(class_weights=(1, -1)), "class_weights is -1"),
        (lambda: losses.CrossEntropy(class_weights=(0, 0)), "class_weights is 0.*above 0"),
        (lambda: losses.DiceLoss(class_weights="balanced"), "for losses of pixels"),
        (lambda: losses.FocalLoss(gamma=-1), "gamma is -1"),
        (lambda: losses.TverskyLoss(beta=float("nan")), "beta is nan"),
        (lambda: losses.FocalTverskyLoss(gamma=0), "gamma is 0: expected a number above 0"),
        (lambda: losses.BoundaryLoss(width=1.5), "width=1.5"),
    ],
)
def test_wrong_settings_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", [losses.CrossEntropy, losses.DiceLoss, losses.LovaszLoss])
def test_class_weights_of_another_number_raise(kind):
    with pytest.raises(ValueError, match="expected one number a class, 3"):
        kind(class_weights=(1, 2))(*random_batch(4))


# Precision and slopes


@each_loss
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_float16_logits_give_what_float32_ones_give(loss, channels, policy):
    labels, half = random_batch(256, channels, batch=2)  # 65,536 pixels: too many for float16
    exact = float(loss(labels, half.astype("float32")))
    keras.config.set_dtype_policy(policy)
    try:
        again = type(loss).from_config(loss.get_config())  # made under the policy
        assert np.isfinite(exact) and float(again(labels, half)) == exact
    finally:
        keras.config.set_dtype_policy("float32")


def gradient(loss, labels, logits, weights=None):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(labels, logits, weights)
    return float(value), tape.gradient(value, logits).numpy()


@each_loss
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("height", [0.0, 5.0, 6e4])
def test_loss_and_gradient_are_finite(loss, channels, height):
    # The first image lacks every class but 0; wrong and right pixels alike, up to float16's end.
    labels = np.zeros((2, 8, 8, 1), int)
    labels[1, :4] = channels - 1 or 1
    signs = np.random.default_rng(0).choice([-1, 1], (2, 8, 8, channels))
    value, slope = gradient(loss, labels, (height * signs).astype("float16"))
    assert np.isfinite(value) and np.isfinite(slope).all()
    if height == 5:
        assert np.abs(slope[0]).max() > 0  # an image that lacks a class teaches all the same


@each_loss
def test_gradient_points_towards_the_truth(loss):
    labels = np.zeros((1, 8, 8, 1), int)
    labels[:, 2:5], labels[:, 5:] = 1, 2
    _, slope = gradient(loss, labels, np.eye(3, dtype="float32")[labels[..., 0]] / 9)
    towards = (slope * np.eye(3)[labels[..., 0]]).sum()
    assert towards < 0 < (slope * (1 - np.eye(3)[labels[..., 0]])).sum()


# Files


@each_loss
def test_config_round_trip(loss):
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    assert saved["registered_name"].startswith("unet_pets>")
    again = keras.saving.deserialize_keras_object(saved, safe_mode=True)
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    batch = random_batch(8)
    assert float(again(*batch)) == float(loss(*batch))


def test_a_loaded_loss_still_ignores_and_weighs():
    kinds = (
        losses.CrossEntropyDiceLoss(ignore=2),
        losses.DiceLoss(ignore=2, class_weights=(1, 2, 0)),
    )
    for loss in kinds:
        again = keras.losses.deserialize(keras.losses.serialize(loss))
        assert float(again(*random_batch(8))) == float(loss(*random_batch(8)))


def test_two_losses_alike_have_the_same_config():
    assert losses.DiceLoss().get_config() == losses.DiceLoss().get_config()
    assert losses.CrossEntropyDiceLoss().name == "cross_entropy_dice_loss"


@each_loss
def test_a_compiled_model_is_saved_with_loss_and_metric(loss, tmp_path):
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, keras.layers.Conv2D(3, 1)(images))
    model.compile("sgd", loss, metrics=[dice.MeanDice(3)])
    x, (y, _) = np.random.default_rng(0).random((4, 8, 8, 3), "float32"), random_batch(8)
    before = model.evaluate(x, y, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(again.loss) is type(loss)
    assert again.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(before)
    assert set(before) == {"loss", "mean_dice"}
