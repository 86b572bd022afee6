"""What the networks are made of, and the checks that they share."""

import contextlib

import keras
from keras import layers

# Keras's default of 0.99 needs hundreds of steps before the running averages that evaluation
# uses have caught up; a short training then looks broken although its loss is fine.
BATCH_NORM_MOMENTUM = 0.9


@contextlib.contextmanager
def independent_of_keras_json():
    """What is built inside does not depend on the settings in ``keras.json``.

    Raises:
        ValueError: weights would be kept in half precision, which no training survives.
    """
    policy = keras.config.dtype_policy()
    if policy.variable_dtype not in ("float32", "float64"):
        raise ValueError(
            f"Keras's dtype policy {policy.name!r} keeps weights in {policy.variable_dtype}, too "
            f"coarse for training: set it to float32, mixed_float16 or mixed_bfloat16, and floatx "
            f"in keras.json to float32."
        )
    data_format = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(data_format)


def double_convolution(x, channels, name):
    """Twice: 3x3 convolution, batch normalization, ReLU. (B, H, W, C) -> (B, H, W, channels)."""
    for i in (1, 2):
        x = convolution(x, channels, 3, name, i)
    return x


def convolution(x, channels, kernel_size, name, number="", strides=1, dilation=1):
    """Convolution, batch normalization, ReLU. (B, H, W, C) -> (B, H, W, channels), where strides
    is 1."""
    x = layers.Conv2D(
        channels,
        kernel_size,
        strides,
        padding="same",
        dilation_rate=dilation,
        use_bias=False,  # batch normalization has its own
        kernel_initializer="he_normal",
        name=f"{name}_conv{number}",
    )(x)
    x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"{name}_bn{number}")(x)
    return layers.ReLU(name=f"{name}_relu{number}")(x)


@independent_of_keras_json()
def upsample(filters, size, apply_dropout=False, momentum=0.99, name=None):
    """The decoder block of pix2pix (Isola et al., CVPR 2017, https://arxiv.org/abs/1611.07004).

    The same layers as ``tensorflow_examples.models.pix2pix.pix2pix.upsample(filters, size)``,
    which is on no package index; a parity test compares the two where that package is installed.

    Args:
        filters: output channels.
        size: kernel size of the transposed convolution.
        apply_dropout: adds a dropout of 0.5.
        momentum: of batch normalization; the original has Keras's default, 0.99.

    Returns:
        keras.Sequential: (B, H, W, C) -> (B, 2H, 2W, filters).
    """
    block = keras.Sequential(name=name)
    block.add(
        layers.Conv2DTranspose(
            filters,
            size,
            strides=2,
            padding="same",
            kernel_initializer=keras.initializers.RandomNormal(0.0, 0.02),
            use_bias=False,
            name="transpose",  # names of its own, or they would count the blocks built before
        )
    )
    block.add(layers.BatchNormalization(momentum=momentum, name="bn"))
    if apply_dropout:
        block.add(layers.Dropout(0.5, name="dropout"))
    block.add(layers.ReLU(name="relu"))
    return block


def checked_size(input_size, depth):
    sides = input_size if isinstance(input_size, (tuple, list)) else (input_size, input_size)
    if len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        raise ValueError(
            f"input_size={input_size!r}: expected whole pixels, one number or (height, width)."
        )
    height, width = sides
    step = 2**depth
    for side in (height, width):
        if side < step or side % step:
            below = max(step, side // step * step)
            raise ValueError(
                f"input_size {height}x{width} does not fit a U-Net of depth {depth}: each of its "
                f"{depth} poolings halves the image, so both sides must be multiples of {step}, "
                f"such as {below} or {below + step}."
            )
    return height, width


def check_counts(**counts):
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}: expected a whole number of at least 1.")
