"""A folder of drawn cells, for trying what is done with a folder of one's own images.

Under a drawn microscope: round cells with a nucleus, rods, and dust, which is background. Masks
are coded by colour, as annotation tools export them, with CVAT's ``labelmap.txt`` beside them.
"""

import io

import cv2
import numpy as np
import PIL.Image

from helpers import files

COLORS = {
    "background": (0, 0, 0),
    "cell": (232, 88, 64),
    "nucleus": (96, 32, 120),
    "rod": (64, 150, 216),
}
SIZE = 192, 256  # pixels


def write_folder(folder, count=60, seed=0):
    """Draws images into ``images``, JPEG, and masks into ``masks``, PNG, of a folder.

    Args:
        folder: Path; what it has of these names is replaced.
        count: int, how many.
        seed: int; the same seed draws the same.
    """
    for number in range(count):
        image, mask = draw(np.random.default_rng([seed, number]))
        name = f"cells_{number:03d}"
        files.write_all(
            {
                folder / f"images/{name}.jpg": _encoded(image, "JPEG", quality=92),
                folder / f"masks/{name}.png": _encoded(mask, "PNG"),
            }
        )
    lines = [f"{name}:{','.join(map(str, color))}::" for name, color in COLORS.items()]
    table = "\n".join(["# label:color_rgb:parts:actions", *lines, ""])
    files.write(folder / "masks/labelmap.txt", table.encode())


def draw(rng):
    """One image (H, W, 3) uint8 and its mask (H, W, 3) uint8 in ``COLORS``."""
    glow = cv2.resize(rng.uniform(-14, 14, (4, 5)), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    image = np.array([214, 206, 196]) + rng.uniform(-14, 14) + glow[..., None]
    mask = np.zeros((*SIZE, 3), np.uint8)
    for _ in range(rng.integers(4, 10)):
        _draw_cell(rng, image, mask)
    for _ in range(rng.integers(1, 7)):
        long, thin = rng.uniform(14, 26), rng.uniform(3, 5)
        rod = _ellipse(_place(rng), (long, thin), rng.uniform(0, 180))
        _paint(rng, image, mask, rod, (104, 128, 148), "rod")
    for _ in range(rng.integers(0, 12)):
        dust = _ellipse(_place(rng), rng.uniform(1, 3, 2), 0)
        image[dust] *= rng.uniform(0.5, 0.8)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 1.2)) + rng.normal(0, 5, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def _draw_cell(rng, image, mask):
    place, radius = _place(rng), rng.uniform(11, 24)
    turn = rng.uniform(0, 180)
    body = _ellipse(place, radius * rng.uniform(0.8, 1.2, 2), turn)
    _paint(rng, image, mask, body, (206, 158, 166), "cell")
    nucleus = _ellipse(
        place + rng.uniform(-0.2, 0.2, 2) * radius, radius * rng.uniform(0.3, 0.5, 2), turn
    )
    _paint(rng, image, mask, nucleus & body, (128, 84, 140), "nucleus")


def _paint(rng, image, mask, region, color, name):
    grain = cv2.resize(rng.uniform(0.88, 1.12, (24, 32)), SIZE[::-1])
    image[region] = (np.array(color) + rng.uniform(-16, 16)) * grain[region][:, None]
    mask[region] = COLORS[name]


def _ellipse(place, radii, turn):
    """(H, W) bool."""
    region = np.zeros(SIZE, np.uint8)
    box = (tuple(map(float, place)), tuple(2 * float(radius) for radius in radii), float(turn))
    return cv2.ellipse(region, box, 1, cv2.FILLED) > 0


def _place(rng):
    return rng.uniform(0, 1, 2) * SIZE[::-1]


def _encoded(pixels, form, **options):
    content = io.BytesIO()
    PIL.Image.fromarray(pixels).save(content, form, **options)
    return content.getvalue()
