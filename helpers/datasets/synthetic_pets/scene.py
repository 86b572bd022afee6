"""Rooms and gardens to put a pet in."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from helpers.datasets.synthetic_pets.colours import BRIGHT, DARK, FUR, PALE, jitter, mix, pick
from helpers.datasets.synthetic_pets.painting import draw, lit, new_layers, relief, texture
from helpers.datasets.synthetic_pets.shapes import CIRCLE, blob, ellipse, limb, rectangle, turn

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


def leaf(angle, length):
    """Outline of one leaf of a plant in a pot."""
    x, y = length * float(np.sin(angle)), -length * float(np.cos(angle))
    return limb((0, 0), (0.3 * x, 0.8 * y), (x, y), 0.03, 0.1) - (0, 0.5)


# Furniture and plants: shapes of unit size, back to front, with their foot at the origin:
# (a name in ``PALETTE``, how strongly the texture shows, the outline).
BOARD = np.array([(0, 0), (0, -0.9), (0.12, -1.05), (0.24, -0.9), (0.24, 0)])
PANES = [(-0.25, -0.08), (-0.25, -0.77), (0.25, -0.08), (0.25, -0.77)]
RUG = [("cloth", 1), ("bright", 0.8), ("straw", 0.6)]
CROWN = [(-0.4, -1.7), (0.4, -1.75), (0, -2.1)]
LEAVES = [-1.1, 1.1, -0.7, 0.7, -0.3, 0.3, 0]
SOFA = [(0, 3.0, 1.5), (0, 2.6, 0.7), (-1.5, 0.5, 1.0), (1.5, 0.5, 1.0)]
THINGS = {
    "sofa": [("cloth", 60, blob(rectangle(x, 0.1, w, h).repeat(2, 0))) for x, w, h in SOFA],
    "cushion": [("cloth", 130, blob(turn(rectangle(0, 0, 1.3, 0.9).repeat(2, 0), 0.15)))],
    "ball": [
        ("bright", 0, ellipse(0, -0.25, 0.25, 0.25)),
        ("pale", 0, turn(ellipse(0, 0, 0.25, 0.08), 0.5) - (0, 0.25)),
    ],
    "plant": [("leaf", 0, leaf(a, 1.1 - 0.3 * abs(a))) for a in LEAVES]
    + [("cloth", 30, np.array([(-0.35, -0.6), (0.35, -0.6), (0.25, 0), (-0.25, 0)]))],
    "lamp": [
        ("wood", 0, limb((0, 0), (0, -1), (0, -2), 0.035)),
        ("bright", 20, np.array([(-0.3, -2.5), (0.3, -2.5), (0.5, -1.8), (-0.5, -1.8)])),
    ],
    "basket": [
        ("straw", 150, np.array([(-0.6, -0.7), (0.6, -0.7), (0.48, 0), (-0.48, 0)])),
        ("dark", 0, ellipse(0, -0.7, 0.6, 0.12)),
    ],
    "rug": [(colour, 130, ellipse(0, 0, r, 0.3 * r)) for colour, r in RUG],
    "window": [("pale", 0, rectangle(0, 0, 1.1, 1.5))]
    + [("sky", 0, rectangle(x, y, 0.44, 0.62)) for x, y in PANES],
    "frame": [
        ("wood", 0, rectangle(0, 0, 0.9, 0.8)),
        ("pale", 0, rectangle(0, -0.07, 0.76, 0.66)),
        ("bright", 0, rectangle(0, -0.16, 0.58, 0.48)),
    ],
    "tree": [("wood", 100, limb((0, 0), (0.05, -1), (0, -1.6), 0.14, 0.09))]
    + [("leaf", 130, ellipse(x, y, 0.6, 0.45)) for x, y in CROWN],
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
        return min(sum((a - b) ** 2 for a, b in zip(colour, f)) for f in fur) ** 0.5

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
    colour, height, grain = scene = new_layers(size, pick(rng, palette[ground]))
    furnish(scene, rng, palette, size, horizon)
    light = relief(height, 0.016 * max(size))
    light += np.asarray(grain, np.float32) / 1000 * texture(rng, size, (1.6, 5))
    light += 0.04 * texture(rng, size, (60, 40))
    picture = Image.fromarray(lit(colour, light[..., None]))
    return picture.filter(ImageFilter.BoxBlur(rng.uniform(0.6, 1.4)))


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
