"""Painting of outlines, in light and with texture."""

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def new_layers(size, colour):
    """What shapes are drawn on, flat and hard-edged, before light falls on them: images of a size
    (width, height) of their colours (RGB), their height (L, low along their rims: what makes them
    look round) and their grain (L, how strongly a texture shows)."""
    return Image.new("RGB", size, colour), Image.new("L", size, 255), Image.new("L", size, 0)


def draw(layers, outline, colour, grain=0, rim=3, depth=0):
    """Draws an outline (N, 2) in pixels; ``rim`` is its low edge's width, ``depth`` its level.

    Without a rim the shape is a flat mark on what is below it.
    """
    points = outline.ravel().tolist()
    colours, heights, grains = (ImageDraw.Draw(layer) for layer in layers)
    colours.polygon(points, fill=colour)
    grains.polygon(points, fill=grain)
    if rim:
        if depth == 0:
            heights.polygon(points, fill=255)
        heights.line(points + points[:4], fill=depth, width=rim)


def relief(height, radius):
    """Light (H, W) float32 about 1 from the upper left on a relief given as L image."""
    soft = height.filter(ImageFilter.BoxBlur(radius))
    level = np.asarray(soft, np.float32) / 255
    step = max(1, int(radius))
    around = np.pad(level, step, mode="edge")
    slope = around[2 * step :, 2 * step :] - around[: -2 * step, : -2 * step]
    return 0.45 + 0.57 * level + 0.22 * slope


def lit(picture, light):
    """An RGB picture (H, W, 3) uint8 under a light (H, W, 1 or 3) float32."""
    return np.clip(np.asarray(picture, np.float32) * light, 0, 255).astype(np.uint8)


def paint(pictures, outlines, colour, opacity=255):
    """Paints outlines in pixels, with smooth edges, on each picture: for small things on top."""
    corners = np.concatenate(outlines)
    left, top = np.maximum(corners.min(0), 0).astype(int).tolist()
    right, bottom = np.minimum(corners.max(0) + 2, pictures[0].size).astype(int).tolist()
    if right <= left or bottom <= top:
        return
    mask = Image.new("L", (4 * (right - left), 4 * (bottom - top)))
    for outline in outlines:
        points = (outline - (left, top)) * 4
        ImageDraw.Draw(mask).polygon(points.ravel().tolist(), fill=opacity)
    for picture in pictures:
        picture.paste(colour, (left, top, right, bottom), mask.reduce(4))


def noise(rng, size, cell):
    """Smooth random field (H, W) float32 of about unit range, with blots of ``cell`` = (x, y)."""
    small = (max(2, int(size[0] / cell[0])), max(2, int(size[1] / cell[1])))
    values = rng.standard_normal(small[::-1], dtype=np.float32)
    return np.asarray(Image.fromarray(values).resize(size, Image.BICUBIC))


@functools.cache
def noise_sheet(cell):
    """The field of noise that ``texture`` cuts from: made once, which is much faster."""
    return noise(np.random.default_rng(0), (640, 640), cell)


def texture(rng, size, cell):
    """Noise (H, W) float32 of about unit range, cut at random from a sheet."""
    x, y = rng.integers(0, 320, 2)
    return noise_sheet(cell)[y : y + size[1], x : x + size[0]]
