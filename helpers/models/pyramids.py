"""Decoders that look at several scales at once. They take and give what those in
``helpers.models.decoders`` do, and end with a bilinear enlargement."""

from keras import layers

from helpers.models.blocks import convolution


def fpn(maps, image, classes, widths):
    """Feature pyramid (Lin et al., CVPR 2017, https://arxiv.org/abs/1612.03144) with the head for
    segmentation of Kirillov et al. (CVPR 2019, https://arxiv.org/abs/1901.02446), which has group
    normalization where this one has batch normalization. Widths: of the pyramid, of the head."""
    pyramid, head = widths
    summed = []
    for level in (5, 4, 3, 2):
        lateral = layers.Conv2D(pyramid, 1, name=f"lateral_{level}")(maps[level])
        if level == 5:
            top_down = lateral
        else:
            top_down = layers.UpSampling2D(2, name=f"top_down_{level}_enlarge")(top_down)
            top_down = layers.Add(name=f"top_down_{level}")([top_down, lateral])
        x = layers.Conv2D(pyramid, 3, padding="same", name=f"pyramid_{level}")(top_down)
        for step in range(max(1, level - 2)):  # up to 1/4 of the image's size
            x = convolution(x, head, 3, name=f"head_{level}", number=step + 1)
            if level > 2:
                x = enlarge(x, 2, name=f"head_{level}_enlarge{step + 1}")
        summed.append(x)
    x = layers.Add(name="head")(summed)
    x = layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return enlarge(x, 4, name="full_size")


def deeplabv3_plus(maps, image, classes, widths):
    """DeepLabv3+ (Chen et al., ECCV 2018, https://arxiv.org/abs/1802.02611): the map at 1/16 seen
    through holes of several sizes (atrous spatial pyramid pooling), then refined at 1/4. The
    encoder ends at 1/16; its own convolutions have no holes. Widths: of the pyramid and the
    refinement, of the map at 1/4."""
    wide, narrow = widths
    deep = maps[4]
    whole = layers.GlobalAveragePooling2D(keepdims=True, name="aspp_pool")(deep)
    whole = convolution(whole, wide, 1, name="aspp_whole")
    whole = layers.UpSampling2D(deep.shape[1:3], name="aspp_whole_enlarge")(whole)
    branches = [convolution(deep, wide, 1, name="aspp_1"), whole]
    for rate in (6, 12, 18):
        branches.append(convolution(deep, wide, 3, name=f"aspp_{rate}", dilation=rate))
    x = layers.Concatenate(name="aspp_all")(branches)
    x = convolution(x, wide, 1, name="aspp")
    x = enlarge(x, 4, name="aspp_enlarge")
    x = layers.Concatenate(name="skip")([x, convolution(maps[2], narrow, 1, name="squeeze")])
    for number in (1, 2):
        x = convolution(x, wide, 3, name="refine", number=number)
    x = layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return enlarge(x, 4, name="full_size")


def lraspp(maps, image, classes, widths):
    """Lite reduced atrous spatial pyramid pooling, of MobileNetV3 (Howard et al., ICCV 2019,
    https://arxiv.org/abs/1905.02244, figure 10): the map at 1/16, each channel weighed by what
    the whole image shows, and the one at 1/8. The encoder ends at 1/16. Widths: of the first."""
    (width,) = widths
    weights = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(maps[4])
    weights = layers.Conv2D(width, 1, use_bias=False, activation="sigmoid", name="weights")(
        weights
    )
    x = convolution(maps[4], width, 1, name="features")
    x = layers.Multiply(name="weighed")([x, weights])
    x = enlarge(x, 2, name="enlarge")
    coarse = layers.Conv2D(classes, 1, dtype="float32", name="logits_coarse")(x)
    fine = layers.Conv2D(classes, 1, dtype="float32", name="logits_fine")(maps[3])
    x = layers.Add(dtype="float32", name="logits")([coarse, fine])
    return enlarge(x, 8, name="full_size")


def enlarge(x, times, name):
    """Bilinear: (B, H, W, C) -> (B, times H, times W, C), of the same dtype."""
    return layers.UpSampling2D(times, interpolation="bilinear", dtype=x.dtype, name=name)(x)
