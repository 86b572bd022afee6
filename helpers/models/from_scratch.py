"""U-Net as in its paper, trained from random weights."""

import keras
from keras import layers

from helpers.models.blocks import (
    check_counts,
    checked_size,
    double_convolution,
    independent_of_keras_json,
)


@independent_of_keras_json()
def unet(input_size, classes, width=64, depth=4, skip_connections=True):
    """U-Net (Ronneberger, Fischer and Brox, MICCAI 2015, https://arxiv.org/abs/1505.04597).

    Two differences from the paper: convolutions are padded, so that the mask comes out at the
    size of the image, and batch normalization stands between convolution and ReLU.

    Args:
        input_size: int or (height, width), pixels; each side divisible by ``2**depth``.
        classes: number of output channels (logits).
        width: channels of the first stage; each stage down doubles them. 64 in the paper.
        depth: number of poolings. 4 in the paper; with ``width=64`` that gives its 31 million
            parameters.
        skip_connections: False leaves out the copies from encoder to decoder, to show what they
            are for. Everything else stays.

    Returns:
        keras.Model: images (B, H, W, 3), any dtype, 0..255 -> logits (B, H, W, classes) float32.

    Raises:
        ValueError: a side does not divide by ``2**depth``, or a count is below 1.
    """
    check_counts(classes=classes, width=width, depth=depth)
    height, width_px = checked_size(input_size, depth)
    images = keras.Input((height, width_px, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale_pixels")(images)

    skips = []
    for stage in range(depth):  # the left arm of the U
        x = double_convolution(x, width * 2**stage, name=f"down_{stage + 1}")
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"down_{stage + 1}_pool")(x)

    x = double_convolution(x, width * 2**depth, name="bottleneck")

    for stage in reversed(range(depth)):  # the right arm
        name = f"up_{stage + 1}"
        x = layers.Conv2DTranspose(width * 2**stage, 2, strides=2, name=f"{name}_transpose")(x)
        if skip_connections:
            x = layers.Concatenate(name=f"{name}_skip")([skips[stage], x])
        x = double_convolution(x, width * 2**stage, name=name)

    logits = layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="unet")
