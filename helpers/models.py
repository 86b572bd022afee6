"""Segmentation networks as Keras functional graphs. No input/output, no training, no data.

Every model takes raw pixels (0..255): its first layer does the scaling, so that nobody can scale
wrongly. Every model gives float32 logits whatever the precision policy: a softmax over float16
logits overflows. Every model has its channels on the last axis, whatever ``keras.json`` says.
"""

import contextlib

import keras
from keras import layers

from helpers import pretrained

# Keras's default of 0.99 needs hundreds of steps before the running averages that evaluation
# uses have caught up; a short training then looks broken although its loss is fine.
BATCH_NORM_MOMENTUM = 0.9

# The maps of MobileNetV2 that a decoder takes up, from 1/2 to 1/32 of the image's size.
TAPS = (
    "block_1_expand_relu",
    "block_3_expand_relu",
    "block_6_expand_relu",
    "block_13_expand_relu",
    "block_16_project",
)
ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)  # widths of MobileNetV2 with ImageNet weights
DECODERS = {"light": (128, 96, 64, 32), "pix2pix": (512, 256, 128, 64)}


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
    _check_counts(classes=classes, width=width, depth=depth)
    height, width_px = _checked_size(input_size, depth)
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
    height, width_px = _checked_size(input_size, depth=len(TAPS))
    if decoder not in DECODERS:
        raise ValueError(f"decoder={decoder!r} is unknown: expected {' or '.join(DECODERS)}.")
    widths = DECODERS[decoder] if widths is None else tuple(widths)
    if len(widths) != len(TAPS) - 1:
        raise ValueError(f"widths={widths}: expected {len(TAPS) - 1} numbers, one a level.")
    _check_counts(classes=classes, **{f"widths[{i}]": width for i, width in enumerate(widths)})

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


def double_convolution(x, channels, name):
    """Twice: 3x3 convolution, batch normalization, ReLU. (B, H, W, C) -> (B, H, W, channels)."""
    for i in (1, 2):
        x = convolution(x, channels, 3, name, i)
    return x


def convolution(x, channels, kernel_size, name, number="", strides=1):
    """Convolution, batch normalization, ReLU. (B, H, W, C) -> (B, H, W, channels), where strides
    is 1."""
    x = layers.Conv2D(
        channels,
        kernel_size,
        strides,
        padding="same",
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
        )
    )
    block.add(layers.BatchNormalization(momentum=momentum))
    if apply_dropout:
        block.add(layers.Dropout(0.5))
    block.add(layers.ReLU())
    return block


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


def _checked_size(input_size, depth):
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


def _check_counts(**counts):
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}: expected a whole number of at least 1.")
