"""Bodies, heads and ears as outlines in head radii.

A part of a pet is a pair: its role (which fur it wears depends on it) and its outline. Lists of
parts run back to front.
"""

from typing import NamedTuple

import numpy as np

from helpers.datasets.synthetic_pets.shapes import blob, ellipse, limb, mirrored, turn


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


POSES = {sit_front: 0.2, sit_side: 0.17, stand: 0.18, lie: 0.18, curl: 0.1, portrait: 0.17}
TALL = [(200, 280), (225, 300), (240, 320), (210, 260)]  # (width, height) in pixels
WIDE = [(300, 225), (320, 240), (280, 210), (300, 200), (256, 256)]


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
    """Places a pose in the frame, perhaps mirrored: a function from head radii (N, 2) to pixels,
    and its scale in pixels per head radius."""
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
