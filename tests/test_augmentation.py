"""Augmentation: image and mask move together, masks gain no value, seeds decide everything."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from helpers import augmentation
from helpers.augmentation import augment, change_colours, random_transforms, warp

HEIGHT, WIDTH, COUNT = 48, 80, 16
LEVELS = np.array([40, 120, 200], np.uint8)  # the grey in which an image shows each class
SEEDS = [(number, 7) for number in range(10)]


def blobs():
    """Masks (COUNT, HEIGHT, WIDTH, 1) with large blobs of the classes 0, 1 and 2."""
    noise = np.random.default_rng(0).normal(size=(COUNT, HEIGHT, WIDTH))
    smooth = np.stack([gaussian_filter(one, 8) for one in noise])
    thresholds = np.quantile(smooth, [1 / 3, 2 / 3], axis=(1, 2))[..., None, None]
    return (smooth > thresholds).sum(0).astype(np.uint8)[..., None]


MASKS = blobs()
IMAGES = np.repeat(LEVELS[MASKS], 3, axis=-1)
NOISE = np.random.default_rng(1).integers(0, 256, IMAGES.shape, np.uint8)


def inside(masks):
    """True (B, H, W) where all pixels around are of the same class."""
    size = (1, 5, 5)
    filters = (maximum_filter, 255), (minimum_filter, 0)
    high, low = (f(masks[..., 0], size, mode="constant", cval=c) for f, c in filters)
    return high == low


def matrices(count):
    """Random transforms as matrices (count, 2, 3): the linear part, and the offset last."""
    return random_transforms(count, HEIGHT, WIDTH, (3, 4)).numpy()[:, :6].reshape(-1, 2, 3)


@pytest.fixture
def no_colours(monkeypatch):
    monkeypatch.setattr(augmentation, "BRIGHTNESS", 0.0)
    monkeypatch.setattr(augmentation, "CONTRAST", (1.0, 1.0))
    monkeypatch.setattr(augmentation, "SATURATION", (1.0, 1.0))


@pytest.fixture(scope="module")
def transforms():
    return matrices(4000)


# ---------------------------------------------------------------------------- image and mask


@pytest.mark.parametrize("seed", SEEDS)
def test_image_and_mask_are_warped_alike(seed):
    moves = random_transforms(COUNT, HEIGHT, WIDTH, seed)
    images = warp(IMAGES.astype(np.float32), moves, "BILINEAR").numpy()[..., 0]
    masks = warp(MASKS, moves, "NEAREST").numpy()
    where = inside(masks)
    assert where.mean() > 0.5
    np.testing.assert_allclose(images[where], LEVELS[masks[..., 0]][where], atol=0.01)


@pytest.mark.parametrize("seed", SEEDS)
def test_image_and_mask_stay_in_step_through_augment(seed, no_colours):
    images, masks = (part.numpy() for part in augment(IMAGES, MASKS, seed))
    where = inside(masks)
    assert where.mean() > 0.5
    np.testing.assert_array_equal(images[where][..., 0], LEVELS[masks[..., 0]][where])


@pytest.mark.parametrize("seed", SEEDS)
def test_colour_changes_keep_the_classes_in_order_of_their_grey(seed):
    images, masks = (part.numpy() for part in augment(IMAGES, MASKS, seed))
    where = inside(masks)
    assert where.mean() > 0.5
    for image, mask, well_inside in zip(images, masks[..., 0], where, strict=True):
        dark, middle, bright = (image[well_inside & (mask == c)] for c in range(3))
        assert dark.max(initial=0) < middle.min(initial=255)
        assert middle.max(initial=0) < bright.min(initial=255)


def test_what_lies_outside_is_filled_from_the_image(monkeypatch, no_colours):
    monkeypatch.setattr(augmentation, "SCALE", (1.1, 1.1))
    images, masks = np.full_like(IMAGES, 90), np.full_like(MASKS, 2)
    images, masks = augment(images, masks, (1, 2))
    assert np.all(images == 90) and np.all(masks == 2)


def test_colours_are_clipped_and_do_not_wrap_around(monkeypatch):
    monkeypatch.setattr(augmentation, "BRIGHTNESS", 0.9)
    plain = np.concatenate([np.full_like(IMAGES[:8], 250), np.full_like(IMAGES[:8], 5)])
    images = augment(plain, MASKS, (1, 2))[0].numpy()
    colour_seed = tf.random.split((1, 2), 2)[1]
    exact = change_colours(plain.astype(np.float32), colour_seed).numpy()
    assert exact.min() < 0 and exact.max() > 255
    np.testing.assert_allclose(images, exact.clip(0, 255), atol=0.51)


# -------------------------------------------------------------------------------------- seeds


def test_the_seed_decides_the_result():
    first, again, other = (augment(NOISE, MASKS, (seed, 0)) for seed in (1, 1, 2))
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        changed = (one.numpy() != different.numpy()).any(axis=(1, 2, 3))
        assert changed.all()


def test_examples_of_a_batch_get_different_views():
    images, masks = (np.repeat(part[:1], COUNT, 0) for part in (NOISE, MASKS))
    images, masks = (part.numpy() for part in augment(images, masks, (1, 2)))
    assert len(np.unique(images, axis=0)) == len(np.unique(masks, axis=0)) == COUNT


def test_colours_differ_within_a_batch():
    images = np.repeat(NOISE[:1].astype(np.float32), COUNT, 0)
    assert len(np.unique(change_colours(images, (1, 2)).numpy(), axis=0)) == COUNT


# ------------------------------------------------------------------------------------ colours


def test_colours_leave_the_masks_alone(no_colours, monkeypatch):
    plain_images, plain_masks = augment(NOISE, MASKS, (1, 2))
    monkeypatch.undo()
    images, masks = augment(NOISE, MASKS, (1, 2))
    np.testing.assert_array_equal(masks, plain_masks)
    assert (images.numpy() != plain_images.numpy()).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("name", ["BRIGHTNESS", "CONTRAST", "SATURATION"])
def test_each_colour_change_does_what_it_is_called(name, no_colours, monkeypatch):
    value = 0.15 if name == "BRIGHTNESS" else (0.5, 0.5)
    monkeypatch.setattr(augmentation, name, value)
    images = NOISE.astype(np.float32)
    changed = change_colours(images, (1, 2)).numpy()
    mean, grey = images.mean((1, 2, 3), keepdims=True), images.mean(-1, keepdims=True)
    if name == "BRIGHTNESS":
        shift = changed - images
        assert np.ptp(shift, axis=(1, 2, 3)).max() < 0.01  # one shift for a whole image
        assert 0.05 * 255 < np.abs(shift).max() <= 0.15 * 255 + 0.01
    else:
        centre = mean if name == "CONTRAST" else grey
        np.testing.assert_allclose(changed, centre + (images - centre) / 2, atol=0.01)


# -------------------------------------------------------------------------------- transforms


def test_half_of_the_examples_are_flipped_and_none_upside_down(transforms):
    assert abs((transforms[:, 0, 0] < 0).mean() - 0.5) < 0.03
    assert (transforms[:, 1, 1] > 0).all()


def test_rotation_and_scale_stay_in_their_bounds_and_reach_them(transforms):
    scale = np.hypot(transforms[:, 0, 1], transforms[:, 1, 1])
    angle = np.degrees(np.arctan2(-transforms[:, 0, 1], transforms[:, 1, 1]))
    low, high = augmentation.SCALE
    assert low - 1e-5 <= scale.min() < low + 0.01 and high - 0.01 < scale.max() <= high + 1e-5
    assert -15.01 < angle.min() < -14.9 and 14.9 < angle.max() < 15.01
    assert abs(angle.mean()) < 0.5 and abs(scale.mean() - (low + high) / 2) < 0.01


def test_shapes_are_not_sheared_or_stretched(transforms):
    linear = transforms[:, :, :2]
    square = linear @ linear.transpose(0, 2, 1)
    scale = np.hypot(linear[:, 0, 1], linear[:, 1, 1])
    np.testing.assert_allclose(square, scale[:, None, None] ** 2 * np.eye(2), atol=1e-5)


@pytest.mark.parametrize("scale", [(0.65, 1.0), (1.0, 1.1)])
def test_the_seen_window_lies_within_the_image_or_holds_all_of_it(scale, monkeypatch):
    monkeypatch.setattr(augmentation, "ROTATION", 0.0)
    monkeypatch.setattr(augmentation, "SCALE", scale)
    moves = matrices(4000)
    for row, side in ((0, WIDTH), (1, HEIGHT)):
        factor, offset = moves[:, row, row], moves[:, row, 2]
        edges = np.sort([factor * -0.5 + offset, factor * (side - 0.5) + offset], axis=0)
        margin = np.stack([edges[0] + 0.5, side - 0.5 - edges[1]])  # inside the image: positive
        if scale[0] < 1:
            assert -1e-3 < margin.min() and margin.max() > 0.3 * side
        else:
            assert margin.max() < 1e-3 and margin.min() < -0.09 * side


def test_without_scale_and_rotation_only_the_exact_mirror_image_is_left(monkeypatch, no_colours):
    monkeypatch.setattr(augmentation, "ROTATION", 0.0)
    monkeypatch.setattr(augmentation, "SCALE", (1.0, 1.0))
    images, masks = (part.numpy() for part in augment(NOISE, MASKS, (1, 2)))
    flipped = [not np.array_equal(*pair) for pair in zip(images, NOISE, strict=True)]
    assert 0 < sum(flipped) < COUNT
    for i, flip in enumerate(flipped):
        step = -1 if flip else 1
        np.testing.assert_array_equal(images[i], NOISE[i, :, ::step])
        np.testing.assert_array_equal(masks[i], MASKS[i, :, ::step])


def test_rotation_keeps_the_centre(monkeypatch):
    monkeypatch.setattr(augmentation, "SCALE", (1.0, 1.0))
    moves = matrices(100)
    centre = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2, 1])
    np.testing.assert_allclose(moves @ centre, np.tile(centre[:2], (100, 1)), atol=1e-3)


@pytest.mark.parametrize("interpolation", ["NEAREST", "BILINEAR"])
def test_the_identity_leaves_a_batch_unchanged(interpolation):
    moves = np.tile(np.float32([1, 0, 0, 0, 1, 0, 0, 0]), (COUNT, 1))
    np.testing.assert_array_equal(warp(NOISE, moves, interpolation), NOISE)
