"""Segmentation networks as Keras functional graphs. No input/output, no training, no data.

Every model takes raw pixels (0..255): its first layer does the scaling, so that nobody can scale
wrongly. Every model gives float32 logits whatever the precision policy: a softmax over float16
logits overflows. Every model has its channels on the last axis, whatever ``keras.json`` says.
"""

from helpers.models.blocks import (
    BATCH_NORM_MOMENTUM,
    convolution,
    double_convolution,
    upsample,
)
from helpers.models.cost import count_multiply_adds
from helpers.models.encoders import application_encoder, train_encoder
from helpers.models.from_scratch import residual_unet, unet
from helpers.models.mobilenetv2 import ALPHAS, TAPS, mobilenetv2_encoder
from helpers.models.views import enlarged, mirrored
from helpers.models.with_encoder import DECODERS, encoder_unet, mobilenetv2_unet

__all__ = [
    "ALPHAS",
    "BATCH_NORM_MOMENTUM",
    "DECODERS",
    "TAPS",
    "application_encoder",
    "convolution",
    "count_multiply_adds",
    "double_convolution",
    "encoder_unet",
    "enlarged",
    "mirrored",
    "mobilenetv2_encoder",
    "mobilenetv2_unet",
    "residual_unet",
    "train_encoder",
    "unet",
    "upsample",
]
