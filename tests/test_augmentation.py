"""Augmentation: how far it goes, and what it leaves alone. That image and mask move together, and
what is refused, is tested in test_properties.py."""

import numpy as np
import pytest
import tensorflow as tf

from helpers import augmentation
from helpers.albumentations_augmentation import albumentations_augment
from helpers.augmentation import augment, change_colours, random_colours, random_transforms

HEIGHT, WIDTH, COUNT = 48, 80, 16
RNG = np.random.default_rng(1)
NOISE = RNG.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), np.uint8)
MASKS = RNG.integers(0, 3, (COUNT, HEIGHT, WIDTH, 1), np.uint8)
PLAIN = {"BRIGHTNESS": 0.0, "CONTRAST": (1, 1), "SATURATION": (1, 1)}
IN_PLACE = {"ROTATION": 0.0, "SCALE": (1.0, 1.0)}


def set_ranges(monkeypatch, **ranges):
    for name, value in ranges.items():
        monkeypatch.setattr(augmentation, name, value)


def matrices(count):
    return random_transforms(count, HEIGHT, WIDTH, (3, 4)).numpy()


@pytest.mark.parametrize("function", [augment, albumentations_augment])
def test_examples_of_a_batch_and_other_seeds_give_different_views(function):
    images, masks = (np.repeat(part[:1], COUNT, 0) for part in (NOISE, MASKS))
    views = [function(images, masks, (seed, 2)) for seed in (1, 3)]
    for part in zip(*views):
        assert len(np.unique(np.concatenate(part), axis=0)) == 2 * COUNT


@pytest.mark.parametrize("function", [augment, albumentations_augment])
def test_a_size_that_only_the_running_graph_knows_is_looked_at_there(function):
    def run(images, masks):
        form = tuple(tf.TensorSpec((None, None, None, c), tf.uint8) for c in (3, 1))
        batches = tf.data.Dataset.from_generator(lambda: [(images, masks)], output_signature=form)
        return list(batches.map(lambda *batch: function(*batch, (1, 2))))

    assert run(NOISE, MASKS)[0][1].shape == MASKS.shape
    for masks in (MASKS[:, 1:], MASKS[1:], MASKS[:, ::2, ::2]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="differ in number or size"):
            run(NOISE, masks)


def test_colours_leave_the_masks_alone_and_are_clipped(monkeypatch):
    set_ranges(monkeypatch, **PLAIN)
    plain_images, plain_masks = augment(NOISE, MASKS, (1, 2))
    monkeypatch.undo()
    set_ranges(monkeypatch, BRIGHTNESS=0.9, CONTRAST=(1, 1), SATURATION=(1, 1))
    images, masks = augment(NOISE, MASKS, (1, 2))
    np.testing.assert_array_equal(masks, plain_masks)
    brightness = random_colours(COUNT, tf.random.split((1, 2), 2)[1]).numpy()[:, 0]
    exact = plain_images.numpy() + 255 * brightness[:, None, None, None]
    assert exact.min() < 0 and exact.max() > 255  # and nothing wraps around:
    assert np.abs(images.numpy() - exact.clip(0, 255)).max() <= 1


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("name", PLAIN)
def test_each_colour_change_does_what_it_is_called(name, channels):
    image = RNG.integers(80, 176, (HEIGHT, WIDTH, channels), np.uint8)
    plain = {"brightness": 0.0, "contrast": 1.0, "saturation": 1.0}
    value = 0.15 if name == "BRIGHTNESS" else 0.5
    changed = change_colours(image, **{**plain, name.lower(): value})
    if name == "BRIGHTNESS":
        exact = image + 255 * value
    else:
        centre = image.mean(None if name == "CONTRAST" else -1, keepdims=True)
        exact = centre + (image - centre) / 2
    np.testing.assert_allclose(changed, exact, atol=1)


def test_random_colours_reach_their_bounds_and_no_further():
    found = random_colours(4000, (3, 4)).numpy()
    bounds = [(-0.15, 0.15), augmentation.CONTRAST, augmentation.SATURATION]
    for values, (low, high) in zip(found.T, bounds):
        margin = (high - low) / 50
        assert low <= values.min() < low + margin and high - margin < values.max() <= high
    assert np.abs(np.corrcoef(found.T) - np.eye(3)).max() < 0.1  # one does not follow another


def test_flips_rotations_and_scales_reach_their_bounds_and_no_further():
    transforms = matrices(4000)
    assert abs((transforms[:, 0, 0] < 0).mean() - 0.5) < 0.03  # mirrored
    assert (transforms[:, 1, 1] > 0).all()  # never upside down
    scale = np.hypot(transforms[:, 0, 1], transforms[:, 1, 1])
    angle = np.degrees(np.arctan2(-transforms[:, 0, 1], transforms[:, 1, 1]))
    for values, (low, high) in ((scale, augmentation.SCALE), (angle, (-15, 15))):
        margin = (high - low) / 50
        assert low - 1e-3 <= values.min() < low + margin
        assert high - margin < values.max() <= high + 1e-3
    linear = transforms[:, :, :2]  # pixels stay square, also in an image that is not
    square = linear @ linear.transpose(0, 2, 1)
    np.testing.assert_allclose(square, scale[:, None, None] ** 2 * np.eye(2), atol=1e-5)


def test_without_scale_and_rotation_only_the_exact_mirror_image_is_left(monkeypatch):
    set_ranges(monkeypatch, **PLAIN, **IN_PLACE)
    images, masks = (part.numpy() for part in augment(NOISE, MASKS, (1, 2)))
    steps = [1 if np.array_equal(*pair) else -1 for pair in zip(images, NOISE)]
    assert {*steps} == {1, -1}
    for i, step in enumerate(steps):
        np.testing.assert_array_equal(images[i], NOISE[i, :, ::step])
        np.testing.assert_array_equal(masks[i], MASKS[i, :, ::step])
