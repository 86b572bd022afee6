"""Scores, augmentation and mask conversion on drawn inputs, against plain NumPy.

Hypothesis draws the inputs, the same ones in every run, and cuts a failing one down to the
smallest that still fails.
"""

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter
from test_label_properties import SHAPES, by_sets, drawn, label_maps, label_pairs, parts

from helpers import data, evaluation
from helpers.albumentations_augmentation import albumentations_augment
from helpers.augmentation import augment

SEEDS = hnp.arrays(np.int64, 2)
AUGMENTATIONS = [augment, albumentations_augment]


# --------------------------------------------------------------------------------------- scores


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
        ids = np.arange(classes)
        absent = ~((truth == ids) | (guess == ids)).any(axis=(1, 2))  # (B, classes)
        found = evaluation.scores(evaluation.confusion_matrix(truth, guess, classes))
        for name in ("dice", "iou"):
            np.testing.assert_array_equal(found[name], np.where(absent.all(axis=0), 1, score))
        assert found["pixel_accuracy"] == score


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
