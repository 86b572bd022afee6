"""Random changes to a batch of images and masks, made together.

One geometric transform per example (flip, scale, crop and rotation composed into one affine map)
is applied to image and mask alike, so that they cannot get out of step, and each is resampled
once: the image bilinearly, the mask by nearest neighbour, so that it never gains a value.
Brightness, contrast and saturation then change the image alone, as one matrix for its colours.

OpenCV computes both in uint8, several times faster than TensorFlow's own operations would on a
CPU. Every random number follows from the seed that is passed in: there is no hidden state.
"""

import math

import cv2
import numpy as np
import tensorflow as tf

SCALE = (0.65, 1.1)  # share of the side that is seen: below 1 a crop, above 1 a margin
ROTATION = 15.0  # degrees, either way
BRIGHTNESS = 0.15  # of the full range, either way
CONTRAST = (0.75, 1.3)
SATURATION = (0.6, 1.4)


def augment(images, masks, seed):
    """A fresh random version of a batch; the same seed gives the same version.

    Args:
        images: (B, H, W, channels) uint8, 0..255.
        masks: (B, H, W, 1) uint8 class ids, or ``classes.VOID``.
        seed: (2,) integer tensor.

    Returns:
        images (B, H, W, channels) uint8 and masks (B, H, W, 1) uint8, moved together.

    Raises:
        ValueError: see ``check_batch``.
    """
    images, masks = check_batch(images, masks)
    shape = tf.shape(images)
    place_seed, colour_seed = tf.unstack(tf.random.split(seed, 2))
    transforms = random_transforms(shape[0], shape[1], shape[2], place_seed)
    return by_numpy(_change, images, masks, transforms, random_colours(shape[0], colour_seed))


@tf.autograph.experimental.do_not_convert  # else its errors come wrapped in TensorFlow's own
def check_batch(images, masks):
    """Images and masks as tensors, if they are what a network is trained on.

    Raises:
        ValueError: another dtype than uint8, such as floats in 0..1, which rounding would turn
            black; another shape than (B, H, W, channels) and (B, H, W, 1); masks of another size
            than the images (tf.errors.InvalidArgumentError where only the running graph knows it).
    """
    images, masks = tf.convert_to_tensor(images), tf.convert_to_tensor(masks)
    for name, batch, last in (("images", images, "channels"), ("masks", masks, 1)):
        fits = batch.shape.rank == 4 and last in ("channels", batch.shape[-1])
        if batch.dtype != tf.uint8 or not fits:
            raise ValueError(
                f"The {name} are {batch.dtype.name} of shape {batch.shape}: expected uint8 "
                f"(B, H, W, {last}). Images are raw pixels, 0..255, which the model scales; "
                f"masks are class ids. Undo any scaling, and cast."
            )
    if not images.shape[:3].is_compatible_with(masks.shape[:3]):
        raise ValueError(
            f"The images have the shape {images.shape}, the masks {masks.shape}: expected the "
            f"same number, height and width. Resize both to one size first."
        )
    sizes = (tf.shape(batch)[:3] for batch in (images, masks))
    same = tf.debugging.assert_equal(*sizes, "Images and masks differ in number or size.")
    with tf.control_dependencies([same]):  # or what follows might fail first
        return tf.identity(images), tf.identity(masks)


def by_numpy(change, images, masks, *parameters):
    """A function of arrays as an augmentation: ``change(images, masks, *parameters)`` of uint8
    arrays, run inside a graph; shapes stay."""
    changed = tf.numpy_function(change, (images, masks, *parameters), (tf.uint8, tf.uint8))
    return tuple(tf.ensure_shape(new, old.shape) for new, old in zip(changed, (images, masks)))


def random_transforms(count, height, width, seed):
    """Affine maps from output to input pixels: flip, rotate, scale and shift about the centre.

    The seen window never leaves the image by more than rotation and a scale above 1 make it;
    what lies outside is filled by reflection.

    Returns:
        (count, 2, 3) float32: the linear part, and the offset last.
    """
    seeds = tf.unstack(tf.random.split(seed, 5))
    scale = _uniform(count, *SCALE, seeds[0])
    angle = _uniform(count, -ROTATION, ROTATION, seeds[1]) * (math.pi / 180.0)
    flip = tf.sign(_uniform(count, -1.0, 1.0, seeds[2]) + 1e-12)  # -1 or 1, never 0
    slack_y = tf.abs(1.0 - scale) * tf.cast(height, tf.float32) / 2.0
    slack_x = tf.abs(1.0 - scale) * tf.cast(width, tf.float32) / 2.0
    shift_y = slack_y * _uniform(count, -1.0, 1.0, seeds[3])
    shift_x = slack_x * _uniform(count, -1.0, 1.0, seeds[4])

    cos, sin = tf.cos(angle) * scale, tf.sin(angle) * scale
    centre_y = (tf.cast(height, tf.float32) - 1.0) / 2.0
    centre_x = (tf.cast(width, tf.float32) - 1.0) / 2.0
    # input = linear @ (output - centre) + centre + shift
    a, b = cos * flip, -sin
    c, d = sin * flip, cos
    offset_x = centre_x + shift_x - a * centre_x - b * centre_y
    offset_y = centre_y + shift_y - c * centre_x - d * centre_y
    return tf.stack([tf.stack([a, b, offset_x], 1), tf.stack([c, d, offset_y], 1)], 1)


def random_colours(count, seed):
    """(count, 3) float32: brightness, contrast and saturation."""
    ranges = ((-BRIGHTNESS, BRIGHTNESS), CONTRAST, SATURATION)
    seeds = tf.unstack(tf.random.split(seed, 3))
    return tf.stack([_uniform(count, *pair, one) for pair, one in zip(ranges, seeds)], axis=1)


def warp(image, transform, interpolation):
    """Resamples an image (H, W, C) through a transform (2, 3); shape and dtype stay."""
    height, width = image.shape[:2]
    flags = interpolation | cv2.WARP_INVERSE_MAP
    options = {"flags": flags, "borderMode": cv2.BORDER_REFLECT}
    return cv2.warpAffine(image, transform, (width, height), **options).reshape(image.shape)


def change_colours(image, brightness, contrast, saturation):
    """Saturation about each pixel's grey, contrast about the image's mean, then brightness, a
    share of the full range. (H, W, channels) uint8, clipped, right to one level."""
    channels = image.shape[-1]
    matrix = saturation * np.eye(channels) + (1 - saturation) / channels
    shift = (1 - contrast) * image.mean() + 255 * brightness
    matrix = np.column_stack([contrast * matrix, np.full(channels, shift)])
    return cv2.transform(image, matrix).reshape(image.shape)


def _change(images, masks, transforms, colours):
    changed = np.empty_like(images), np.empty_like(masks)
    for i, transform in enumerate(transforms):
        image = warp(images[i], transform, cv2.INTER_LINEAR)
        changed[0][i] = change_colours(image, *colours[i].astype(float))
        changed[1][i] = warp(masks[i], transform, cv2.INTER_NEAREST)
    return changed


def _uniform(count, low, high, seed):
    return tf.random.stateless_uniform((count,), seed, low, high)
