"""Augmentation: how far it goes, what it leaves alone, what it refuses. That image and mask move
together is tested in test_properties.py."""

import numpy as np
import pytest
import tensorflow as tf

from helpers import augmentation
from helpers.albumentations_augmentation import albumentations_augment
from helpers.augmentation import augment, change_colours, random_transforms

HEIGHT, WIDTH, COUNT = 48, 80, 16
RNG = np.random.default_rng(1)
NOISE = RNG.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), np.uint8)
MASKS = RNG.integers(0, 3, (COUNT, HEIGHT, WIDTH, 1), np.uint8)
AUGMENTATIONS = [augment, albumentations_augment]


def matrices(count):
    """Random transforms as matrices (count, 2, 3): the linear part, and the offset last."""
    return random_transforms(count, HEIGHT, WIDTH, (3, 4)).numpy()[:, :6].reshape(-1, 2, 3)


@pytest.fixture
def no_colours(monkeypatch):
    monkeypatch.setattr(augmentation, "BRIGHTNESS", 0.0)
    monkeypatch.setattr(augmentation, "CONTRAST", (1.0, 1.0))
    monkeypatch.setattr(augmentation, "SATURATION", (1.0, 1.0))


@pytest.mark.parametrize("function", AUGMENTATIONS)
def test_examples_of_a_batch_and_other_seeds_give_different_views(function):
    images, masks = (np.repeat(part[:1], COUNT, 0) for part in (NOISE, MASKS))
    views = [function(images, masks, (seed, 2)) for seed in (1, 3)]
    for part in zip(*views):
        assert len(np.unique(np.concatenate(part), axis=0)) == 2 * COUNT


# ------------------------------------------------------------------------------------ colours


def test_colours_leave_the_masks_alone_and_are_clipped(no_colours, monkeypatch):
    plain_images, plain_masks = augment(NOISE, MASKS, (1, 2))
    monkeypatch.undo()
    monkeypatch.setattr(augmentation, "BRIGHTNESS", 0.9)
    images, masks = augment(NOISE, MASKS, (1, 2))
    np.testing.assert_array_equal(masks, plain_masks)
    exact = change_colours(
        tf.cast(plain_images, tf.float32), tf.random.split((1, 2), 2)[1]
    ).numpy()
    assert exact.min() < 0 and exact.max() > 255  # and nothing wraps around:
    assert (
        np.abs(images.numpy().astype(float) - exact.clip(0, 255)).max() < 2
    )  # half a step, and that of the rounding


@pytest.mark.parametrize("name", ["BRIGHTNESS", "CONTRAST", "SATURATION"])
def test_each_colour_change_does_what_it_is_called(name, no_colours, monkeypatch):
    value = 0.15 if name == "BRIGHTNESS" else (0.5, 0.5)
    monkeypatch.setattr(augmentation, name, value)
    images = NOISE.astype(np.float32)
    changed = change_colours(images, (1, 2)).numpy()
    mean, grey = images.mean((1, 2, 3), keepdims=True), images.mean(-1, keepdims=True)
    if name == "BRIGHTNESS":
        shift = changed - images
        assert np.ptp(shift, axis=(1, 2, 3)).max() < 0.01  # one shift for an image, not for all
        assert 0.05 * 255 < np.abs(shift).max() <= 0.15 * 255 + 0.01 and np.ptp(shift) > 1
    else:
        centre = mean if name == "CONTRAST" else grey
        np.testing.assert_allclose(changed, centre + (images - centre) / 2, atol=0.01)


# -------------------------------------------------------------------------------- transforms


def test_flips_rotations_and_scales_reach_their_bounds_and_no_further():
    transforms = matrices(4000)
    assert abs((transforms[:, 0, 0] < 0).mean() - 0.5) < 0.03  # mirrored
    assert (transforms[:, 1, 1] > 0).all()  # never upside down
    scale = np.hypot(transforms[:, 0, 1], transforms[:, 1, 1])
    angle = np.degrees(np.arctan2(-transforms[:, 0, 1], transforms[:, 1, 1]))
    low, high = augmentation.SCALE
    assert low - 1e-5 <= scale.min() < low + 0.01 and high - 0.01 < scale.max() <= high + 1e-5
    assert -15.01 < angle.min() < -14.9 and 14.9 < angle.max() < 15.01
    assert abs(angle.mean()) < 0.5 and abs(scale.mean() - (low + high) / 2) < 0.01
    linear = transforms[:, :, :2]  # pixels stay square, also in an image that is not
    square = linear @ linear.transpose(0, 2, 1)
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


# ----------------------------------------------------------------------------------- refused


WRONG = {
    "0..1": (NOISE / 255, MASKS),
    "float32 of 0..255": (NOISE.astype("float32"), MASKS),
    "float16": (NOISE.astype("float16"), MASKS),
    "int32": (NOISE.astype("int32"), MASKS),
    "-1..1": (NOISE / 127.5 - 1, MASKS),
    "NaN": (np.full(NOISE.shape, np.nan), MASKS),
    "grey": (NOISE[..., :1], MASKS),
    "RGBA": (np.concatenate([NOISE, NOISE[..., :1]], axis=-1), MASKS),
    "no batch": (NOISE[0], MASKS[0]),
    "mask a pixel off": (NOISE, MASKS[:, 1:]),
    "mask of half the size": (NOISE, MASKS[:, ::2, ::2]),
    "one mask too few": (NOISE, MASKS[1:]),
    "mask without channel": (NOISE, MASKS[..., 0]),
    "one-hot mask": (NOISE, np.repeat(MASKS, 3, axis=-1)),
    "float mask": (NOISE, MASKS.astype("float32")),
    "bool mask": (NOISE, MASKS > 0),
}


@pytest.mark.parametrize("function", AUGMENTATIONS)
@pytest.mark.parametrize("case", WRONG)
def test_what_would_come_out_wrong_is_refused(case, function):
    with pytest.raises(ValueError, match="^The (images|masks) (are|have the shape)"):
        function(*WRONG[case], (1, 2))


@pytest.mark.parametrize("function", AUGMENTATIONS)
def test_a_size_that_only_the_running_graph_knows_is_looked_at_there(function):
    def run(images, masks):
        form = [tf.TensorSpec((None, None, None, channels), tf.uint8) for channels in (3, 1)]
        batches = tf.data.Dataset.from_generator(
            lambda: [(images, masks)], output_signature=tuple(form)
        )
        return list(batches.map(lambda *batch: function(*batch, (1, 2))))

    assert run(NOISE, MASKS)[0][1].shape == MASKS.shape
    for masks in (MASKS[:, 1:], MASKS[1:], MASKS[:, ::2, ::2]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="differ in number or size"):
            run(NOISE, masks)
