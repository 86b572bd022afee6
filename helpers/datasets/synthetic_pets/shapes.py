"""Outlines (N, 2) of shapes; y points down."""

import functools

import numpy as np

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
