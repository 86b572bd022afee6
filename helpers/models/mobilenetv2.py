"""MobileNetV2 as an encoder, in all its widths."""

import keras

from helpers import pretrained
from helpers.models.blocks import independent_of_keras_json

# The maps of MobileNetV2 that a decoder takes up, from 1/2 to 1/32 of the image's size.
TAPS = (
    "block_1_expand_relu",
    "block_3_expand_relu",
    "block_6_expand_relu",
    "block_13_expand_relu",
    "block_16_project",
)
ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)  # widths of MobileNetV2 with ImageNet weights


@independent_of_keras_json()
def mobilenetv2_encoder(input_size, alpha=1.0, weights="imagenet", channels=3):
    """MobileNetV2 without its classifier: images in [-1, 1] -> the five maps of ``TAPS``.

    Pre-trained weights are for RGB; for other ``channels``, see ``pretrained.copy``.

    Returns:
        keras.Model, named ``encoder``; outputs from (B, H/2, W/2, 96) to (B, H/32, W/32, 320)
        at an alpha of 1.
    """

    def without_weights(channels):
        images = keras.Input((*input_size, channels), name="scaled_image")
        return keras.applications.MobileNetV2(
            input_tensor=images, include_top=False, alpha=alpha, weights=None, name="MobileNetV2"
        )

    base = without_weights(channels)
    of_rgb = base if channels == 3 or weights is None else without_weights(3)
    if weights == "imagenet":
        pretrained.load_imagenet(of_rgb, imagenet_files(input_size, alpha))
    elif weights is not None:
        pretrained.load(of_rgb, weights)
    if of_rgb is not base:
        pretrained.copy(of_rgb, base)
    return keras.Model(
        base.inputs[0], [base.get_layer(tap).output for tap in TAPS], name="encoder"
    )


def imagenet_files(input_size, alpha=1.0):
    """The files with its ImageNet weights below ``pretrained.HOST``, the best first.

    Google trained it anew for each of five sizes; with an alpha above 1, for 224 alone.

    Raises:
        ValueError: there are none for this alpha.
    """
    if alpha not in ALPHAS:
        raise ValueError(f"alpha={alpha}: ImageNet weights are there for {ALPHAS} alone.")
    height, width = input_size
    own = [height] if height == width in (96, 128, 160, 192) and alpha <= 1 else []
    name = "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels"
    return [
        f"{name}_{float(alpha)}_{size}_no_top.h5"
        for size in dict.fromkeys([*own, 224, 192, 160, 128, 96])
    ]
