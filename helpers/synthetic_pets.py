"""Drawn cats and dogs: a stand-in for TFDS ``oxford_iiit_pet`` where there is no network.

``SyntheticPets`` is a TFDS builder with the features and label names of ``oxford_iiit_pet:4.0.0``
and 400 train and 100 test examples, each drawn by ``draw_pet`` from a seed of its own. It lets the
whole pipeline run, from reading to figures, without a download.

It is not a benchmark: the pictures are illustrations made of smooth shapes, and a score on them
says nothing about real photographs.

How a picture comes about: a background (room or garden), a pose (outlines of the body's parts in
head radii), then the parts painted back to front. Every painted part is added to a silhouette as
well, and the mask is computed from that silhouette alone.
"""

import io
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SPLIT_SIZES = {"train": 400, "test": 100}
SPECIES = ["Cat", "Dog"]
PET, BACKGROUND, BORDER = 1, 2, 3  # the values of the trimap, as in the real data set
BORDER_RADIUS = 0.0125  # half width of the border band, as a share of the image's long side

FUR = {
    "black": (42, 40, 46), "grey": (128, 130, 140), "blue": (98, 110, 128),
    "white": (238, 234, 226), "cream": (232, 208, 170), "ginger": (206, 126, 62),
    "red": (168, 84, 44), "brown": (112, 74, 48), "dark": (70, 52, 44),
    "sand": (196, 160, 112), "silver": (182, 182, 184), "pink": (222, 176, 160),
}  # fmt: skip

# Breed: main fur, second fur, pattern, ears, coat. In the order of the real data set's labels;
# a name with a capital is a cat, also as there.
LOOKS = {
    "Abyssinian": "red sand plain pointed short",
    "american_bulldog": "white brown patches folded short",
    "american_pit_bull_terrier": "brown white plain folded short",
    "basset_hound": "brown white patches long short",
    "beagle": "dark ginger saddle floppy short",
    "Bengal": "ginger cream spots pointed short",
    "Birman": "cream dark points pointed long",
    "Bombay": "black black plain pointed short",
    "boxer": "ginger dark points folded short",
    "British_Shorthair": "blue blue plain pointed plush",
    "chihuahua": "sand white plain pointed short",
    "Egyptian_Mau": "silver white spots pointed short",
    "english_cocker_spaniel": "ginger ginger plain long long",
    "english_setter": "white dark spots floppy long",
    "german_shorthaired": "dark grey patches floppy short",
    "great_pyrenees": "white cream plain floppy long",
    "havanese": "cream brown patches floppy long",
    "japanese_chin": "white black patches floppy long",
    "keeshond": "grey silver tabby pointed long",
    "leonberger": "ginger dark points floppy long",
    "Maine_Coon": "brown sand tabby pointed long",
    "miniature_pinscher": "black ginger tan pointed short",
    "newfoundland": "black black plain floppy long",
    "Persian": "white cream plain pointed long",
    "pomeranian": "ginger cream plain pointed long",
    "pug": "sand black points folded short",
    "Ragdoll": "white grey points pointed long",
    "Russian_Blue": "blue silver plain pointed short",
    "saint_bernard": "white red patches floppy long",
    "samoyed": "white white plain pointed long",
    "scottish_terrier": "black black plain pointed long",
    "shiba_inu": "ginger white plain pointed plush",
    "Siamese": "cream dark points pointed short",
    "Sphynx": "pink pink plain pointed bald",
    "staffordshire_bull_terrier": "blue white plain folded short",
    "wheaten_terrier": "sand cream plain folded long",
    "yorkshire_terrier": "blue ginger saddle pointed long",
}
BREEDS = list(LOOKS)
RAGGED = {"bald": 0.0, "short": 0.25, "plush": 0.5, "long": 0.8}  # fur edge, in border radii


class Canvas(NamedTuple):
    """What is being painted: the picture (RGB), and how much of it the pet covers (L)."""

    picture: Image.Image
    silhouette: Image.Image


class Part(NamedTuple):
    """One part of a body: its outline (N, 2) in head radii, and which of the furs it wears."""

    outline: np.ndarray
    fur: str = "main"


# ---------------------------------------------------------------------------------------- shapes


def ellipse(x, y, rx, ry, tilt=0.0):
    """Outline (28, 2) of an ellipse, turned by ``tilt`` radians."""
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return turn(np.stack([rx * np.cos(angle), ry * np.sin(angle)], 1), tilt) + (x, y)


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


def limb(start, bend, end, width, end_width=None):
    """Outline of a leg, tail or stroke: a quadratic curve with a radius and round ends."""
    t = np.linspace(0, 1, 12)[:, None]
    start, bend, end = (np.asarray(p, float) for p in (start, bend, end))
    path = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
    radius = width + t * ((width if end_width is None else end_width) - width)
    along = np.gradient(path, axis=0)
    normal = along[:, ::-1] * (1, -1) / (np.linalg.norm(along, axis=1, keepdims=True) + 1e-9)
    arc = np.linspace(0, np.pi, 8)[1:-1, None]
    ahead = turn(normal, np.pi / 2)
    far = path[-1] + radius[-1] * (np.cos(arc) * normal[-1] + np.sin(arc) * ahead[-1])
    near = path[0] - radius[0] * (np.cos(arc) * normal[0] + np.sin(arc) * ahead[0])
    left, right = path + radius * normal, path - radius * normal
    return np.concatenate([left, far, right[::-1], near])


def turn(points, angle):
    """Rotates points (..., 2) about the origin by ``angle`` radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


def ragged(rng, outline, amplitude):
    """The outline (pixels) with tufts of at most ``amplitude`` pixels to either side."""
    closed = np.concatenate([outline, outline[:1]])
    length = np.r_[0, np.cumsum(np.hypot(*np.diff(closed, axis=0).T))]
    at = np.arange(0, length[-1], 1.8)
    points = np.stack([np.interp(at, length, closed[:, k]) for k in (0, 1)], 1)
    along = np.roll(points, -1, 0) - np.roll(points, 1, 0)
    normal = along[:, ::-1] * (1, -1) / (np.hypot(*along.T)[:, None] + 1e-9)
    return points + normal * rng.uniform(-amplitude, amplitude, (len(points), 1))


# -------------------------------------------------------------------------------------- painting


def coverage(outline, box):
    """Antialiased L image of the outline's area inside ``box`` (left, top, right, bottom)."""
    size = (box[2] - box[0], box[3] - box[1])
    large = Image.new("L", (3 * size[0], 3 * size[1]))
    points = (outline - box[:2]) * 3
    ImageDraw.Draw(large).polygon(points.ravel().tolist(), fill=255)
    return large.reduce(3)


def paint(picture, outline, fill, relief=0.0, opacity=1.0):
    """Paints an outline (N, 2), in pixels, with a colour or with the same area of a picture.

    ``relief`` shades the shape as if round and lit from the upper left. Returns the box that was
    painted and its coverage (None where the outline lies outside the picture).
    """
    low = np.maximum(np.floor(outline.min(0)), 0).astype(int)
    high = np.minimum(np.ceil(outline.max(0)) + 1, picture.size).astype(int)
    if (high <= low).any():
        return None
    box = (*low.tolist(), *high.tolist())
    mask = coverage(outline, box)
    size = mask.size
    patch = fill.crop(box) if isinstance(fill, Image.Image) else Image.new("RGB", size, fill)
    if relief:
        patch = shaded(patch, mask, relief)
    visible = mask if opacity == 1 else mask.point(lambda value: int(value * opacity))
    picture.paste(patch, box[:2], visible)
    return box, mask


def shaded(patch, mask, relief):
    """A patch made to look round: lighter at the upper left, darker towards its rim."""
    width, height = mask.size
    soft = mask.filter(ImageFilter.BoxBlur(0.12 * min(width, height) + 1))
    inside = np.asarray(soft, np.float32) / 255 - 1
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    light = 1.04 + relief * (0.9 * inside - 0.18 * x - 0.3 * y)
    return multiplied(patch, light)


def multiplied(picture, factor):
    """The picture times a factor (H, W), as RGB image."""
    values = np.asarray(picture, np.float32) * factor[..., None]
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def noise(rng, size, cell):
    """Smooth random field (H, W) float32 of about unit range, with blots of ``cell`` = (x, y)."""
    small = (max(2, int(size[0] / cell[0])), max(2, int(size[1] / cell[1])))
    values = rng.standard_normal(small[::-1], dtype=np.float32)
    return np.asarray(Image.fromarray(values).resize(size, Image.BICUBIC))


def jitter(rng, colour, amount=14):
    """A colour near ``colour``: (3,) ints in 0..255."""
    change = rng.normal(0, amount) + rng.normal(0, amount / 2, 3)
    return tuple(np.clip(np.asarray(colour) + change, 8, 250).astype(int).tolist())


def mix(colour, other, share):
    """The colour with a share of another one in it."""
    return tuple(int(a + (b - a) * share) for a, b in zip(colour, other, strict=True))


# ----------------------------------------------------------------------------------- backgrounds

WALLS = [(214, 200, 178), (150, 172, 168), (196, 150, 134), (120, 134, 150), (222, 214, 204),
         (164, 142, 112), (94, 110, 98), (206, 180, 120), (140, 112, 124), (84, 88, 104)]  # fmt: skip
FLOORS = [(150, 104, 66), (196, 160, 116), (104, 76, 58), (168, 160, 150), (122, 128, 120),
          (206, 190, 168), (134, 84, 70), (84, 78, 76)]  # fmt: skip
GRASS = [(104, 140, 70), (142, 150, 80), (176, 158, 98), (86, 118, 82), (160, 124, 74)]
SKIES = [(158, 196, 222), (214, 214, 208), (236, 200, 168), (180, 188, 206)]
BRIGHT = [(196, 70, 60), (64, 120, 160), (226, 178, 66), (88, 140, 108), (150, 96, 150)]


def unlike(rng, colours, fur):
    """One of ``colours`` that is not too near to the fur colours (a list of RGB)."""
    distance = [min(np.linalg.norm(np.subtract(c, f)) for f in fur) for c in colours]
    far = [c for c, d in zip(colours, distance, strict=True) if d > 75]
    return jitter(rng, far[rng.integers(len(far))] if far else colours[np.argmax(distance)], 8)


def surface(rng, size, colour, cell, strength, fade):
    """A textured picture of one colour; ``fade`` darkens (or lightens) it towards the bottom."""
    grain = strength * noise(rng, size, cell) + 0.05 * noise(rng, size, (90, 70))
    ramp = np.linspace(1, 1 - fade, size[1], dtype=np.float32)[:, None]
    return multiplied(Image.new("RGB", size, colour), ramp + grain)


def room(rng, size, horizon, fur):
    """A wall above ``horizon`` (pixel row) and a floor below it, with furniture."""
    wall, floor = unlike(rng, WALLS, fur), unlike(rng, FLOORS, fur)
    picture = surface(rng, size, wall, (3, 3), 0.015, rng.uniform(-0.1, 0.25))
    wallpaper(picture, rng, wall)
    below = surface(rng, size, floor, (7, 2), 0.05, -0.15)
    if rng.random() < 0.6:
        planks(below, rng, horizon, floor)
    picture.paste(below.crop((0, horizon, *size)), (0, horizon))
    skirting = mix(wall, (250, 248, 240), 0.6)
    paint(picture, box_at(size[0] / 2, horizon + 2, size[0], 0.03 * max(size)), skirting, 0.2)
    for draw in rng.choice([window, frame, frame, window], rng.integers(1, 3), replace=False):
        draw(picture, rng, rng.uniform(0, 1) * size[0], 0.62 * horizon, 0.22 * max(size))
    for draw in rng.choice([sofa, plant, lamp, basket, cushion, ball], 3, replace=False):
        where = rng.uniform(0.02, 0.98) * size[0], horizon + rng.uniform(0.02, 0.12) * size[1]
        draw(picture, rng, *where, 0.2 * max(size), fur)
    if rng.random() < 0.6:
        rug(picture, rng, size[0] / 2, size[1] * 0.93, 0.5 * size[0], fur)
    return picture


def garden(rng, size, horizon, fur):
    """Sky, hills and trees above ``horizon`` (pixel row), a meadow with flowers below it."""
    grass, sky = unlike(rng, GRASS, fur), unlike(rng, SKIES, fur)
    picture = surface(rng, size, sky, (60, 20), 0.04, -0.15)
    for _ in range(3):
        hill = ellipse(rng.uniform(0, 1) * size[0], horizon, 0.45 * size[0], 0.4 * horizon)
        paint(picture, hill, mix(jitter(rng, grass), sky, 0.45), 0.15)
    below = surface(rng, size, grass, (1.5, 7), 0.11, 0.1)
    picture.paste(below.crop((0, horizon, *size)), (0, horizon))
    for draw in rng.choice([tree, tree, bush, fence, rock, basket], 4, replace=False):
        where = rng.uniform(0, 1) * size[0], horizon + rng.uniform(0.01, 0.1) * size[1]
        draw(picture, rng, *where, 0.22 * max(size), fur)
    for x, y in rng.uniform((0, horizon), size, (rng.integers(6, 22), 2)):
        flower(picture, rng, x, y, 0.011 * max(size))
    return picture


def wallpaper(picture, rng, wall):
    """Stripes, dots or nothing on the wall."""
    step = rng.uniform(0.06, 0.12) * max(picture.size)
    colour = mix(wall, BRIGHT[rng.integers(5)] if rng.random() < 0.4 else (255, 250, 240), 0.25)
    kind = rng.integers(3)
    for i, x in enumerate(np.arange(0, picture.width, step)):
        if kind == 0:
            paint(picture, box_at(x, picture.height, step / 2, picture.height), colour)
        elif kind == 1:
            for y in np.arange(step * (i % 2) / 2, picture.height * 0.7, step):
                paint(picture, ellipse(x, y, step / 7, step / 7), colour)


def planks(picture, rng, horizon, colour):
    """Floor boards that run towards a vanishing point above the horizon."""
    centre, height = picture.width * rng.uniform(0.2, 0.8), picture.height
    edges = np.linspace(-1.6, 1.6, 15) * picture.width
    for left, right in zip(edges[:-1], edges[1:], strict=True):
        top = [(centre + left * 0.4, horizon), (centre + right * 0.4, horizon)]
        bottom = [(centre + right, height), (centre + left, height)]
        paint(picture, np.array(top + bottom), jitter(rng, colour, 7), 0, 0.6)


def box_at(x, y, width, height):
    """Outline of a rectangle whose bottom centre is (x, y)."""
    left, right = x - width / 2, x + width / 2
    return np.array([(left, y - height), (right, y - height), (right, y), (left, y)])


def window(picture, rng, x, y, s):
    """A window: frame, panes of sky, and a cross bar."""
    paint(picture, box_at(x, y, 1.1 * s, 1.5 * s), (240, 236, 226), 0.2)
    sky = jitter(rng, SKIES[rng.integers(len(SKIES))])
    for dx in (-0.25, 0.25):
        for dy in (0.08, 0.77):
            paint(picture, box_at(x + dx * s, y - dy * s, 0.44 * s, 0.62 * s), sky, 0.15)


def frame(picture, rng, x, y, s):
    """A framed picture of a hill."""
    width, height = s * rng.uniform(0.6, 1.1), s * rng.uniform(0.6, 1.0)
    colours = [jitter(rng, FUR["brown"]), (236, 230, 214), jitter(rng, BRIGHT[rng.integers(5)])]
    for colour, share in zip(colours, (1, 0.86, 0.66), strict=True):
        lift = (1 - share) / 2 * height
        paint(picture, box_at(x, y - lift, width * share, height * share), colour, 0.1)


def fabric(rng, size, fur):
    """A woolly picture in a bright or a fur colour, other than the pet's own."""
    colour = unlike(rng, BRIGHT + list(FUR.values()), fur)
    return surface(rng, size, colour, (1.3, 4), 0.08, 0.0)


def sofa(picture, rng, x, y, s, fur):
    """A sofa with a back, two arms and a seat."""
    cloth = fabric(rng, picture.size, fur)
    for dx, width, height in ((0, 3.0, 1.5), (0, 2.6, 0.7), (-1.5, 0.5, 1.0), (1.5, 0.5, 1.0)):
        outline = blob(box_at(x + dx * s, y + 0.1 * s, width * s, height * s).repeat(2, 0))
        paint(picture, outline, cloth, 0.4)


def cushion(picture, rng, x, y, s, fur):
    """A fluffy cushion."""
    outline = blob(turn(box_at(0, 0.4, 1.3, 0.9).repeat(2, 0), rng.uniform(-0.3, 0.3)) * s)
    fluffy = ragged(rng, outline + (x, y - 0.2 * s), 0.03 * s)
    paint(picture, fluffy, fabric(rng, picture.size, fur), 0.5)


def ball(picture, rng, x, y, s, fur):
    """A two-coloured ball."""
    r = s * rng.uniform(0.18, 0.32)
    paint(picture, ellipse(x, y - r, r, r), unlike(rng, BRIGHT, fur), 0.6)
    paint(picture, ellipse(x, y - r, r, 0.3 * r, rng.uniform(-1, 1)), (240, 232, 214), 0.4)


def plant(picture, rng, x, y, s, fur):
    """Leaves in a pot."""
    leaf = jitter(rng, (78, 124, 76))
    for angle in rng.uniform(-1.1, 1.1, 11):
        tip = np.array([np.sin(angle), -np.cos(angle)]) * s * rng.uniform(0.7, 1.2)
        outline = limb((0, 0), tip * (0.3, 0.8), tip, 0.03 * s, 0.1 * s) + (x, y - 0.5 * s)
        paint(picture, outline, jitter(rng, leaf, 10), 0.4)
    pot = box_at(x, y, 0.5 * s, 0.6 * s) + np.array([(-0.1, 0), (0.1, 0), (0, 0), (0, 0)]) * s
    paint(picture, pot, unlike(rng, [FUR["red"], FUR["cream"], *BRIGHT], fur), 0.5)


def lamp(picture, rng, x, y, s, fur):
    """A standard lamp with a warm shade."""
    paint(picture, limb((x, y), (x, y - s), (x, y - 2 * s), 0.03 * s), FUR["dark"])
    shade = np.array([(-0.3, -2.5), (0.3, -2.5), (0.5, -1.8), (-0.5, -1.8)]) * s + (x, y)
    paint(picture, shade, unlike(rng, [(240, 206, 140), *BRIGHT], fur), 0.5)


def basket(picture, rng, x, y, s, fur):
    """A woven basket in a fur colour."""
    colour = unlike(rng, list(FUR.values()), fur)
    outline = np.array([(-0.6, -0.7), (0.6, -0.7), (0.48, 0), (-0.48, 0)]) * s + (x, y)
    paint(picture, outline, surface(rng, picture.size, colour, (5, 2), 0.12, 0.0), 0.5)
    paint(picture, ellipse(x, y - 0.7 * s, 0.6 * s, 0.12 * s), mix(colour, (0, 0, 0), 0.5))


def rug(picture, rng, x, y, s, fur):
    """A round rug with rings, seen flat."""
    for share in (1.0, 0.8, 0.55):
        outline = ragged(rng, ellipse(x, y, s * share, 0.3 * s * share), 0.02 * s)
        paint(picture, outline, fabric(rng, picture.size, fur), 0.1)


def tree(picture, rng, x, y, s, fur):
    """A tree with a round, ragged crown."""
    trunk = limb((x, y), (x, y - s), (x + rng.normal(0, 0.1) * s, y - 1.5 * s), 0.14 * s, 0.09 * s)
    paint(picture, trunk, jitter(rng, FUR["brown"]), 0.5)
    for dx, dy in rng.normal((0, -1.9), (0.4, 0.25), (5, 2)):
        bush(picture, rng, x + dx * s, y + dy * s, s, fur)


def bush(picture, rng, x, y, s, fur):
    """A round mass of leaves."""
    outline = ragged(rng, ellipse(x, y, 0.6 * s, 0.45 * s), 0.05 * s)
    leaves = surface(rng, picture.size, unlike(rng, GRASS, fur), (4, 4), 0.12, 0.0)
    paint(picture, outline, leaves, 0.5)


def fence(picture, rng, x, y, s, fur):
    """A row of pointed boards."""
    colour = unlike(rng, [FUR["white"], FUR["brown"], FUR["sand"], FUR["grey"]], fur)
    point = np.array([(0, 0), (0, -0.9), (0.12, -1.05), (0.24, -0.9), (0.24, 0)]) * s
    for dx in np.arange(-5, 5) * 0.34 * s:
        paint(picture, point + (x + dx, y), jitter(rng, colour, 5), 0.4)
    paint(picture, box_at(x, y - 0.5 * s, 3.6 * s, 0.14 * s), colour, 0.2)


def rock(picture, rng, x, y, s, fur):
    """A grey or brown boulder."""
    angle = np.linspace(0, 2 * np.pi, 9, endpoint=False)
    radius = rng.uniform(0.35, 0.65, 9) * s
    outline = blob(np.stack([x + 1.3 * radius * np.cos(angle), y + radius * np.sin(angle)], 1))
    colour = unlike(rng, list(FUR.values()), fur)
    paint(picture, outline, surface(rng, picture.size, colour, (5, 5), 0.1, 0.0), 0.7)


def flower(picture, rng, x, y, s):
    """Five petals and a heart."""
    colour = (BRIGHT + [FUR["white"]])[rng.integers(6)]
    for angle in np.arange(5) * 2 * np.pi / 5:
        petal = ellipse(x + s * np.cos(angle), y + s * np.sin(angle), 0.6 * s, 0.6 * s)
        paint(picture, petal, colour)
    paint(picture, ellipse(x, y, 0.6 * s, 0.6 * s), (240, 206, 96))
