"""Labels, Dice and losses on inputs that Hypothesis draws, against plain NumPy.

Hypothesis draws the same inputs in every run, and cuts a failing one down to the smallest that
still fails.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit

from helpers import dice, losses

drawn = settings(deadline=None, derandomize=True, database=None, max_examples=50)
drawn_a_little = settings(drawn, max_examples=15)  # of each loss

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))  # B, H, W
HALVES = st.floats(-65504, 65504, width=16)  # all that are finite

LOSSES = {
    "cross-entropy": losses.CrossEntropy(),
    "smooth": losses.CrossEntropy(label_smoothing=0.2),
    "balanced": losses.CrossEntropy(class_weights="balanced"),
    "focal": losses.FocalLoss(),
    "Dice": losses.DiceLoss(),
    "Jaccard": losses.JaccardLoss(),
    "Tversky": losses.TverskyLoss(),
    "focal Tversky": losses.FocalTverskyLoss(),
    "generalized Dice": losses.GeneralizedDiceLoss(),
    "Lovasz": losses.LovaszLoss(),
    "boundary": losses.BoundaryLoss(),
    "both": losses.CrossEntropyDiceLoss(),
}
each_loss = pytest.mark.parametrize("name", LOSSES)


def by_image(name, labels, logits, weights=None, **options):
    """The loss of each image, (B,)."""
    config = {**LOSSES[name].get_config(), "reduction": None, **options}
    return np.array(type(LOSSES[name]).from_config(config)(labels, logits, weights))


# ------------------------------------------------------------------------------ what is drawn


def label_maps(shape, classes):
    return hnp.arrays(np.uint8, (*shape, 1), elements=st.integers(0, classes - 1))


@st.composite
def label_pairs(draw):
    """A number of classes, and two label maps (B, H, W, 1)."""
    classes, shape = draw(st.integers(2, 4)), draw(SHAPES)
    return classes, draw(label_maps(shape, classes)), draw(label_maps(shape, classes))


@st.composite
def label_maps_and_logits(draw, channels):
    """Truth (B, H, W, 1) and float16 logits (B, H, W, channels), 1 (binary) or 3."""
    shape = draw(SHAPES)
    logits = draw(hnp.arrays(np.float16, (*shape, channels), elements=HALVES))
    # + 0: Keras's argmax puts -0.0 below 0.0, NumPy's does not.
    return draw(label_maps(shape, max(2, channels))), logits + np.float16(0)


CALM = st.floats(-8, 8, width=16)  # where float32 tells a probability from 0 and 1


@st.composite
def calm_cases(draw, classes=(1, 3)):
    """As label_maps_and_logits, with moderate logits, and (B, H, W, 1) bool: what counts."""
    channels, shape = draw(st.sampled_from(classes)), draw(SHAPES)
    logits = draw(hnp.arrays(np.float16, (*shape, channels), elements=CALM))
    kept = draw(hnp.arrays(bool, (*shape, 1)))
    return draw(label_maps(shape, max(2, channels))), logits, kept


def parts(draw, *batches):
    """The same batches, cut in two at a place of its own choice."""
    cut = draw.draw(st.integers(1, len(batches[0])))
    return [part for part in zip(*((b[:cut], b[cut:]) for b in batches)) if len(part[0])]


# ----------------------------------------------------------------------------- what is expected


def by_sets(truth, guess, classes):
    """Dice and IoU, (classes,) each, from the sets of pixels."""
    found = []
    for number in range(classes):
        a, b = truth == number, guess == number
        both, either = (a & b).sum(), (a | b).sum()
        found.append((2 * both / (both + either), both / either) if either else (1.0, 1.0))
    return np.transpose(found)


def truth_and_probabilities(labels, logits):
    """(B, H, W, C) float64 each: what the soft scores compare."""
    logits = logits.astype(np.float64)
    if logits.shape[-1] == 1:
        return labels.astype(np.float64), expit(logits)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.eye(3)[labels[..., 0]], powers / powers.sum(axis=-1, keepdims=True)


def soft_dice(labels, logits):
    truth, chances = truth_and_probabilities(labels, logits)
    pixels = (1, 2)
    total = truth.sum(axis=pixels) + chances.sum(axis=pixels)
    return (2 * (truth * chances).sum(axis=pixels) + 1) / (total + 1)


def cross_entropy(labels, logits):
    logits = logits.astype(np.float64)
    if logits.shape[-1] == 1:
        wrong = np.where(labels == 1, -logits, logits)[..., 0]
        return np.logaddexp(0, wrong).mean(axis=(1, 2))
    right = np.take_along_axis(logits, labels.astype(int), -1)[..., 0]
    return (np.logaddexp.reduce(logits, axis=-1) - right).mean(axis=(1, 2))


# ------------------------------------------------------------------------------------------ Dice


@drawn
@given(label_pairs(), st.data())
def test_hard_dice(pair, draw):
    classes, truth, guess = pair
    values = np.array(dice.dice_coefficient(truth, guess, classes))
    expected = [by_sets(*one, classes)[0] for one in zip(truth, guess)]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert values.min() >= 0 and values.max() <= 1
    np.testing.assert_array_equal(values, dice.dice_coefficient(guess, truth, classes))
    split = [dice.dice_coefficient(*part, classes) for part in parts(draw, truth, guess)]
    np.testing.assert_array_equal(values, np.concatenate(split))


@drawn
@given(label_pairs())
def test_the_same_mask_scores_1_and_a_disjoint_one_0(pair):
    classes, truth, _ = pair
    for guess, score in ((truth, 1), ((truth + 1) % classes, 0)):
        values = np.array(dice.dice_coefficient(truth, guess, classes))
        ids = np.arange(classes)
        absent = ~((truth == ids) | (guess == ids)).any(axis=(1, 2))  # (B, classes)
        np.testing.assert_array_equal(values, np.where(absent, 1, score))


@drawn
@given(st.sampled_from([1, 3]).flatmap(label_maps_and_logits), st.data())
def test_soft_dice_and_cross_entropy(case, draw):
    labels, logits = case
    values = np.array(dice.soft_dice(labels, logits))
    assert values.min() > 0 and values.max() <= 1
    expected, entropy = soft_dice(labels, logits), cross_entropy(labels, logits)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    split = [dice.soft_dice(*part) for part in parts(draw, labels, logits)]
    np.testing.assert_allclose(values, np.concatenate(split), rtol=1e-6)
    for name, images in (
        ("cross-entropy", entropy),
        ("Dice", 1 - expected.mean(axis=-1)),
        ("both", 1 - expected.mean(axis=-1) + entropy),
    ):
        np.testing.assert_allclose(by_image(name, *case), images, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------------------- losses

BOUNDED = set(LOSSES) - {"cross-entropy", "smooth", "balanced", "focal", "both"}


@each_loss
@drawn_a_little
@given(case=st.sampled_from([1, 3]).flatmap(label_maps_and_logits), draw=st.data())
def test_a_loss_is_that_of_each_image_and_within_its_bounds(name, case, draw):
    labels, logits = case
    values = by_image(name, labels, logits)
    assert values.shape == labels.shape[:1] and values.dtype == np.float32
    assert np.isfinite(values).all() and values.min() > -1e-6
    if name in BOUNDED and (name != "Lovasz" or logits.shape[-1] > 1):
        assert values.max() < 1 + 1e-6
    order = draw.draw(st.permutations(range(len(labels))))
    again = by_image(name, labels[order], logits[order])
    np.testing.assert_allclose(again, values[order], rtol=1e-5, atol=1e-6)
    split = [by_image(name, *part) for part in parts(draw, labels, logits)]
    np.testing.assert_allclose(np.concatenate(split), values, rtol=1e-5, atol=1e-6)


@each_loss
@drawn_a_little
@given(classes=st.sampled_from([1, 3]), shape=SHAPES, draw=st.data())
def test_a_perfect_prediction_has_no_loss(name, classes, shape, draw):
    labels = draw.draw(label_maps(shape, max(2, classes)))
    onehot = np.eye(3)[labels[..., 0]] if classes == 3 else labels
    perfect = (100.0 * onehot - 50).astype(np.float32)
    if name != "smooth":
        np.testing.assert_allclose(by_image(name, labels, perfect), 0, atol=1e-4)
    worse = by_image(name, labels, -perfect)
    assert (worse > (0.2 if name != "boundary" else -1e-6)).all()


@each_loss
@drawn_a_little
@given(case=calm_cases(), void=st.sampled_from([-1, 0, 2, 255]))
def test_what_is_ignored_counts_for_nothing(name, case, void):
    labels, logits, kept = case
    kept = kept & (labels != void)
    ignored = np.where(kept, labels.astype(int), void)
    value = by_image(name, ignored, logits, ignore=void)
    other = np.where(kept, logits, 3 - logits)
    np.testing.assert_array_equal(value, by_image(name, ignored, other, ignore=void))
    weighted = by_image(name, labels, logits, kept.astype(np.float32))
    np.testing.assert_allclose(value, weighted, rtol=1e-5, atol=1e-6)
    weights = np.resize([0.5, 0, 2], labels.shape)
    both = by_image(name, ignored, logits, weights, ignore=void)
    weighted = by_image(name, labels, logits, kept * weights)
    np.testing.assert_allclose(both, weighted, rtol=1e-5, atol=1e-6)
    if name == "boundary":  # which needs to know where pixels lie
        return
    for image, pixels in enumerate(kept[..., 0]):
        if pixels.any():
            left = (part[image][pixels][None, None] for part in (labels, logits))
            alone = by_image(name, *left)
            np.testing.assert_allclose(value[image], alone[0], rtol=1e-4, atol=1e-5)


@drawn
@given(st.sampled_from([1, 3]).flatmap(label_maps_and_logits))
def test_tversky_is_dice_and_jaccard(case):
    for kind, factor in ((losses.DiceLoss, 0.5), (losses.JaccardLoss, 1)):
        same = losses.TverskyLoss(factor, factor, reduction=None)(*case)
        np.testing.assert_allclose(same, kind(reduction=None)(*case), rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------------- wrong inputs


@st.composite
def wrong_cases(draw):
    """Labels, logits and weights of which one is out of range, by image."""
    labels, logits, _ = draw(calm_cases())
    classes = max(2, logits.shape[-1])
    labels, logits = labels.astype(np.float32), logits.astype(np.float32)
    weights = np.ones(labels.shape, np.float32)
    place = tuple(draw(st.integers(0, size - 1)) for size in labels.shape)
    if draw(st.booleans()):
        labels[place] = draw(
            st.sampled_from([-1, classes, 0.01, 0.5, 255, 2**31, np.nan, np.inf, -np.inf])
        )
    else:
        weights[place] = draw(st.sampled_from([-1, -np.inf, np.inf, np.nan]))
    return place[0], labels, logits, weights


def compiled(function, channels):
    """A graph of labels, logits and weights of whatever size."""
    sizes = [tf.TensorSpec((None, None, None, size), tf.float32) for size in (1, channels, 1)]
    return tf.function(function, input_signature=sizes)


@functools.cache
def compiled_loss(name, channels):
    config = {**LOSSES[name].get_config(), "reduction": None}
    return compiled(type(LOSSES[name]).from_config(config), channels)


@functools.cache
def compiled_metric(channels):
    metric = dice.MeanDice(channels)
    return metric, compiled(metric.update_state, channels)


@each_loss
@drawn_a_little
@given(case=wrong_cases())
def test_a_wrong_label_or_weight_never_yields_a_number(name, case):
    image, labels, logits, weights = case
    with pytest.raises(ValueError, match="y_true holds|sample_weight holds"):
        by_image(name, labels, logits, weights)
    values = compiled_loss(name, logits.shape[-1])(labels, logits, weights)
    assert np.isnan(values).tolist() == [number == image for number in range(len(labels))]


@drawn
@given(wrong_cases())
def test_nor_does_it_in_a_measure(case):
    _, *batch = case
    channels = batch[1].shape[-1]
    for function in (dice.soft_dice, dice.MeanDice(channels)):
        with pytest.raises(ValueError, match="y_true holds|sample_weight holds"):
            function(*batch)
    metric, update = compiled_metric(channels)
    metric.reset_state()
    update(*batch)
    assert np.isnan(metric.result())


@st.composite
def wrong_shapes(draw):
    """Labels, logits and weights of which one has another shape."""
    labels, logits, kept = draw(calm_cases())
    batch = [labels, logits, kept.astype(np.float32)]
    which, axis = draw(st.integers(0, 2)), draw(st.integers(0, 3))
    part = batch[which]
    change = draw(st.sampled_from(["drop", "repeat"]))
    if change == "drop":
        batch[which] = part[(slice(None),) * axis + (0,)]
    else:
        batch[which] = np.repeat(part, 2, axis=axis)
    fits = which == 1 and axis == 3 and change == "repeat"  # more classes are no fault of shape
    return None if fits else batch


@each_loss
@drawn_a_little
@given(batch=wrong_shapes().filter(bool))
def test_a_wrong_shape_never_yields_a_number(name, batch):
    for function in (LOSSES[name], dice.soft_dice, dice.MeanDice(3)):
        with pytest.raises(ValueError):
            function(*batch)


# ---------------------------------------------------------------------------------------- metric


def pooled(metric, batches):
    """The metric over all batches, twice: nothing may stay from before a reset."""
    values = []
    for _ in range(2):
        for labels, logits, *weights in batches:
            metric.update_state(labels, logits, *weights)
        values.append(float(metric.result()))
        metric.reset_state()
    assert values[0] == values[1]
    return values[0]


@drawn
@given(label_maps_and_logits(3), st.data())
def test_mean_dice_pools_over_batches(case, draw):
    labels, logits = case
    expected = by_sets(labels[..., 0], logits.argmax(axis=-1), 3)[0].mean()
    value = pooled(dice.MeanDice(3), parts(draw, labels, logits))
    assert value == pytest.approx(expected, rel=1e-6)


@drawn
@given(label_maps_and_logits(1), st.floats(0.01, 0.99), st.data())
def test_binary_dice_pools_over_batches_what_is_not_left_out(case, threshold, draw):
    labels, logits = case
    weights = draw.draw(label_maps(labels.shape[:3], 2))
    kept = weights == 1
    guess = logits.astype(np.float64) > dice.logit(threshold)
    expected = by_sets(labels[kept], guess[kept], 2)[0][1]
    value = pooled(dice.BinaryDice(threshold), parts(draw, labels, logits, weights))
    assert value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_float16_of_64_images_of_512_pixels(channels):
    """The largest batch: 16.8 million pixels, of which float16 counts 65,504. Each image is the
    same one, so that the reference needs a single one."""
    rng = np.random.default_rng(channels)
    labels = rng.integers(0, max(2, channels), (1, 512, 512, 1), np.uint8)
    logits = rng.normal(0, 3, (1, 512, 512, channels)).astype(np.float16)
    scores, entropy = soft_dice(labels, logits), cross_entropy(labels, logits)
    if channels == 1:
        metric, guess = dice.BinaryDice(), (logits > 0).astype(np.uint8)
    else:
        metric, guess = dice.MeanDice(3), logits.argmax(axis=-1)[..., None].astype(np.uint8)
    hard = by_sets(labels, guess, max(2, channels))[0]
    labels, logits, guess = (np.repeat(one, 64, axis=0) for one in (labels, logits, guess))
    np.testing.assert_allclose(dice.soft_dice(labels, logits), np.repeat(scores, 64, 0), rtol=1e-4)
    np.testing.assert_allclose(
        losses.CrossEntropy(reduction=None)(labels, logits), np.repeat(entropy, 64), rtol=1e-4
    )
    metric.update_state(labels, logits)
    assert float(metric.result()) == pytest.approx(hard[1] if channels == 1 else hard.mean())
    found = dice.dice_coefficient(labels, guess, max(2, channels))
    np.testing.assert_allclose(found, np.repeat(hard[None], 64, 0), rtol=1e-6)
