"""U-Nets whose encoder is a network of its own."""

import keras
from keras import layers

from helpers.models.blocks import (
    BATCH_NORM_MOMENTUM,
    check_counts,
    checked_size,
    convolution,
    independent_of_keras_json,
    upsample,
)
from helpers.models.encoders import TAPS, mobilenetv2_encoder, train_encoder

DECODERS = {"light": (128, 96, 64, 32), "pix2pix": (512, 256, 128, 64)}


@independent_of_keras_json()
def mobilenetv2_unet(
    input_size, classes, *, alpha=1.0, weights="imagenet", decoder="light", widths=None
):
    """U-Net whose encoder is MobileNetV2 (Sandler et al., CVPR 2018,
    https://arxiv.org/abs/1801.04381).

    The encoder is one layer of the model, ``encoder``; ``train_encoder`` freezes and unfreezes
    it. Its batch normalization always uses the averages that it came with, also while its
    convolutions are trained: with MobileNetV2's momentum of 0.999, new ones would take thousands
    of steps.

    Args:
        input_size: int or (height, width), pixels; each side divisible by 32.
        classes: number of output channels (logits).
        alpha: width of the encoder; with ImageNet weights one of ``ALPHAS``.
        weights: of the encoder: ``"imagenet"``, None for random ones, or the path of a file.
        decoder: ``"pix2pix"``, the TensorFlow tutorial's, is made of transposed convolutions.
            ``"light"`` squeezes the encoder's maps by 1x1 convolutions, enlarges by repeating
            pixels, has one 3x3 convolution a level, and looks at the image once more at the
            last: fewer parameters, and more accurate.
        widths: channels of the decoder's four levels, from the smallest map up; None for
            ``DECODERS[decoder]``.

    Returns:
        keras.Model: images (B, H, W, 3), any dtype, 0..255 -> logits (B, H, W, classes) float32.

    Raises:
        ValueError: a side does not divide by 32, an unknown decoder, other than four widths;
            ``weights`` are damaged or of another network.
        FileNotFoundError: ``weights`` are not there; with ``"imagenet"`` they cannot be fetched
            either, found out within seconds, and the message says which file belongs where.
    """
    height, width_px = checked_size(input_size, depth=len(TAPS))
    if decoder not in DECODERS:
        raise ValueError(f"decoder={decoder!r} is unknown: expected {' or '.join(DECODERS)}.")
    widths = DECODERS[decoder] if widths is None else tuple(widths)
    if len(widths) != len(TAPS) - 1:
        raise ValueError(f"widths={widths}: expected {len(TAPS) - 1} numbers, one a level.")
    check_counts(classes=classes, **{f"widths[{i}]": width for i, width in enumerate(widths)})

    images = keras.Input((height, width_px, 3), name="image")
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale_pixels")(images)
    *skips, x = mobilenetv2_encoder((height, width_px), alpha, weights)(scaled)

    for level, (width, skip) in enumerate(zip(widths, reversed(skips)), start=1):
        name = f"up_{level}"
        if decoder == "pix2pix":
            x = upsample(width, 3, momentum=BATCH_NORM_MOMENTUM, name=name)(x)
            x = layers.Concatenate(name=f"{name}_skip")([x, skip])
        else:
            x = layers.UpSampling2D(2, name=f"{name}_enlarge")(x)
            joined = [x, convolution(skip, max(1, width // 2), 1, name=f"{name}_squeeze")]
            if level == len(widths):
                # The encoder's first map has half the image's size. What lies between its
                # pixels, an outline's exact place, comes from the image itself.
                joined.append(convolution(scaled, 16, 4, name="detail", strides=2))
            x = layers.Concatenate(name=f"{name}_skip")(joined)
            x = convolution(x, width, 3, name=name)

    kernel = 3 if decoder == "pix2pix" else 4  # 4 overlaps evenly: no checkerboard
    logits = layers.Conv2DTranspose(
        classes, kernel, strides=2, padding="same", dtype="float32", name="logits"
    )(x)
    model = keras.Model(images, logits, name="mobilenetv2_unet")
    train_encoder(model, True)
    return model
