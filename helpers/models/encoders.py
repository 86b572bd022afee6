"""Encoders: networks of keras.applications that give their feature maps."""

import keras
from keras import layers

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
def mobilenetv2_encoder(input_size, alpha=1.0, weights="imagenet"):
    """MobileNetV2 without its classifier: images in [-1, 1] -> the five maps of ``TAPS``.

    Returns:
        keras.Model, named ``encoder``; outputs from (B, H/2, W/2, 96) to (B, H/32, W/32, 320)
        at an alpha of 1.
    """
    images = keras.Input((*input_size, 3), name="scaled_image")
    base = keras.applications.MobileNetV2(
        input_tensor=images, include_top=False, alpha=alpha, weights=None, name="MobileNetV2"
    )
    if weights == "imagenet":
        _load_imagenet(base, input_size, alpha)
    elif weights is not None:
        pretrained.load(base, weights)
    return keras.Model(images, [base.get_layer(tap).output for tap in TAPS], name="encoder")


def train_encoder(model, trainable):
    """Freezes the encoder of a ``mobilenetv2_unet``, or lets its convolutions be trained.

    Call ``model.compile`` afterwards. ``model.get_layer("encoder").trainable = True`` alone would
    unfreeze batch normalization too. (Calling the encoder with ``training=False`` would not keep
    it frozen: in Keras 3, ``fit`` passes its own ``training=True`` down to every layer.)

    Args:
        model: from ``mobilenetv2_unet``.
        trainable: True, False, or the name of the encoder's first layer that is to be trained,
            such as ``"block_4_expand"``. What lies before it sees edges and colours, good as they
            are, on the largest maps, the dearest to train.

    Raises:
        ValueError: the encoder has no layer of that name.
    """
    encoder = model.get_layer("encoder")
    names = [layer.name for layer in encoder.layers]
    if isinstance(trainable, str) and trainable not in names:
        raise ValueError(f"trainable={trainable!r}: the encoder has no layer of that name.")
    first = names.index(trainable) if isinstance(trainable, str) else 0
    encoder.trainable = bool(trainable)
    for number, layer in enumerate(encoder.layers):
        is_norm = isinstance(layer, layers.BatchNormalization)
        layer.trainable = bool(trainable) and number >= first and not is_norm


def _load_imagenet(base, input_size, alpha):
    """Google trained MobileNetV2 anew for five sizes; with an alpha above 1, for 224 alone."""
    if alpha not in ALPHAS:
        raise ValueError(f"alpha={alpha}: ImageNet weights are there for {ALPHAS} alone.")
    height, width = input_size
    own = [height] if height == width in (96, 128, 160, 192) and alpha <= 1 else []
    names = [
        f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(alpha)}_{size}_no_top.h5"
        for size in dict.fromkeys([*own, 224, 192, 160, 128, 96])
    ]
    pretrained.load_imagenet(base, "mobilenet_v2", names)
