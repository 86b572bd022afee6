"""Networks whose encoder is a network of its own, and the decoders for it by name."""

import math
from collections import namedtuple

import keras
from keras import layers

from helpers.models import decoders, pyramids
from helpers.models.blocks import check_counts, checked_size, independent_of_keras_json
from helpers.models.encoders import application_encoder, train_encoder
from helpers.models.mobilenetv2 import mobilenetv2_encoder

# ``levels`` of the encoder's maps that it takes; ``widths``: its channels, from the smallest map
# up or as its function says.
Decoder = namedtuple("Decoder", "build levels widths")
DECODERS = {
    "light": Decoder(decoders.light, (1, 2, 3, 4, 5), (128, 96, 64, 32)),
    "pix2pix": Decoder(decoders.pix2pix, (1, 2, 3, 4, 5), (512, 256, 128, 64)),
    "attention": Decoder(decoders.attention, (1, 2, 3, 4, 5), (256, 128, 64, 32)),
    "unet++": Decoder(decoders.unet_plus_plus, (1, 2, 3, 4, 5), (256, 128, 64, 32)),
    "fpn": Decoder(pyramids.fpn, (2, 3, 4, 5), (256, 128)),
    "deeplabv3+": Decoder(pyramids.deeplabv3_plus, (2, 4), (256, 48)),
    "lraspp": Decoder(pyramids.lraspp, (3, 4), (128,)),
}


@independent_of_keras_json()
def mobilenetv2_unet(
    input_size,
    classes,
    *,
    alpha=1.0,
    weights="imagenet",
    decoder="light",
    widths=None,
    channels=3,
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
        decoder: a name in ``DECODERS``; their functions say what they are. ``"light"`` has fewer
            parameters than ``"pix2pix"``, the TensorFlow tutorial's, and is more accurate.
        widths: channels of the decoder; None for those in ``DECODERS``.
        channels: of the images; 3 for RGB. Others share the pre-trained kernels of the first
            layer, see ``pretrained.copy``.

    Returns:
        keras.Model: images (B, H, W, channels), any dtype, 0..255 -> logits (B, H, W, classes)
        float32.

    Raises:
        ValueError: a side does not divide by 32, an unknown decoder, another number of widths;
            ``weights`` are damaged or of another network.
        FileNotFoundError: ``weights`` are not there; with ``"imagenet"`` they cannot be fetched
            either, found out within seconds, and the message says which file belongs where.
    """
    size = _checked(input_size, classes, decoder, widths)
    check_counts(channels=channels)
    images, scaled = _inputs(size, channels)
    encoder = mobilenetv2_encoder(size, alpha, weights, channels)
    encoder = _cut(encoder, DECODERS[decoder].levels)
    logits = _decoded(encoder(scaled), scaled, classes, decoder, widths)
    return _trainable(keras.Model(images, logits, name="mobilenetv2_unet"))


@independent_of_keras_json()
def encoder_unet(
    input_size,
    classes,
    encoder="EfficientNetV2B0",
    *,
    decoder="light",
    weights="imagenet",
    widths=None,
):
    """A decoder on any network of keras.applications, pre-processing included.

    ``train_encoder`` freezes and unfreezes the encoder. Its batch normalization always uses the
    averages that it came with, as in ``mobilenetv2_unet``.

    Args:
        encoder: the network's name, such as ``"EfficientNetV2B0"`` or ``"ResNet50V2"``.
        input_size, classes, decoder, weights, widths: as in ``mobilenetv2_unet``.

    Returns:
        keras.Model: images (B, H, W, 3), any dtype, 0..255 -> logits (B, H, W, classes) float32.

    Raises:
        ValueError: as in ``mobilenetv2_unet``; an unknown encoder, one without the maps that the
            decoder needs, or one whose ImageNet weights have an unknown place.
        FileNotFoundError: as in ``mobilenetv2_unet``.
    """
    size = _checked(input_size, classes, decoder, widths)
    images, scaled = _inputs(size)
    layer = application_encoder(encoder, size, DECODERS[decoder].levels, weights)
    logits = _decoded(layer(images), scaled, classes, decoder, widths)
    return _trainable(keras.Model(images, logits, name="encoder_unet"))


def _checked(input_size, classes, decoder, widths):
    size = checked_size(input_size, depth=5)
    if decoder not in DECODERS:
        raise ValueError(f"decoder={decoder!r} is unknown: expected {' or '.join(DECODERS)}.")
    expected = len(DECODERS[decoder].widths)
    widths = DECODERS[decoder].widths if widths is None else tuple(widths)
    if len(widths) != expected:
        raise ValueError(f"widths={widths}: {decoder} takes {expected}.")
    check_counts(classes=classes, **{f"widths[{i}]": width for i, width in enumerate(widths)})
    return size


def _inputs(size, channels=3):
    images = keras.Input((*size, channels), name="image")
    return images, layers.Rescaling(1 / 127.5, offset=-1.0, name="scale_pixels")(images)


def _cut(encoder, levels):
    """An encoder of five maps, ended at the last that is taken."""
    outputs = [encoder.outputs[level - 1] for level in levels]
    return keras.Model(encoder.inputs[0], outputs, name=encoder.name)


def _decoded(outputs, scaled, classes, decoder, widths):
    height = scaled.shape[1]
    maps = {round(math.log2(height / output.shape[1])): output for output in outputs}
    build, _, default = DECODERS[decoder]
    return build(maps, scaled, classes, default if widths is None else tuple(widths))


def _trainable(model):
    train_encoder(model, True)
    return model
