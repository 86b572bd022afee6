"""Random changes to a batch of images and masks, made together.

One geometric transform per example (flip, scale, crop and rotation composed into one affine map)
is applied to image and mask alike, so that they cannot get out of step, and each is resampled
once: the image bilinearly, the mask by nearest neighbour, so that it never gains a value.
Brightness, contrast and saturation, one linear map of the colours, then change the image alone.

Every random number follows from the seed that is passed in: there is no hidden state. OpenCV
does the resampling: TensorFlow's own op takes almost twice as long.
"""

import math

import cv2
import numpy as np
import tensorflow as tf

cv2.setNumThreads(0)  # tf.data's threads are the parallelism

SCALE = (0.65, 1.1)  # share of the side that is seen: below 1 a crop, above 1 a margin
ROTATION = 15.0  # degrees, either way
BRIGHTNESS = 0.15  # of the full range, either way
CONTRAST = (0.75, 1.3)
SATURATION = (0.6, 1.4)


def augment(images, masks, seed):
    """A fresh random version of a batch; the same seed gives the same version.

    Args:
        images: (B, H, W, 3) uint8, 0..255.
        masks: (B, H, W, 1) uint8 class ids.
        seed: (2,) integer tensor.

    Returns:
        images (B, H, W, 3) uint8 and masks (B, H, W, 1) uint8, moved together.
    """
    count = tf.shape(images)[0]
    place_seed, colour_seed = tf.unstack(tf.random.split(seed, 2))
    transforms = random_transforms(count, images.shape[1], images.shape[2], place_seed)
    colours = random_colours(count, colour_seed)
    arguments = (images, masks, transforms, colours)
    changed = tf.numpy_function(_change, arguments, (tf.uint8, tf.uint8), stateful=False)
    return tuple(tf.ensure_shape(new, old.shape) for new, old in zip(changed, (images, masks)))


def random_transforms(count, height, width, seed):
    """Affine maps from output to input pixels: flip, rotate, scale and shift about the centre.

    The seen window never leaves the image by more than rotation and a scale above 1 make it;
    what lies outside is filled by reflection.

    Returns:
        (count, 2, 3) float32 matrices; they take (x, y, 1) to (x, y).
    """
    seeds = tf.unstack(tf.random.split(seed, 5))
    scale = _uniform(count, *SCALE, seeds[0])
    angle = _uniform(count, -ROTATION, ROTATION, seeds[1]) * (math.pi / 180.0)
    flip = tf.sign(_uniform(count, -1.0, 1.0, seeds[2]) + 1e-12)  # -1 or 1, never 0
    slack_y, slack_x = (tf.abs(1.0 - scale) * (side / 2.0) for side in (height, width))
    shift_y = slack_y * _uniform(count, -1.0, 1.0, seeds[3])
    shift_x = slack_x * _uniform(count, -1.0, 1.0, seeds[4])

    cos, sin = tf.cos(angle) * scale, tf.sin(angle) * scale
    centre_y, centre_x = (height - 1.0) / 2.0, (width - 1.0) / 2.0
    # input = linear @ (output - centre) + centre + shift
    a, b = cos * flip, -sin
    c, d = sin * flip, cos
    offset_x = centre_x + shift_x - a * centre_x - b * centre_y
    offset_y = centre_y + shift_y - c * centre_x - d * centre_y
    return tf.reshape(tf.stack([a, b, offset_x, c, d, offset_y], axis=1), (-1, 2, 3))


def random_colours(count, seed):
    """Brightness (share of the full range), contrast and saturation (factors): (count, 3)."""
    seeds = tf.unstack(tf.random.split(seed, 3))
    ranges = (-BRIGHTNESS, BRIGHTNESS), CONTRAST, SATURATION
    return tf.stack([_uniform(count, *span, one) for span, one in zip(ranges, seeds)], axis=1)


def warp(picture, transform, interpolation):
    """One picture (H, W, C) uint8 through ``transform`` (2, 3): an array of the same shape.

    Args:
        interpolation: ``cv2.INTER_LINEAR`` or ``cv2.INTER_NEAREST``.
    """
    height, width, _ = picture.shape
    warped = cv2.warpAffine(
        picture,
        transform,
        (width, height),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return warped.reshape(picture.shape)  # OpenCV drops a last axis of 1


def change_colours(image, brightness, contrast, saturation):
    """One image (H, W, 3) uint8: colours away from or towards its grey, grey away from or towards
    its mean, then brighter or darker. uint8, right to one level, clipped once, at the end."""
    mix = contrast * (saturation * np.eye(3) + (1.0 - saturation) / 3.0)
    shift = (1.0 - contrast) * np.mean(cv2.mean(image)[:3]) + 255.0 * brightness
    matrix = np.hstack([mix, np.full((3, 1), shift)]).astype(np.float32)
    return cv2.transform(image, matrix)


def _change(images, masks, transforms, colours):
    changed, moved = np.empty_like(images), np.empty_like(masks)
    for i, transform in enumerate(transforms):
        changed[i] = change_colours(warp(images[i], transform, cv2.INTER_LINEAR), *colours[i])
        moved[i] = warp(masks[i], transform, cv2.INTER_NEAREST)
    return changed, moved


def _uniform(count, low, high, seed):
    return tf.random.stateless_uniform((count,), seed, low, high)
