"""U-Nets that are trained from random weights, as in their papers."""

import keras
from keras import layers

from helpers.models.blocks import (
    BATCH_NORM_MOMENTUM,
    check_counts,
    checked_size,
    double_convolution,
    independent_of_keras_json,
)


@independent_of_keras_json()
def unet(input_size, classes, width=64, depth=4, channels=3):
    """U-Net (Ronneberger, Fischer and Brox, MICCAI 2015, https://arxiv.org/abs/1505.04597).

    Two differences from the paper: convolutions are padded, so that the mask comes out at the
    size of the image, and batch normalization stands between convolution and ReLU.

    Args:
        input_size: int or (height, width), pixels; each side divisible by ``2**depth``.
        classes: number of output channels (logits).
        width: channels of the first stage; each stage down doubles them. 64 in the paper.
        depth: number of poolings. 4 in the paper; with ``width=64`` that gives its 31 million
            parameters.
        channels: of the images; 3 for RGB.

    Returns:
        keras.Model: images (B, H, W, channels), any dtype, 0..255 -> logits (B, H, W, classes)
        float32.

    Raises:
        ValueError: a side does not divide by ``2**depth``, or a count is below 1.
    """
    check_counts(classes=classes, width=width, depth=depth, channels=channels)
    images = keras.Input((*checked_size(input_size, depth), channels), name="image")
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
        x = layers.Concatenate(name=f"{name}_skip")([skips[stage], x])
        x = double_convolution(x, width * 2**stage, name=name)

    logits = layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="unet")


@independent_of_keras_json()
def residual_unet(input_size, classes, width=64, depth=3):
    """Deep residual U-Net (Zhang, Liu and Wang, IEEE GRSL 2018, https://arxiv.org/abs/1711.10684):
    residual units instead of double convolutions, strides instead of poolings.

    Args:
        input_size: int or (height, width), pixels; each side divisible by ``2**depth``.
        classes: number of output channels (logits).
        width: channels of the first stage; each stage down doubles them. 64 in the paper.
        depth: number of halvings. 3 in the paper.

    Returns:
        keras.Model: images (B, H, W, 3), any dtype, 0..255 -> logits (B, H, W, classes) float32.

    Raises:
        ValueError: a side does not divide by ``2**depth``, or a count is below 1.
    """
    check_counts(classes=classes, width=width, depth=depth)
    images = keras.Input((*checked_size(input_size, depth), 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale_pixels")(images)

    skips = []
    for stage in range(depth):
        name = f"down_{stage + 1}"
        x = residual_unit(x, width * 2**stage, name, strides=2 if stage else 1, first=not stage)
        skips.append(x)

    x = residual_unit(x, width * 2**depth, "bridge", strides=2)

    for stage in reversed(range(depth)):
        name = f"up_{stage + 1}"
        x = layers.UpSampling2D(2, name=f"{name}_enlarge")(x)
        x = layers.Concatenate(name=f"{name}_skip")([x, skips[stage]])
        x = residual_unit(x, width * 2**stage, name)

    logits = layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="residual_unet")


def residual_unit(x, channels, name, strides=1, first=False):
    """Twice: batch normalization, ReLU, 3x3 convolution; then the sum with what came in, brought
    to its shape by a 1x1 convolution. (B, H, W, C) -> (B, H / strides, W / strides, channels).
    The network's first unit starts with its convolution."""
    shortcut = x
    if strides > 1:
        # Takes every second pixel. A 1x1 convolution with strides does the same, but TensorFlow
        # 2.21 on a CPU crashes in its gradient where there are few channels.
        shortcut = layers.MaxPooling2D(1, strides, name=f"{name}_every_second")(shortcut)
    shortcut = layers.Conv2D(channels, 1, name=f"{name}_shortcut")(shortcut)
    for i in (1, 2):
        if not (first and i == 1):
            x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"{name}_bn{i}")(x)
            x = layers.ReLU(name=f"{name}_relu{i}")(x)
        x = layers.Conv2D(
            channels,
            3,
            strides if i == 1 else 1,
            padding="same",
            kernel_initializer="he_normal",
            name=f"{name}_conv{i}",
        )(x)
    return layers.Add(name=name)([x, shortcut])
