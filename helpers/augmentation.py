"""Random changes to a batch of images and masks, made together.

One geometric transform per example (flip, scale, crop and rotation composed into one affine map)
is applied to image and mask alike, so that they cannot get out of step, and each is resampled
once: the image bilinearly, the mask by nearest neighbour, so that it never gains a value.
Brightness, contrast and saturation then change the image alone.

Every random number follows from the seed that is passed in: there is no hidden state.
"""

import math

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
    images = warp(tf.cast(images, tf.float32), transforms, "BILINEAR")
    images = change_colours(images, colour_seed)
    images = tf.cast(tf.round(tf.clip_by_value(images, 0.0, 255.0)), tf.uint8)
    return images, warp(masks, transforms, "NEAREST")


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


def by_numpy(change, images, masks, seed):
    """A function of arrays as an augmentation: ``change(images, masks, seed)`` of uint8 arrays,
    run inside a graph; shapes stay."""
    changed = tf.numpy_function(change, (images, masks, seed), (tf.uint8, tf.uint8))
    return tuple(tf.ensure_shape(new, old.shape) for new, old in zip(changed, (images, masks)))


def random_transforms(count, height, width, seed):
    """Affine maps from output to input pixels: flip, rotate, scale and shift about the centre.

    The seen window never leaves the image by more than rotation and a scale above 1 make it;
    what lies outside is filled by reflection.

    Returns:
        (count, 8) float32, in the form of ``tf.raw_ops.ImageProjectiveTransformV3``.
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
    zero = tf.zeros_like(a)
    return tf.stack([a, b, offset_x, c, d, offset_y, zero, zero], axis=1)


def warp(batch, transforms, interpolation):
    """Resamples a batch (B, H, W, C) through ``transforms`` (B, 8); shape and dtype stay."""
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=batch,
        transforms=transforms,
        output_shape=tf.shape(batch)[1:3],
        fill_value=0.0,
        interpolation=interpolation,
        fill_mode="REFLECT",
    )
    return tf.ensure_shape(warped, batch.shape)


def change_colours(images, seed):
    """Brightness, contrast and saturation. (B, H, W, channels) float32, 0..255 and a little
    beyond."""
    count = tf.shape(images)[0]
    seeds = tf.unstack(tf.random.split(seed, 3))
    brightness = _uniform(count, -BRIGHTNESS, BRIGHTNESS, seeds[0])[:, None, None, None]
    contrast = _uniform(count, *CONTRAST, seeds[1])[:, None, None, None]
    saturation = _uniform(count, *SATURATION, seeds[2])[:, None, None, None]
    grey = tf.reduce_mean(images, axis=-1, keepdims=True)
    images = grey + (images - grey) * saturation
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return mean + (images - mean) * contrast + 255.0 * brightness


def _uniform(count, low, high, seed):
    return tf.random.stateless_uniform((count,), seed, low, high)
