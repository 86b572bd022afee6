"""Encoders: networks of keras.applications that give their feature maps."""

import math
import re

import keras
from keras import layers

from helpers import pretrained
from helpers.models import mobilenetv2
from helpers.models.blocks import independent_of_keras_json

# What pads or cuts a map is none; of a model inside the network, the output is elsewhere.
NO_MAP = (layers.ZeroPadding2D, layers.Cropping2D, keras.Model)
# Below pretrained.HOST, without the classifier; and MobileNetV2's.
IMAGENET_FILES = {
    "ConvNeXtTiny": "convnext/convnext_tiny_notop.h5",
    "DenseNet121": "densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "EfficientNetV2B0": "efficientnet_v2/efficientnetv2-b0_notop.h5",
    "MobileNetV3Large": "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
    "MobileNetV3Small": "mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
    "ResNet50V2": "resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "VGG16": "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "Xception": "xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
}


@independent_of_keras_json()
def application_encoder(name, input_size, levels, weights="imagenet"):
    """A network of keras.applications without its classifier: raw images, 0..255 -> the last map
    before each halving.

    Args:
        name: such as ``"EfficientNetV2B0"``.
        input_size: (height, width), pixels.
        levels: of the maps that are wanted; level n has 1/2**n of the image's size. Level 1 is
            left out where there is none: some networks start at 1/4.
        weights: ``"imagenet"``, None for random ones, or the path of a file.

    Returns:
        keras.Model, named ``encoder``; outputs from the largest map to the smallest.

    Raises:
        ValueError: no such network, none with these levels, or ImageNet weights in an unknown
            place; ``weights`` are damaged or of another network.
        FileNotFoundError: ``weights`` are not there and cannot be fetched.
    """
    base = _application(name, input_size)
    if weights == "imagenet":
        pretrained.load_imagenet(base, _imagenet_files(name, input_size))
    elif weights is not None:
        pretrained.load(base, weights)
    height, width = input_size
    maps = _last_before_each_halving(base, input_size)
    missing = set(levels) - set(maps) - {1}
    if missing:
        raise ValueError(
            f"encoder={name!r} has no map at 1/{2 ** min(missing)} of {height}x{width} pixels, "
            f"which the decoder needs."
        )
    outputs = []
    for level in sorted(maps.keys() & set(levels)):
        fitting = (height >> level, width >> level)
        if maps[level].shape[1:3] != fitting:  # without padding, a map is some pixels smaller
            maps[level] = layers.Resizing(*fitting, name=f"fit_{level}")(maps[level])
        outputs.append(maps[level])
    return keras.Model(base.inputs[0], outputs, name="encoder")


def train_encoder(model, trainable):
    """Freezes the encoder of a model that has one, or lets its convolutions be trained.

    Call ``model.compile`` afterwards. ``model.get_layer("encoder").trainable = True`` alone would
    unfreeze batch normalization too. (Calling the encoder with ``training=False`` would not keep
    it frozen: in Keras 3, ``fit`` passes its own ``training=True`` down to every layer.)

    Args:
        model: from ``mobilenetv2_unet`` or ``encoder_unet``.
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


def _application(name, input_size):
    """The network with random weights, pre-processing included."""
    build = getattr(keras.applications, name, None)
    if not callable(build):
        raise ValueError(
            f"encoder={name!r}: expected the name of a network of keras.applications, such as "
            f"EfficientNetV2B0."
        )
    images = keras.Input((*input_size, 3), name="raw_image")
    # Networks that scale pixels themselves have a function that leaves them as they are.
    module = getattr(keras.applications, build.__module__.rsplit(".", 1)[-1])
    prepared = module.preprocess_input(images, data_format="channels_last")
    base = build(input_tensor=prepared, include_top=False, weights=None)
    # Keras counts layers without a name of their own over the whole process, so that a weights
    # file, which goes by names, would not fit the next network: they are named by their place.
    names = {
        layer: f"{kind}_{place}"
        for place, layer in enumerate(base.layers)
        if layer.weights and (kind := type(layer).__name__.lower()) == _without_count(layer.name)
    }

    def renamed(layer):
        config = layer.get_config()
        return layer.from_config(config | {"name": names[layer]} if layer in names else config)

    return keras.models.clone_model(base, clone_function=renamed) if names else base


def _without_count(name):
    return re.sub(r"_\d+$", "", name).replace("_", "")


def _imagenet_files(name, input_size):
    if name == "MobileNetV2":
        return mobilenetv2.imagenet_files(input_size)
    if name not in IMAGENET_FILES:
        raise ValueError(
            f"ImageNet weights are known for {', '.join(IMAGENET_FILES)} and MobileNetV2, not for "
            f"{name}: pass the path of their file, or weights=None."
        )
    return [IMAGENET_FILES[name]]


def _last_before_each_halving(base, input_size):
    """Level -> map."""
    height, width = input_size
    maps = {}
    for layer in base.layers:
        shape = layer.output.shape
        if len(shape) == 4 and not isinstance(layer, NO_MAP):
            level = round(math.log2(height / shape[1]))
            if level == round(math.log2(width / shape[2])):
                maps[level] = layer.output
    return maps
