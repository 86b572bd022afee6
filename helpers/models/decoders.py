"""Decoders in the shape of a U: from the smallest map up, a level at a time.

Every decoder takes ``maps``, a dict from level to feature map, where level n has 1/2**n of the
image's size; ``image``, the scaled pixels; ``classes`` and ``widths``. It gives logits at the
image's size. Level 1 may be missing: some encoders start at 1/4.
"""

from keras import layers

from helpers.models.blocks import BATCH_NORM_MOMENTUM, convolution, double_convolution, upsample


def light(maps, image, classes, widths):
    """Squeezes the encoder's maps by 1x1 convolutions, enlarges by repeating pixels, has one 3x3
    convolution a level, and looks at the image once more at the last."""
    x = maps[5]
    for level, width in zip((4, 3, 2, 1), widths):
        name = f"up_{5 - level}"
        joined = [layers.UpSampling2D(2, name=f"{name}_enlarge")(x)]
        if level in maps:
            joined.append(convolution(maps[level], max(1, width // 2), 1, name=f"{name}_squeeze"))
        if level == 1:
            # What lies between the pixels of the encoder's first map, an outline's exact place,
            # comes from the image itself.
            joined.append(convolution(image, 16, 4, name="detail", strides=2))
        x = layers.Concatenate(name=f"{name}_skip")(joined)
        x = convolution(x, width, 3, name=name)
    return double_size_logits(x, classes)


def pix2pix(maps, image, classes, widths):
    """TensorFlow's tutorial's: transposed convolutions, each followed by the encoder's map."""
    x = maps[5]
    for level, width in zip((4, 3, 2, 1), widths):
        name = f"up_{5 - level}"
        x = upsample(width, 3, momentum=BATCH_NORM_MOMENTUM, name=name)(x)
        if level in maps:
            x = layers.Concatenate(name=f"{name}_skip")([x, maps[level]])
    return double_size_logits(x, classes, kernel_size=3)


def attention(maps, image, classes, widths):
    """Attention U-Net (Oktay et al., MIDL 2018, https://arxiv.org/abs/1804.03999): each map of
    the encoder is weighed by a gate, which the level below opens where it matters."""
    x = maps[5]
    for level, width in zip((4, 3, 2, 1), widths):
        name = f"up_{5 - level}"
        joined = [layers.UpSampling2D(2, name=f"{name}_enlarge")(x)]
        if level in maps:
            joined.append(attention_gate(maps[level], x, max(1, width // 2), name=f"{name}_gate"))
        x = layers.Concatenate(name=f"{name}_skip")(joined) if level in maps else joined[0]
        x = double_convolution(x, width, name=name)
    return double_size_logits(x, classes)


def attention_gate(skip, gate, channels, name):
    """Figure 2 of the paper: skip (B, 2H, 2W, C), weighed by numbers from 0 to 1, one a pixel,
    which come from itself and from gate (B, H, W, D)."""
    from_skip = layers.Conv2D(channels, 2, 2, use_bias=False, name=f"{name}_skip")(skip)
    from_gate = layers.Conv2D(channels, 1, name=f"{name}_gate")(gate)
    x = layers.Add(name=f"{name}_add")([from_skip, from_gate])
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_weights")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_enlarge")(x)
    return layers.Multiply(name=name)([skip, x])


def unet_plus_plus(maps, image, classes, widths):
    """UNet++ (Zhou et al., DLMIA 2018, https://arxiv.org/abs/1807.10165), without its deep
    supervision: between encoder and decoder lie more nodes, each joined with all before it on
    its level and with the one below."""
    nodes = {(level, 0): x for level, x in maps.items()}
    for column in (1, 2, 3, 4):
        for level in range(1, 6 - column):
            name = f"node_{level}_{column}"
            row = [nodes[level, j] for j in range(column) if (level, j) in nodes]
            below = layers.UpSampling2D(2, name=f"{name}_enlarge")(nodes[level + 1, column - 1])
            x = layers.Concatenate(name=f"{name}_skip")([*row, below]) if row else below
            nodes[level, column] = double_convolution(x, widths[4 - level], name=name)
    return double_size_logits(nodes[1, 4], classes)


def double_size_logits(x, classes, kernel_size=4):
    """(B, H, W, C) -> (B, 2H, 2W, classes), float32. A kernel of 4 overlaps evenly: no
    checkerboard."""
    return layers.Conv2DTranspose(
        classes, kernel_size, strides=2, padding="same", dtype="float32", name="logits"
    )(x)
