"""Elastic deformations move image and mask together."""

import numpy as np
import tensorflow as tf

from helpers.elastic_augmentation import deform, elastic_augment


def test_image_and_mask_are_deformed_alike_and_differently_each_time():
    halves = np.zeros((2, 96, 128, 1), np.uint8)
    halves[:, :, 64:] = 1
    images = halves.repeat(3, axis=-1) * 200
    moved, masks = deform(images, halves, [3, 4])
    edge = (moved[..., 0] > 20) & (moved[..., 0] < 180)
    assert (
        np.array_equal(moved[..., 0] > 100, masks[..., 0] == 1)
        or (((moved[..., 0] > 100) != (masks[..., 0] == 1)) <= edge).all()
    )
    assert set(np.unique(masks)) == {0, 1}
    assert not np.array_equal(masks[0], halves[0]) and not np.array_equal(masks[0], masks[1])
    shift = np.abs(np.diff(masks[0, ..., 0].argmax(axis=1).astype(int)))
    assert shift.max() <= 3  # smooth
    again = deform(images, halves, [3, 4])
    assert np.array_equal(again[0], moved) and np.array_equal(again[1], masks)


def test_it_works_in_a_pipeline():
    images = tf.zeros((2, 64, 96, 3), tf.uint8)
    masks = tf.ones((2, 64, 96, 1), tf.uint8)
    data = tf.data.Dataset.from_tensors((images, masks))
    ((images, masks),) = data.map(lambda *pair: elastic_augment(*pair, tf.constant([1, -2])))
    assert images.shape == (2, 64, 96, 3) and (masks.numpy() == 1).all()
