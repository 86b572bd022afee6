"""Breeds, their fur and faces, and the trimap of a silhouette."""

from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from helpers.classes import PETS
from helpers.datasets.synthetic_pets.colours import BRIGHT, DARK, FUR, PALE, jitter, mix, pick
from helpers.datasets.synthetic_pets.painting import draw, lit, new_layers, noise, relief, texture
from helpers.datasets.synthetic_pets.shapes import blob, ellipse, limb

PET, BACKGROUND, BORDER = PETS.ids
BORDER_RADIUS = 0.015  # half width of the border band, as a share of the image's long side
PINK = (210, 146, 138)

# Breed: main fur, second fur, pattern, ears, coat. Order and capitals (cats) as in the real data.
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
BLOTS = {"tabby": (1, 0.5), "spots": (0.3, 0.22), "patches": (1.3, 1.1)}  # in head radii


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


def paint_fur(rng, pictures, parts, coat, scale):
    """Paints parts (outlines in pixels) on each picture. Returns the trimap (H, W, 1)."""
    size = pictures[0].size
    double = (2 * size[0], 2 * size[1])
    layers = new_layers(double, coat.main)
    silhouette = Image.new("L", double)
    for role, outline in parts:
        draw_part(layers, 2 * outline, role, coat, scale)
        ImageDraw.Draw(silhouette).polygon((2 * outline).ravel().tolist(), fill=255)
    colour, height, grain = (layer.reduce(2) for layer in layers)
    silhouette = silhouette.reduce(2)
    strands = np.clip(texture(rng, size, (1.3, 6)), -1.8, 1.8)
    light = 0.35 + 0.65 * relief(silhouette, 0.3 * scale)
    light *= relief(height, 0.12 * scale)
    light += 0.07 * strands + 0.04 * texture(rng, size, (14, 20))
    fur = Image.fromarray(lit(add_marks(rng, colour, grain, coat, scale), light[..., None]))
    for picture in pictures:
        picture.paste(fur, (0, 0), fur_edge(silhouette, strands, coat.tuft))
    return trimap(np.asarray(silhouette) > 127)


def draw_part(layers, outline, role, coat, scale):
    """Draws one part, outlined in its own colour for the hairs that stick out; no marks on it
    unless it wears the main fur."""
    wears_second = role in SECOND.get(coat.marks, OTHERWISE)
    colour = coat.second if wears_second else coat.main
    colour = {"inside": PINK, "collar": coat.collar}.get(role, colour)
    points = outline.ravel().tolist()
    hairs = int(4 * coat.tuft) + 1
    ImageDraw.Draw(layers[0]).line(points + points[:4], fill=colour, width=hairs)
    rim = 0 if role in ("chest", "inside") else max(2, int(0.09 * scale))
    depth = 120 if role == "muzzle" else 0
    draw(layers, outline, colour, 255 if colour == coat.main else 0, rim, depth)


def add_marks(rng, colour, allowed, coat, scale):
    """The colour picture with stripes, spots or patches where ``allowed`` (L) is 255."""
    if coat.marks not in BLOTS:
        return colour
    width, height = BLOTS[coat.marks]
    where = noise(rng, colour.size, (width * scale, height * scale))
    if coat.marks == "tabby":
        x = np.arange(colour.width, dtype=np.float32) / np.float32(scale)
        where = 3 * np.sin(9 * x + 1.2 * where) - 1
    else:
        where = (8 if coat.marks == "patches" else 4) * where - 2
    mark = coat.second if coat.marks == "patches" else mix(coat.main, DARK, 0.6)
    mask = (np.clip(where, 0, 1) * np.asarray(allowed, np.float32)).astype(np.uint8)
    return Image.composite(Image.new("RGB", colour.size, mark), colour, Image.fromarray(mask))


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
        whiskers = [
            limb((0.35 * s, 0.45), (0.9 * s, 0.4 + lift / 2), (1.5 * s, 0.5 + lift), 0.012)
            for s in (-1, 1)
            for lift in (-0.12, 0.04, 0.2)
        ]
        put(whiskers, PALE, 210)
    elif rng.random() < 0.4 and not asleep:
        put([limb((0, y + 0.3), (0, y + 0.4), (0.02, y + 0.55), 0.13)], (222, 120, 120))
    put([limb((0, y), (0.05 * s, y + 0.32), (0.3 * s, y + 0.26), 0.028) for s in (-1, 1)], ink)
    wide, y = 0.14 if cat else 0.22, y - 0.12
    nose = blob([(-wide, y - 0.08), (wide, y - 0.08), (0, y + 0.2)])
    put([nose], PINK if cat and pale_fur else DARK)
    put([ellipse(-0.05, y - 0.03, 0.04, 0.025)], PALE)
    if collar:
        put([ellipse(0, 1.5, 0.15, 0.15)], (226, 190, 90))


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


def trimap(pet):
    """Mask (H, W, 1) uint8 of a silhouette (H, W) bool, with a border band about its outline."""
    radius = BORDER_RADIUS * max(pet.shape)
    across = np.arange(-int(radius), int(radius) + 1)
    disc = (across[:, None] ** 2 + across**2 <= radius**2).astype(np.uint8)
    sure, possible = (grow(pet.astype(np.uint8), disc) for grow in (cv2.erode, cv2.dilate))
    return np.array([BACKGROUND, BORDER, PET], np.uint8)[sure + possible][..., None]
