"""Dice, IoU, augmentation and mask conversion on drawn inputs, against plain NumPy.

Hypothesis draws the inputs, the same ones in every run, and cuts a failing one down to the
smallest that still fails.
"""

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from helpers import data, dice, evaluation
from helpers.albumentations_augmentation import albumentations_augment
from helpers.augmentation import augment

drawn = settings(deadline=None, derandomize=True, database=None, max_examples=50)

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))  # B, H, W
HALVES = st.floats(width=16, allow_nan=False, allow_infinity=False)  # up to 65,504
SEEDS = hnp.arrays(np.int64, 2)
AUGMENTATIONS = [augment, albumentations_augment]


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
        return labels.astype(np.float64), 1 / (1 + np.exp(-logits))
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


# ---------------------------------------------------------------------------------- Dice and IoU


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
@given(label_pairs(), st.data())
def test_scores_of_a_confusion_matrix(pair, draw):
    classes, truth, guess = pair
    matrix = evaluation.confusion_matrix(truth, guess, classes)
    found = evaluation.scores(matrix)
    expected = by_sets(truth, guess, classes)
    np.testing.assert_allclose([found["dice"], found["iou"]], expected, rtol=1e-12)
    assert found["mean_dice"] == pytest.approx(expected[0].mean())
    assert found["mean_iou"] == pytest.approx(expected[1].mean())
    assert found["pixel_accuracy"] == pytest.approx((truth == guess).mean())
    assert 0 <= min(found["iou"]) and max(found["dice"]) <= 1
    np.testing.assert_array_equal(matrix.T, evaluation.confusion_matrix(guess, truth, classes))
    for name, value in evaluation.scores(matrix.T).items():
        assert value == pytest.approx(found[name])
    split = parts(draw, truth, guess)
    np.testing.assert_array_equal(
        matrix, sum(evaluation.confusion_matrix(*part, classes) for part in split)
    )


@drawn
@given(label_pairs())
def test_the_same_mask_scores_1_and_a_disjoint_one_0(pair):
    classes, truth, _ = pair
    for guess, score in ((truth, 1), ((truth + 1) % classes, 0)):
        values = np.array(dice.dice_coefficient(truth, guess, classes))
        ids = np.arange(classes)
        absent = ~((truth == ids) | (guess == ids)).any(axis=(1, 2))  # (B, classes)
        np.testing.assert_array_equal(values, np.where(absent, 1, score))
        found = evaluation.scores(evaluation.confusion_matrix(truth, guess, classes))
        for name in ("dice", "iou"):
            np.testing.assert_array_equal(found[name], np.where(absent.all(axis=0), 1, score))
        assert found["pixel_accuracy"] == score


@drawn
@given(st.sampled_from([1, 3]).flatmap(label_maps_and_logits), st.data())
def test_soft_dice_and_losses(case, draw):
    labels, logits = case
    values = np.array(dice.soft_dice(labels, logits))
    assert values.min() > 0 and values.max() <= 1
    expected, entropy = soft_dice(labels, logits), cross_entropy(labels, logits)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    np.testing.assert_allclose(dice.cross_entropy(labels, logits), entropy, rtol=1e-5, atol=1e-6)
    split = parts(draw, labels, logits)
    by_part = [dice.soft_dice(*part) for part in split]
    np.testing.assert_allclose(values, np.concatenate(by_part), rtol=1e-6)
    for loss, images in (
        (dice.DiceLoss, 1 - expected.mean(axis=-1)),
        (dice.CrossEntropyDiceLoss, 1 - expected.mean(axis=-1) + entropy),
    ):
        np.testing.assert_allclose(float(loss()(*case)), images.mean(), rtol=1e-5, atol=1e-6)
        by_part = [loss(reduction=None)(*part) for part in split]
        np.testing.assert_allclose(np.concatenate(by_part), images, rtol=1e-5, atol=1e-6)


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
        dice.cross_entropy(labels, logits), np.repeat(entropy, 64), rtol=1e-4
    )
    metric.update_state(labels, logits)
    assert float(metric.result()) == pytest.approx(hard[1] if channels == 1 else hard.mean())
    found = dice.dice_coefficient(labels, guess, max(2, channels))
    np.testing.assert_allclose(found, np.repeat(hard[None], 64, 0), rtol=1e-6)


# ------------------------------------------------------------------------------ mask conversion


@drawn
@given(SHAPES.flatmap(lambda shape: label_maps(shape, 3)), st.data())
def test_to_binary(masks, draw):
    for border in data.BORDER_RULES:
        targets, weights = (part.numpy() for part in data.to_binary(masks, border))
        assert targets.dtype == np.uint8 and weights.dtype == np.float32
        np.testing.assert_array_equal(
            targets, (masks == 0) | (masks == 2) if border == "pet" else masks == 0
        )
        np.testing.assert_array_equal(weights, (masks != 2) if border == "ignore" else 1)
        split = [data.to_binary(*part, border) for part in parts(draw, masks)]
        for whole, pieces in zip((targets, weights), zip(*split)):
            np.testing.assert_array_equal(whole, np.concatenate(pieces))


@drawn
@given(label_pairs(), st.sampled_from(data.BORDER_RULES))
def test_binary_scores_count_what_to_binary_gives(pair, border):
    _, masks, guess = pair
    masks, pet = masks % 3, guess % 2
    matrices = np.stack(
        [evaluation.confusion_matrix(m, 1 - p, 3)[:, :2] for m, p in zip(masks, pet)]
    )
    found = evaluation.binary_scores(matrices, border)
    targets, weights = (part.numpy() for part in data.to_binary(masks, border))
    kept = weights > 0
    expected = by_sets(targets[kept], pet[kept], 2)[:, 1]
    np.testing.assert_allclose([found["dice"], found["iou"]], expected, rtol=1e-12)
    right = (targets == pet)[kept]
    assert found["pixel_accuracy"] == pytest.approx(right.mean() if right.size else 1)
    each = [by_sets(t[k], p[k], 2)[:, 1] for t, p, k in zip(targets, pet, kept)]
    np.testing.assert_allclose(
        [found["dice_per_image"], found["iou_per_image"]], np.mean(each, axis=0), rtol=1e-12
    )


def encoded(array, form):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form)
    return buffer.getvalue()


@drawn
@given(
    hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 20)] * 2), elements=st.integers(1, 3)),
    st.integers(1, 24),
)
def test_a_stored_mask_becomes_class_ids_of_the_nearest_pixels(stored, size):
    png = encoded(stored, "PNG")
    np.testing.assert_array_equal(data.decode_own_mask(png), stored - 1)
    photo = encoded(np.zeros((*stored.shape, 3), np.uint8), "JPEG")
    mask = data.decode({"image": photo, "segmentation_mask": png, "file_name": ""}, size)[1]
    assert mask.shape == (size, size, 1) and mask.dtype == tf.uint8
    places = [(np.arange(size) + 0.5) * side / size for side in stored.shape]
    nearest = [  # twice, as a place halfway between two pixels has two nearest ones
        [np.floor(place + tiny).astype(int).clip(0) for place in places] for tiny in (-1e-4, 1e-4)
    ]
    possible = [
        stored[rows[0]][:, rows[1]] - 1
        for rows in ((nearest[i][0], nearest[j][1]) for i in range(2) for j in range(2))
    ]
    assert np.any(np.array(possible) == mask.numpy()[..., 0], axis=0).all()


# ---------------------------------------------------------------------------------- augmentation


@st.composite
def pictures(draw):
    """Noisy images (B, H, W, 3) and masks (B, H, W, 1), whose values differ from one to the
    next."""
    shape, rng = (
        draw(st.tuples(st.integers(1, 3), *[st.integers(1, 40)] * 2)),
        draw(st.integers(0)),
    )
    rng = np.random.default_rng(rng)
    values = rng.integers(0, 256, (shape[0], 3), np.uint8)
    masks = np.stack([rng.choice(own, (*shape[1:], 1)) for own in values])
    return rng.integers(0, 256, (*shape, 3), np.uint8), masks


@pytest.mark.parametrize("function", AUGMENTATIONS)
@drawn
@given(pictures(), SEEDS)
def test_augmentation_keeps_the_form_and_adds_no_mask_value(function, batch, seed):
    images, masks = (part.numpy() for part in function(*batch, seed))
    for before, after in zip(batch, (images, masks)):
        assert after.shape == before.shape and after.dtype == np.uint8
    for before, after in zip(batch[1], masks):
        assert set(np.unique(after)) <= set(np.unique(before))
    for first, second in zip((images, masks), function(*batch, seed)):
        np.testing.assert_array_equal(first, second)


GREYS = np.array([40, 120, 200], np.uint8)  # in which an image shows each class


def blobs():
    """Masks (8, 48, 64, 1) with large blobs of three classes."""
    noise = np.random.default_rng(0).normal(size=(8, 48, 64))
    smooth = np.stack([gaussian_filter(one, 8) for one in noise])
    thresholds = np.quantile(smooth, [1 / 3, 2 / 3], axis=(1, 2))[..., None, None]
    return (smooth > thresholds).sum(0).astype(np.uint8)[..., None]


BLOBS = blobs()


@pytest.mark.parametrize("function", AUGMENTATIONS)
@drawn
@given(SEEDS)
def test_image_and_mask_move_together(function, seed):
    images, masks = function(np.repeat(GREYS[BLOBS], 3, axis=-1), BLOBS, seed)
    for image, mask in zip(images.numpy().mean(axis=-1), masks.numpy()[..., 0]):
        inside = maximum_filter(mask, 5) == minimum_filter(mask, 5)
        there = np.unique(mask[inside])
        greys = [np.median(image[inside & (mask == number)]) for number in there]
        assert sorted(greys) == greys and inside.mean() > 0.3
        # What class the image's grey says; noise may mislead it here and there.
        seen = there[np.abs(image[..., None] - greys).argmin(axis=-1)]
        assert (seen == mask)[inside].mean() > 0.99
