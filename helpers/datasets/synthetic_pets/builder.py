"""Drawn cats and dogs: a stand-in for TFDS ``oxford_iiit_pet`` where there is no network.

``SyntheticPets`` is a TFDS builder with the features and label names of ``oxford_iiit_pet:4.0.0``
and 400 train and 100 test examples, each drawn by ``draw_pet`` from a seed of its own. It lets the
whole pipeline run, from reading to figures, without a download.

It is not a benchmark: the pictures are illustrations made of smooth shapes, and a score on them
says nothing about real photographs.

How a picture comes about: a scene (room or garden) is drawn as flat shapes, then lit; so is the
pet, whose parts (outlines in head radii) come from one of six poses. Each part is added to a
silhouette too, and the mask is computed from that silhouette alone.
"""

import functools
import io
from typing import ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageDraw, ImageFilter

VERSION = "1.0.0"  # of the drawings: the seeds follow from it
SPLIT_SIZES = {"train": 400, "test": 100}
SPECIES = ["Cat", "Dog"]
PET, BACKGROUND, BORDER = 1, 2, 3  # the values of the trimap, as in the real data set
BORDER_RADIUS = 0.015  # half width of the border band, as a share of the image's long side
TALL = [(200, 280), (225, 300), (240, 320), (210, 260)]  # (width, height) in pixels
WIDE = [(300, 225), (320, 240), (280, 210), (300, 200), (256, 256)]

FUR = {
    "black": (46, 43, 46), "grey": (128, 130, 136), "blue": (108, 118, 130),
    "white": (238, 234, 226), "cream": (232, 208, 170), "ginger": (206, 126, 62),
    "red": (160, 84, 48), "brown": (116, 78, 54), "dark": (72, 55, 46),
    "sand": (200, 164, 116), "silver": (184, 184, 186), "pink": (224, 180, 164),
}  # fmt: skip
DARK, PALE, PINK = (38, 28, 32), (242, 236, 224), (210, 146, 138)
BRIGHT = [(196, 70, 60), (64, 120, 160), (226, 178, 66), (88, 140, 108), (150, 96, 150)]
FURS = list(FUR.values())
PALETTE = {  # what the scenes are painted with
    "wall": [(214, 200, 178), (150, 172, 168), (196, 150, 134), (120, 134, 150), (222, 214, 204),
             (164, 142, 112), (94, 110, 98), (206, 180, 120), (140, 112, 124), (84, 88, 104)],
    "floor": [(150, 104, 66), (196, 160, 116), (104, 76, 58), (168, 160, 150), (122, 128, 120),
              (206, 190, 168), (134, 84, 70), (84, 78, 76)],
    "leaf": [(104, 140, 70), (142, 150, 80), (176, 158, 98), (86, 118, 82), (160, 124, 74)],
    "sky": [(158, 196, 222), (214, 214, 208), (236, 200, 168), (180, 188, 206)],
    "bright": BRIGHT, "cloth": BRIGHT + FURS, "straw": FURS, "wood": [FUR["brown"]],
    "pale": [PALE], "dark": [DARK],
}  # fmt: skip

# Breed: main fur, second fur, pattern, ears, coat. In the order of the real data set's labels;
# a name with a capital is a cat, also as there.
LOOKS = {
    "Abyssinian": "red sand plain pointed short",
    "american_bulldog": "white brown patches folded short",
    "american_pit_bull_terrier": "brown white plain folded short",
    "basset_hound": "white brown patches long short", "beagle": "dark ginger saddle floppy short",
    "Bengal": "ginger cream spots pointed short", "Birman": "cream dark points pointed long",
    "Bombay": "black black plain pointed short", "boxer": "ginger dark points folded short",
    "British_Shorthair": "blue blue plain pointed plush",
    "chihuahua": "sand white plain pointed short",
    "Egyptian_Mau": "silver white spots pointed short",
    "english_cocker_spaniel": "ginger ginger plain long long",
    "english_setter": "white dark spots floppy long",
    "german_shorthaired": "grey dark patches floppy short",
    "great_pyrenees": "white cream plain floppy long",
    "havanese": "cream brown patches floppy long",
    "japanese_chin": "white black patches floppy long",
    "keeshond": "grey silver tabby pointed long", "leonberger": "ginger dark points floppy long",
    "Maine_Coon": "brown sand tabby pointed long",
    "miniature_pinscher": "black ginger tan pointed short",
    "newfoundland": "black black plain floppy long", "Persian": "white cream plain pointed long",
    "pomeranian": "ginger cream plain pointed long", "pug": "sand black points folded short",
    "Ragdoll": "white grey points pointed long", "Russian_Blue": "blue silver plain pointed short",
    "saint_bernard": "white red patches floppy long", "samoyed": "white white plain pointed long",
    "scottish_terrier": "black black plain pointed long",
    "shiba_inu": "ginger white plain pointed plush", "Siamese": "cream dark points pointed short",
    "Sphynx": "pink pink plain pointed bald",
    "staffordshire_bull_terrier": "blue white plain folded short",
    "wheaten_terrier": "sand cream plain folded long",
    "yorkshire_terrier": "blue ginger saddle pointed long",
}  # fmt: skip
BREEDS = list(LOOKS)
RAGGED = {"bald": 0.0, "short": 0.25, "plush": 0.4, "long": 0.6}  # fur edge, in border radii
SECOND = {  # pattern: the parts of the body that wear the second fur
    "points": {"leg", "paw", "tail", "ear"},
    "saddle": {"leg", "head", "muzzle"},
    "tan": {"leg", "paw", "muzzle", "chest"},
    "patches": set(),
}
OTHERWISE = {"chest", "muzzle", "paw"}


# ---------------------------------------------------------------------------------------- shapes

CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 29)[:-1]) for f in (np.cos, np.sin)], 1)
ALONG = np.linspace(0, 1, 12)[:, None]
ARC = np.linspace(0, np.pi, 8)[1:-1, None]


def ellipse(x, y, rx, ry):
    """Outline (28, 2) of an ellipse."""
    return CIRCLE * (rx, ry) + (x, y)


def rectangle(x, y, width, height):
    """Outline (4, 2) of a rectangle whose bottom centre is (x, y)."""
    left, right = x - width / 2, x + width / 2
    return np.array([(left, y - height), (right, y - height), (right, y), (left, y)])


def blob(points):
    """Smooth closed outline through the neighbourhood of ``points``, by cutting corners."""
    points = np.asarray(points, float)
    for _ in range(3):
        after = np.roll(points, -1, 0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1)
        points = points.reshape(-1, 2)
    return points


def mirrored(half):
    """Smooth outline symmetric about x = 0 from its right half, listed from top to bottom."""
    half = np.asarray(half, float)
    return blob(np.concatenate([half, half[::-1] * (-1, 1)]))


@functools.lru_cache(maxsize=512)  # most limbs and strokes are the same in every picture
def limb(start, bend, end, width, end_width=None):
    """Outline of a leg, tail or stroke: a quadratic curve with a radius and round ends."""
    start, bend, end = (np.asarray(p, float) for p in (start, bend, end))
    path = (1 - ALONG) ** 2 * start + 2 * ALONG * (1 - ALONG) * bend + ALONG**2 * end
    radius = width + ALONG * ((width if end_width is None else end_width) - width)
    ahead = np.gradient(path, axis=0)
    ahead = ahead / np.sqrt((ahead**2).sum(1, keepdims=True))
    side = ahead[:, ::-1] * (1, -1)
    far = path[-1] + radius[-1] * (np.cos(ARC) * side[-1] + np.sin(ARC) * ahead[-1])
    near = path[0] - radius[0] * (np.cos(ARC) * side[0] + np.sin(ARC) * ahead[0])
    return np.concatenate([path + radius * side, far, (path - radius * side)[::-1], near])


def turn(points, angle):
    """Rotates points (..., 2) about the origin by ``angle`` radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


# -------------------------------------------------------------------------------------- painting


class Layers(NamedTuple):
    """What shapes are drawn on, flat and hard-edged, before light falls on them."""

    colour: ImageDraw.ImageDraw  # RGB
    height: ImageDraw.ImageDraw  # L, low along the rims of shapes: what makes them look round
    grain: ImageDraw.ImageDraw  # L, how strongly a texture shows


def new_layers(size, colour):
    """The images (RGB, L, L) of a size (width, height), and the ``Layers`` to draw on them."""
    fills = [("RGB", colour), ("L", 255), ("L", 0)]
    images = [Image.new(mode, size, fill) for mode, fill in fills]
    return images, Layers(*(ImageDraw.Draw(image) for image in images))


def draw(layers, outline, colour, grain=0, rim=3, depth=0):
    """Draws an outline (N, 2) in pixels; ``rim`` is its low edge's width, ``depth`` its level.

    Without a rim the shape is a flat mark on what is below it.
    """
    points = outline.ravel().tolist()
    layers.colour.polygon(points, fill=colour)
    layers.grain.polygon(points, fill=grain)
    if rim:
        if depth == 0:
            layers.height.polygon(points, fill=255)
        layers.height.line(points + points[:4], fill=depth, width=rim)


def round_light(height, radius):
    """Light (H, W) float32 about 1 from the upper left on a relief given as L image."""
    soft = height.filter(ImageFilter.BoxBlur(radius))
    level = np.asarray(soft, np.float32) / 255
    step = max(1, int(radius))
    around = np.pad(level, step, mode="edge")
    slope = around[2 * step :, 2 * step :] - around[: -2 * step, : -2 * step]
    return 0.45 + 0.57 * level + 0.22 * slope


def lit(picture, light):
    """An RGB picture under a light (H, W) float32, or under one for each band."""
    lights = light if isinstance(light, list) else [light] * 3
    bands = [
        np.clip(np.asarray(band, np.float32) * factor, 0, 255).astype(np.uint8)
        for band, factor in zip(picture.split(), lights, strict=True)
    ]
    return Image.merge("RGB", [Image.fromarray(band) for band in bands])


def paint(picture, outlines, colour, opacity=255):
    """Paints a list of outlines (N, 2), in pixels, with smooth edges: for small things on top."""
    corners = np.concatenate(outlines)
    left, top = np.maximum(corners.min(0), 0).astype(int).tolist()
    right, bottom = np.minimum(corners.max(0) + 2, picture.size).astype(int).tolist()
    if right <= left or bottom <= top:
        return
    mask = Image.new("L", (4 * (right - left), 4 * (bottom - top)))
    for outline in outlines:
        points = (outline - (left, top)) * 4
        ImageDraw.Draw(mask).polygon(points.ravel().tolist(), fill=opacity)
    picture.paste(colour, (left, top, right, bottom), mask.reduce(4))


def noise(rng, size, cell):
    """Smooth random field (H, W) float32 of about unit range, with blots of ``cell`` = (x, y)."""
    small = (max(2, int(size[0] / cell[0])), max(2, int(size[1] / cell[1])))
    values = rng.standard_normal(small[::-1], dtype=np.float32)
    return np.asarray(Image.fromarray(values).resize(size, Image.BICUBIC))


@functools.cache
def noise_sheet(cell):
    """A large field of noise, made once, which ``texture`` cuts from: that is much faster."""
    return noise(np.random.default_rng(0), (640, 640), cell)


def texture(rng, size, cell):
    """Noise (H, W) float32 of about unit range, cut at random from a sheet."""
    x, y = rng.integers(0, 320, 2)
    return noise_sheet(cell)[y : y + size[1], x : x + size[0]]


def jitter(rng, colour, amount=0.06):
    """A colour near ``colour``: (3,) ints in 0..255, its brightness changed more than its hue."""
    factor = 1 + rng.normal(0, amount)
    change = rng.normal(0, amount / 4, 3).tolist()
    return tuple(
        int(min(250, max(8, c * (factor + d)))) for c, d in zip(colour, change, strict=True)
    )


def pick(rng, colours):
    """One of ``colours``, a little changed."""
    return jitter(rng, colours[rng.integers(len(colours))], 0.05)


def mix(colour, other, share):
    """The colour with a share of another one in it."""
    return tuple(int(a + (b - a) * share) for a, b in zip(colour, other, strict=True))


# ----------------------------------------------------------------------------------- backgrounds


def leaf(angle, length):
    """Outline of one leaf of a plant in a pot."""
    x, y = length * float(np.sin(angle)), -length * float(np.cos(angle))
    return limb((0, 0), (0.3 * x, 0.8 * y), (x, y), 0.03, 0.1) - (0, 0.5)


# Furniture and plants: shapes of unit size, back to front, with their foot at the origin:
# (a name in ``PALETTE``, how strongly the texture shows, the outline).
BOARD = np.array([(0, 0), (0, -0.9), (0.12, -1.05), (0.24, -0.9), (0.24, 0)])
PANES = [(-0.25, -0.08), (-0.25, -0.77), (0.25, -0.08), (0.25, -0.77)]
SOFA = [(0, 3.0, 1.5), (0, 2.6, 0.7), (-1.5, 0.5, 1.0), (1.5, 0.5, 1.0)]
THINGS = {
    "sofa": [("cloth", 60, blob(rectangle(x, 0.1, w, h).repeat(2, 0))) for x, w, h in SOFA],
    "cushion": [("cloth", 130, blob(turn(rectangle(0, 0, 1.3, 0.9).repeat(2, 0), 0.15)))],
    "ball": [
        ("bright", 0, ellipse(0, -0.25, 0.25, 0.25)),
        ("pale", 0, turn(ellipse(0, 0, 0.25, 0.08), 0.5) - (0, 0.25)),
    ],
    "plant": [
        ("leaf", 0, leaf(a, 1.1 - 0.3 * abs(a))) for a in (-1.1, 1.1, -0.7, 0.7, -0.3, 0.3, 0)
    ]
    + [("cloth", 30, np.array([(-0.35, -0.6), (0.35, -0.6), (0.25, 0), (-0.25, 0)]))],
    "lamp": [
        ("wood", 0, limb((0, 0), (0, -1), (0, -2), 0.035)),
        ("bright", 20, np.array([(-0.3, -2.5), (0.3, -2.5), (0.5, -1.8), (-0.5, -1.8)])),
    ],
    "basket": [
        ("straw", 150, np.array([(-0.6, -0.7), (0.6, -0.7), (0.48, 0), (-0.48, 0)])),
        ("dark", 0, ellipse(0, -0.7, 0.6, 0.12)),
    ],
    "rug": [
        (c, 130, ellipse(0, 0, r, 0.3 * r))
        for c, r in (("cloth", 1), ("bright", 0.8), ("straw", 0.6))
    ],
    "window": [("pale", 0, rectangle(0, 0, 1.1, 1.5))]
    + [("sky", 0, rectangle(x, y, 0.44, 0.62)) for x, y in PANES],
    "frame": [
        ("wood", 0, rectangle(0, 0, 0.9, 0.8)),
        ("pale", 0, rectangle(0, -0.07, 0.76, 0.66)),
        ("bright", 0, rectangle(0, -0.16, 0.58, 0.48)),
    ],
    "tree": [("wood", 100, limb((0, 0), (0.05, -1), (0, -1.6), 0.14, 0.09))]
    + [
        ("leaf", 130, ellipse(x, y, 0.6, 0.45)) for x, y in ((-0.4, -1.7), (0.4, -1.75), (0, -2.1))
    ],
    "bush": [("leaf", 130, ellipse(x, -0.3, 0.45, 0.4)) for x in (-0.35, 0.35, 0)],
    "fence": [("wood", 0, rectangle(0, -0.5, 3.6, 0.14))]
    + [("straw", 60, BOARD + (x, 0)) for x in np.arange(-5, 5) * 0.34],
    "flower": [("bright", 0, ellipse(x, y, 0.7, 0.7)) for x, y in CIRCLE[::6]]
    + [("straw", 0, ellipse(0, 0, 0.6, 0.6))],
}


def palette_for(fur):
    """``PALETTE`` without what is too near to the pet's colours, a list of RGB: no camouflage.

    The other fur colours stay, so that colour alone does not tell a pet from a thing.
    """

    def distance(colour):
        return min(sum((a - b) ** 2 for a, b in zip(colour, f, strict=True)) for f in fur) ** 0.5

    return {
        name: [c for c in colours if distance(c) > 75] or [max(colours, key=distance)]
        for name, colours in PALETTE.items()
    }


def place(scene, rng, palette, name, x, y, s):
    """Draws a thing of size ``s`` (pixels) with its foot at (x, y), perhaps mirrored."""
    things = THINGS[name]
    colours = {c: pick(rng, palette[c]) for c in dict.fromkeys(c for c, _, _ in things)}
    scale = s * rng.uniform(0.85, 1.15) * np.array([rng.choice([-1, 1]), 1])
    for colour, grain, outline in things:
        shade = jitter(rng, colours[colour], 0.05)
        draw(scene, outline * scale + (x, y), shade, grain, rim=0 if name == "flower" else 3)


def paint_scene(rng, size, horizon, palette):
    """A room or a garden (RGB), a little blurred."""
    furnish, ground = (room, "wall") if rng.random() < 0.6 else (garden, "sky")
    (colour, height, grain), scene = new_layers(size, pick(rng, palette[ground]))
    furnish(scene, rng, palette, size, horizon)
    light = round_light(height, 0.016 * max(size))
    light += np.asarray(grain, np.float32) / 1000 * texture(rng, size, (1.6, 5))
    light += 0.04 * texture(rng, size, (60, 40))
    return lit(colour, light).filter(ImageFilter.BoxBlur(rng.uniform(0.6, 1.4)))


def room(scene, rng, palette, size, horizon):
    """Furnishes a wall: wallpaper, a floor from ``horizon`` (pixel row) on, furniture, a rug."""
    long = max(size)
    wallpaper(scene, rng, palette, size)
    for name in rng.choice(["window", "frame"], rng.integers(1, 3)):
        place(scene, rng, palette, name, rng.uniform(0, size[0]), 0.6 * horizon, 0.24 * long)
    lay_floor(scene, rng, palette, size, horizon)
    names = ["sofa", "plant", "lamp", "basket", "cushion", "ball"]
    for name in rng.choice(names, 4, replace=False):
        y = horizon + rng.uniform(0.02, 0.12) * size[1]
        place(scene, rng, palette, name, rng.uniform(0, size[0]), y, 0.2 * long)
    if rng.random() < 0.6:
        place(scene, rng, palette, "rug", size[0] / 2, 0.92 * size[1], 0.5 * size[0])


def garden(scene, rng, palette, size, horizon):
    """Fills a sky: hills, a meadow from ``horizon`` (pixel row) on, trees and flowers."""
    grass, (width, height) = pick(rng, palette["leaf"]), size
    for x in rng.uniform(0, width, 3):
        hill = ellipse(x, horizon, 0.45 * width, 0.4 * horizon)
        draw(scene, hill, mix(jitter(rng, grass), PALETTE["sky"][0], 0.4), 40)
    draw(scene, rectangle(width / 2, height + 9, 2 * width, height + 9 - horizon), grass, 150)
    names = ["tree", "tree", "bush", "fence", "ball", "basket"]
    for name in rng.choice(names, 4, replace=False):
        y = horizon + rng.uniform(0.01, 0.1) * height
        place(scene, rng, palette, name, rng.uniform(0, width), y, 0.22 * max(size))
    for x, y in rng.uniform((0, horizon), size, (8, 2)):
        place(scene, rng, palette, "flower", x, y, 0.012 * max(size))


def wallpaper(scene, rng, palette, size):
    """Stripes, dots or nothing on the wall."""
    width, height = size
    step = rng.uniform(0.07, 0.12) * max(size)
    kind, colour = rng.integers(3), mix(pick(rng, palette["wall"]), PALE, 0.4)
    for x in np.arange(0, width, step) if kind else []:
        if kind == 1:
            draw(scene, rectangle(x, height, step / 2, height), colour, rim=0)
            continue
        for y in np.arange(0, 0.7 * height, step):
            draw(scene, ellipse(x + y / 2 % step, y, step / 7, step / 7), colour, rim=0)


def lay_floor(scene, rng, palette, size, horizon):
    """A floor, often of boards that run to a vanishing point, and a skirting board."""
    (width, height), colour = size, pick(rng, palette["floor"])
    draw(scene, rectangle(width / 2, height + 9, 2 * width, height + 9 - horizon), colour, 70)
    board = np.array([(0, horizon), (0.1, horizon), (0.25, height), (0, height)])
    for i in range(-5, 5) if rng.random() < 0.6 else []:
        slant = np.array([0.2, 0.2, 0.5, 0.5])[:, None] * (i, 0) + (0.5, 0)
        draw(scene, (board + slant) * (width, 1), mix(colour, DARK, 0.2), 90, rim=0)
    skirting = rectangle(width / 2, horizon + 2, 2 * width, 0.03 * width)
    draw(scene, skirting, mix(colour, PALE, 0.7), rim=2)


# ------------------------------------------------------------------------------------------ pets
#
# A part of a pet is a pair: its role (a name; which fur it wears depends on it) and its outline in
# head radii. Lists of parts run back to front.


class Pose(NamedTuple):
    """A body in head radii, feet at y = 0: parts behind the head, its place, parts before it."""

    body: list
    head: tuple
    front: tuple = ()
    asleep: bool = False


def sit_front(rng, tail):
    """Sits and faces us. ``tail``, here and below, is the tail's radius."""
    half = [(0, -3.9), (0.75, -3.5), (0.8, -2.5), (1.35, -1.5), (1.6, -0.5), (1.3, 0.05)]
    side = rng.choice([-1, 1])
    curl = limb((1.1 * side, -0.3), (2.6 * side, 0.2), (2.3 * side, -1.4), tail, tail * 0.8)
    parts = [("tail", curl), ("body", mirrored(half)), ("chest", ellipse(0, -2.2, 0.62, 1.1))]
    parts += [("body", ellipse(x, -0.75, 0.62, 0.85)) for x in (-0.95, 0.95)]
    parts += [("paw", ellipse(x, -0.1, 0.48, 0.26)) for x in (-1.15, 1.15)]
    for x in (-0.4, 0.4):
        parts += [("leg", limb((x, -2.1), (x * 1.1, -1), (x * 0.95, -0.15), 0.36, 0.28))]
        parts += [("paw", ellipse(x, -0.02, 0.4, 0.24))]
    return Pose(parts, (0, -4.1))


def sit_side(rng, tail):
    """Sits seen from the side, the head turned to us."""
    back = [(-0.2, -3.9), (0.9, -3.2), (1.7, -1.9), (2.1, -0.4), (1.6, 0.1), (-0.6, 0.05)]
    parts = [
        ("tail", limb((1.5, -0.3), (3.0, 0.3), (3.1, -1.2), tail, tail * 0.8)),
        ("leg", limb((-0.45, -2.2), (-0.3, -1.0), (-0.35, -0.1), 0.4, 0.27)),
        ("body", blob([*back, (-1.0, -1.6), (-1.4, -2.8), (-1.0, -3.8)])),
        ("chest", blob([(-1.3, -3.2), (-0.7, -3.0), (-0.6, -1.9), (-1.0, -1.5)])),
        ("body", ellipse(0.95, -0.9, 0.85, 0.85)),
        ("paw", ellipse(0.4, -0.05, 0.68, 0.25)),
        ("leg", limb((-0.75, -2.2), (-0.8, -1.0), (-0.8, -0.15), 0.42, 0.28)),
        ("paw", ellipse(-0.9, -0.02, 0.42, 0.24)),
    ]
    return Pose(parts, (-0.6, -4.15))


def stand(rng, tail):
    """Stands seen from the side, the head turned to us."""
    lift = rng.uniform(-1.6, 1.0)
    back = [(-1.7, -3.2), (0, -2.9), (1.6, -3.2), (2.3, -2.5), (2.0, -1.3), (0.6, -1.35)]
    parts = [
        ("tail", limb((1.7, -2.6), (2.9, -2.6 + lift), (3.0, -3.0 + lift), tail, tail * 0.7)),
        ("leg", limb((-0.9, -1.9), (-0.7, -1), (-0.7, -0.25), 0.42, 0.27)),
        ("leg", limb((1.75, -1.9), (2.0, -1), (2.0, -0.25), 0.42, 0.27)),
        ("body", blob([*back, (-1.2, -1.1), (-2.1, -1.9)])),
        ("body", limb((-1.4, -2.3), (-1.7, -3.0), (-1.9, -3.5), 0.85, 0.7)),
        ("chest", blob([(-2.3, -3.0), (-1.5, -2.9), (-1.2, -1.7), (-1.8, -1.6)])),
    ]
    for x, wide in ((-1.35, 0.42), (1.5, 0.55)):
        parts += [("leg", limb((x, -1.9), (x - 0.1, -1), (x, -0.2), wide, 0.28))]
        parts += [("paw", ellipse(x - 0.12, -0.05, 0.42, 0.24))]
    return Pose(parts, (-2.0, -3.95))


def lie(rng, tail):
    """Lies with the fore legs stretched out, the head up."""
    back = [(-1.7, -2.3), (0, -2.0), (1.5, -2.2), (2.6, -1.2), (2.5, 0.1), (-1.6, 0.1)]
    parts = [
        ("tail", limb((2.1, -0.4), (3.6, 0.3), (3.9, -0.9), tail, tail * 0.8)),
        ("leg", limb((-1.3, -0.6), (-2.0, -0.4), (-2.9, -0.3), 0.36, 0.28)),
        ("body", blob([*back, (-2.2, -1.0)])),
        ("chest", blob([(-2.2, -2.0), (-1.3, -1.9), (-1.1, -0.7), (-1.9, -0.5)])),
        ("body", ellipse(1.6, -0.85, 0.95, 0.9)),
        ("paw", ellipse(1.0, 0.0, 0.75, 0.26)),
        ("leg", limb((-0.9, -0.5), (-1.6, -0.2), (-2.6, -0.05), 0.42, 0.3)),
        ("paw", ellipse(-2.65, -0.03, 0.42, 0.28)),
    ]
    return Pose(parts, (-1.65, -2.55))


def curl(rng, tail):
    """Sleeps curled up, the tail round the front."""
    back = [(-2.1, -1.5), (0, -2.4), (2.2, -1.9), (2.9, -0.5), (2.0, 0.3), (-2.0, 0.3)]
    parts = [
        ("body", blob(back)),
        ("body", ellipse(1.35, -0.85, 1.1, 0.95)),
        ("paw", limb((-0.3, -0.2), (-1.0, 0.2), (-2.0, 0.1), 0.36, 0.3)),
    ]
    around = limb((2.4, -0.5), (1.9, 0.5), (-0.1, 0.2), tail * 1.2, tail)
    return Pose(parts, (-1.35, -0.75), (("tail", around),), asleep=True)


def portrait(rng, tail):
    """Head and shoulders; the rest is below the frame."""
    half = [(0, -1.0), (0.9, -0.6), (1.3, 0.3), (1.7, 1.6), (1.9, 5)]
    return Pose([("body", mirrored(half)), ("chest", ellipse(0, 1.5, 0.75, 1.2))], (0, -0.6))


def head_parts(rng, cat, ears, coat, collar):
    """Collar, ears, ruff, head and muzzle, about the origin."""
    half = [(0, -1.05), (0.65, -1.0), (1.0, -0.5), (0.95, 0.2), (0.75, 0.9), (0.4, 1.25)]
    muzzle = [(0, 0.1, 0.3, 0.7), (-0.24, 0.58, 0.4, 0.36), (0.24, 0.58, 0.4, 0.36)]
    if cat:
        half = [(0, -0.9), (0.5, -1.0), (1.05, -0.55), (1.3, 0.25), (1.0, 0.85), (0.45, 1.05)]
        muzzle = [(-0.25, 0.42, 0.34, 0.27), (0.25, 0.42, 0.34, 0.27), (0, 0.62, 0.3, 0.24)]
    collar = [("collar", limb((-0.75, 0.95), (0, 1.75), (0.75, 0.95), 0.13))] if collar else []
    ruff = [("head", ellipse(0, 0.25, 1.3, 1.05))] if coat == "long" else []
    head = [*ruff, ("head", mirrored(half))]
    pair = ear_parts(rng, cat, ears)
    head = [*pair, *head] if ears == "pointed" else [*head, *pair]
    return collar + head + [("muzzle", ellipse(*shape)) for shape in muzzle]


def ear_parts(rng, cat, kind):
    """Two ears; pointed ones, which stand behind the head, show their pink inside."""
    tip = rng.uniform(-0.1, 0.1)
    ear = {
        "pointed": [(0.15, -0.6), (0.7 + tip, -1.75), (0.9 + tip, -1.65), (1.15, -0.1)],
        "folded": [(0.35, -1.0), (0.9, -1.15), (1.3, -0.7 + tip), (1.15, -0.1), (0.8, -0.5)],
        "floppy": [(0.5, -0.95), (1.05, -0.9), (1.5, 0.2), (1.3, 0.85 + tip), (0.85, 0.2)],
        "long": [(0.5, -0.8), (1.1, -0.7), (1.6, 0.9), (1.35, 1.7 + tip), (0.8, 0.9)],
    }[kind]
    outlines = [("ear", blob(ear))]
    if kind == "pointed":
        ear = blob(np.array(ear).repeat(2, 0)) * ((1, 1) if cat else (0.85, 0.97))
        outlines = [("ear", ear), ("inside", ear * 0.62 + ear.mean(0) * (0.38, 0.38))]
    return [(role, outline * (side, 1)) for side in (-1, 1) for role, outline in outlines]


class Coat(NamedTuple):
    """The fur of one pet."""

    main: tuple  # colours (R, G, B)
    second: tuple
    collar: tuple
    marks: str  # its pattern
    tuft: float  # pixels by which its edge is ragged


def make_coat(rng, look, size):
    """The coat of a breed, a little different for each animal."""
    main = jitter(rng, FUR[look[0]])
    second = main if look[0] == look[1] else jitter(rng, FUR[look[1]])
    collar = pick(rng, BRIGHT)
    return Coat(main, second, collar, look[2], RAGGED[look[4]] * BORDER_RADIUS * max(size))


def paint_fur(rng, picture, parts, coat, scale):
    """Paints parts (outlines in pixels) on an RGB picture. Returns the silhouette (H, W) bool."""
    double = (2 * picture.width, 2 * picture.height)
    images, layers = new_layers(double, coat.main)
    silhouette = Image.new("L", double)
    for role, outline in parts:
        draw_part(layers, 2 * outline, role, coat, scale)
        ImageDraw.Draw(silhouette).polygon((2 * outline).ravel().tolist(), fill=255)
    colour, height, grain = (image.reduce(2) for image in images)
    silhouette = silhouette.reduce(2)
    strands = np.clip(texture(rng, picture.size, (1.3, 6)), -1.8, 1.8)
    light = round_light(height, 0.12 * scale) * (
        0.35 + 0.65 * round_light(silhouette, 0.3 * scale)
    )
    light += 0.07 * strands + 0.04 * texture(rng, picture.size, (14, 20))
    fur = lit(add_marks(rng, colour, grain, coat, scale), light)
    picture.paste(fur, (0, 0), fur_edge(silhouette, strands, coat.tuft))
    return np.asarray(silhouette) > 127


def draw_part(layers, outline, role, coat, scale):
    """Draws one part, outlined in its own colour for the hairs that stick out; no marks on it
    unless it wears the main fur."""
    wears_second = role in SECOND.get(coat.marks, OTHERWISE)
    colour = coat.second if wears_second else coat.main
    colour = {"inside": PINK, "collar": coat.collar}.get(role, colour)
    points = outline.ravel().tolist()
    layers.colour.line(points + points[:4], fill=colour, width=int(4 * coat.tuft) + 1)
    rim = 0 if role in ("chest", "inside") else max(2, int(0.09 * scale))
    depth = 120 if role == "muzzle" else 0
    draw(layers, outline, colour, 255 if colour == coat.main else 0, rim, depth)


def add_marks(rng, colour, allowed, coat, scale):
    """The colour picture with stripes, spots or patches where ``allowed`` (L) is 255."""
    where = pattern(rng, colour.size, coat.marks, scale)
    if where is None:
        return colour
    mark = coat.second if coat.marks == "patches" else mix(coat.main, DARK, 0.6)
    mask = (np.clip(where, 0, 1) * np.asarray(allowed, np.float32)).astype(np.uint8)
    return Image.composite(Image.new("RGB", colour.size, mark), colour, Image.fromarray(mask))


def pattern(rng, size, kind, scale):
    """Where stripes, spots or patches are: (H, W) float32, 0 outside, 1 inside; None: nowhere."""
    if kind == "tabby":
        x = np.arange(size[0], dtype=np.float32) / np.float32(scale)
        return 3 * np.sin(9 * x + 1.2 * noise(rng, size, (scale, scale / 2))) - 1
    if kind == "spots":
        return 4 * noise(rng, size, (0.3 * scale, 0.22 * scale)) - 2
    if kind == "patches":
        return 8 * noise(rng, size, (1.3 * scale, 1.1 * scale)) - 2
    return None


def fur_edge(silhouette, strands, tuft):
    """Opacity (L) of the fur: the silhouette (L), with hairs of ``tuft`` pixels to either side."""
    if tuft == 0:
        return silhouette
    soft = np.asarray(silhouette.filter(ImageFilter.BoxBlur(tuft)), np.float32) / 255
    opacity = (soft - 0.5) * (2 * tuft + 1) + 0.45 * tuft * strands + 0.5
    return Image.fromarray((np.clip(opacity, 0, 1) * 255).astype(np.uint8))


def paint_face(rng, put, cat, coat, asleep, collar):
    """Eyes, whiskers or tongue, mouth, nose, and the tag on the collar.

    ``put(outlines, colour, opacity)`` paints outlines given in head radii.
    """
    pale_fur = sum(coat.main) > 240
    ink = mix(coat.main, DARK, 0.85) if pale_fur else mix(coat.main, FUR["silver"], 0.45)
    y = 0.34 if cat else 0.44
    if asleep:
        lids = [limb((x - 0.22, -0.12), (x, 0.1), (x + 0.22, -0.12), 0.035) for x in (-0.45, 0.45)]
        put(lids, ink)
    else:
        paint_eyes(rng, put, cat, blue=coat.marks == "points")
    if cat:
        put([whisker(s, lift) for s in (-1, 1) for lift in (-0.12, 0.04, 0.2)], PALE, 210)
    elif rng.random() < 0.4 and not asleep:
        put([limb((0, y + 0.3), (0, y + 0.4), (0.02, y + 0.55), 0.13)], (222, 120, 120))
    put([limb((0, y), (0.05 * s, y + 0.32), (0.3 * s, y + 0.26), 0.028) for s in (-1, 1)], ink)
    paint_nose(put, y - 0.12, 0.14 if cat else 0.22, PINK if cat and pale_fur else DARK)
    if collar:
        put([ellipse(0, 1.5, 0.15, 0.15)], (226, 190, 90))


def whisker(side, lift):
    """Outline of one whisker."""
    return limb((0.35 * side, 0.45), (0.9 * side, 0.4 + lift / 2), (1.5 * side, 0.5 + lift), 0.012)


def paint_nose(put, y, width, colour):
    """A rounded triangle with a highlight."""
    put([blob([(-width, y - 0.08), (width, y - 0.08), (0, y + 0.2)])], colour)
    put([ellipse(-0.05, y - 0.03, 0.04, 0.025)], PALE)


def paint_eyes(rng, put, cat, blue):
    """Two eyes: outline, iris, pupil and highlight."""
    irises = [(132, 168, 84), (220, 170, 64), (176, 132, 64)]
    iris = irises[rng.integers(3)] if cat else (104, 66, 40)
    wide, pupil = (0.25, (0.09, 0.2)) if cat else (0.2, (0.13, 0.13))
    rings = [
        ((wide * 1.15, wide * 1.05), DARK),
        ((wide, wide * 0.88), (96, 156, 206) if cat and blue else iris),
        (pupil, (18, 14, 18)),
    ]
    for radii, colour in rings:
        put([ellipse(x, -0.12, *radii) for x in (-0.45, 0.45)], colour)
    put([ellipse(x - 0.06, -0.2, 0.05, 0.05) for x in (-0.45, 0.45)], (255, 255, 255))


# --------------------------------------------------------------------------------------- picture

POSES = {sit_front: 0.2, sit_side: 0.17, stand: 0.18, lie: 0.18, curl: 0.1, portrait: 0.17}


def draw_pet(rng, label):
    """Draws one example.

    Args:
        rng: ``np.random.Generator``; the same state gives the same picture.
        label: index into ``BREEDS``.

    Returns:
        image (H, W, 3) uint8, trimap (H, W, 1) uint8 in {1, 2, 3}, and the head's box as
        (ymin, xmin, ymax, xmax) in 0..1.
    """
    look, cat = LOOKS[BREEDS[label]].split(), BREEDS[label][0].isupper()
    pose, size = choose_pose(rng, look[4])
    collar = not pose.asleep and rng.random() < 0.45
    head = head_parts(rng, cat, look[3], look[4], collar)
    to_picture, scale = fit(rng, pose, head, size)
    coat = make_coat(rng, look, size)
    picture = paint_place(rng, size, pose, to_picture, [coat.main, coat.second])
    from_head, from_face = place_head(rng, pose, to_picture)

    def put(outlines, colour, opacity=255):
        paint(picture, [from_face(outline) for outline in outlines], colour, opacity)

    parts = [(role, to_picture(outline)) for role, outline in pose.body]
    parts += [(r, from_face(o) if r == "muzzle" else from_head(o)) for r, o in head]
    parts += [(role, to_picture(outline)) for role, outline in pose.front]
    silhouette = paint_fur(rng, picture, parts, coat, scale)
    paint_face(rng, put, cat, coat, pose.asleep, collar)
    box = box_of([from_head(outline) for role, outline in head if role in ("head", "ear")], size)
    return finish(rng, picture), trimap(silhouette), box


def choose_pose(rng, coat):
    """A pose, and a size (width, height) of the picture that suits it."""
    make = list(POSES)[rng.choice(len(POSES), p=list(POSES.values()))]
    upright = {sit_front: 0.7, sit_side: 0.6, portrait: 0.4}.get(make, 0)
    size = rng.choice(TALL if rng.random() < upright else WIDE).tolist()
    return make(rng, {"long": 0.42, "bald": 0.22}.get(coat, 0.3)), size


def place_head(rng, pose, to_picture):
    """Two functions from head radii (N, 2) to pixels: for the head, tilted a little, and for its
    face, which is turned to one side a little as well."""
    tilt, aside = rng.normal(0, 0.12), (rng.normal(0, 0.07), 0)

    def from_head(points):
        return to_picture(turn(points, tilt) + pose.head)

    return from_head, lambda points: from_head(points + aside)


def fit(rng, pose, head, size):
    """Places a pose in the frame, perhaps mirrored.

    Returns:
        A function from head radii (N, 2) to pixels, and its scale in pixels per head radius.
    """
    points = np.concatenate([o for _, o in pose.body] + [o + pose.head for _, o in head])
    low, high = points.min(0), points.max(0)
    cut = high[1] > 2  # a portrait: the frame ends at the chest
    high[1] = 1.6 if cut else high[1]
    extent = high - low
    scale = rng.uniform(0.75, 1.0) * float(np.min(size / extent))
    free = (rng.uniform(0.1, 0.9), 1.0 if cut else rng.uniform(0.5, 0.95))
    corner = (size - extent * scale) * free
    mirror = rng.random() < 0.5

    def to_picture(points):
        placed = (high - points) * (1, -1) + (0, extent[1]) if mirror else points - low
        return placed * scale + corner

    return to_picture, scale


def paint_place(rng, size, pose, to_picture, fur):
    """The scene behind the pet, with its shadow on the ground, as RGB picture."""
    ground = to_picture(np.zeros(2))[1] - rng.uniform(0.12, 0.3) * size[1]
    horizon = int(np.clip(ground, 0.35 * size[1], 0.8 * size[1]))
    picture = paint_scene(rng, size, horizon, palette_for(fur))
    x = np.concatenate([outline[:, 0] for _, outline in pose.body])
    outline = to_picture(ellipse((x.max() + x.min()) / 2, 0.08, 0.55 * np.ptp(x), 0.4))
    shadow = Image.new("L", picture.size)
    ImageDraw.Draw(shadow).polygon(outline.ravel().tolist(), fill=150)
    picture.paste(DARK, (0, 0), shadow.filter(ImageFilter.BoxBlur(7)))
    return picture


def finish(rng, picture):
    """Light from one side, darker corners, a tint and a little noise: (H, W, 3) uint8."""
    x = np.linspace(-1, 1, picture.width, dtype=np.float32)
    y = np.linspace(-1, 1, picture.height, dtype=np.float32)[:, None]
    light = rng.uniform(0.98, 1.14) - rng.uniform(-0.12, 0.12) * x - 0.07 * (x * x + y * y)
    light = light + 0.02 * texture(rng, picture.size, (1, 1))
    warm = rng.uniform(-0.05, 0.05)
    return np.asarray(lit(picture, [light * (1 + warm), light, light * (1 - warm)]))


def box_of(outlines, size):
    """(ymin, xmin, ymax, xmax) of outlines in pixels, as shares of the size, within 0..1."""
    points = np.clip(np.concatenate(outlines) / size, 0, 1)
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    return top, left, bottom, right


def trimap(pet):
    """Mask (H, W, 1) uint8 of a silhouette (H, W) bool, with a border band about its outline."""
    radius = BORDER_RADIUS * max(pet.shape)
    sure, possible = ~dilated(~pet, radius), dilated(pet, radius)
    return np.where(sure, PET, np.where(possible, BORDER, BACKGROUND)).astype(np.uint8)[..., None]


def dilated(mask, radius):
    """The mask (H, W) bool grown by a disc of ``radius`` pixels."""
    reach = int(radius)
    grown = np.pad(mask, reach)
    inner = np.pad(mask, 1, mode="edge")
    inner = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    edge = np.flatnonzero(np.pad(mask & ~inner, reach))  # a disc about each edge pixel is enough
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (dy * grown.shape[1] + dx)[dy * dy + dx * dx <= radius * radius]
    grown.ravel()[edge[:, None] + disc] = True
    return grown[reach:-reach, reach:-reach]


# --------------------------------------------------------------------------------------- builder


class SyntheticPets(tfds.core.GeneratorBasedBuilder):
    """Drawn pets with the features of ``oxford_iiit_pet:4.0.0``; prepared without a network."""

    VERSION = tfds.core.Version(VERSION)
    RELEASE_NOTES: ClassVar = {"1.0.0": "First version."}

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(names=BREEDS),
                "species": tfds.features.ClassLabel(names=SPECIES),
                "file_name": tfds.features.Text(),
                "segmentation_mask": tfds.features.Image(shape=(None, None, 1), use_colormap=True),
                "head_bbox": tfds.features.BBoxFeature(),
            }
        )
        return tfds.core.DatasetInfo(
            builder=self,
            description="Drawn cats and dogs with the features of oxford_iiit_pet.",
            features=features,
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in SPLIT_SIZES}

    def _generate_examples(self, split):
        """Yields (key, example); each example is drawn from a seed of its own."""
        for index in range(SPLIT_SIZES[split]):
            yield index, example(split, index)


def example(split, index):
    """One example of a split, as the builder's features encode it."""
    number = index + (0 if split == "train" else SPLIT_SIZES["train"])
    rng = np.random.default_rng([int(part) for part in VERSION.split(".")] + [number])
    label = number % len(BREEDS)
    image, mask, box = draw_pet(rng, label)
    box = tfds.features.BBox(*(box if split == "train" else (0.0, 0.0, 0.0, 0.0)))
    return {
        "image": encoded(image, "JPEG", quality=92),
        "label": label,
        "species": 0 if BREEDS[label][0].isupper() else 1,
        "file_name": f"{BREEDS[label]}_{number // len(BREEDS) + 1:03d}.jpg",
        "segmentation_mask": encoded(mask[..., 0], "PNG"),
        "head_bbox": box,
    }


def encoded(array, form, **options):
    """The bytes of an image file: encoding here spares TFDS a detour through TensorFlow."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()
