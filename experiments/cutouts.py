"""Measures cut-outs against a known alpha: matting beside the plain mask.

    python -m experiments.cutouts

Composites of synthetic pets, one of each breed from the test split, whose alpha and colours are
known: soft fur, thin whiskers. They are drawings: a photograph has finer hair and noise. Each is
cut out from its true trimap; and from the probabilities of a network that are *simulated*, because
networks that were trained on photographs take most of a drawing for background. They are the true
classes, displaced by a smooth random field and blurred, so much that their IoU comes close to what
the published network reaches on photographs.
"""

import json
import re
import time
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from experiments import publish
from helpers import cutout, evaluation, files
from helpers.classes import PETS
from helpers.datasets.synthetic_pets.builder import SPLIT_SIZES, SyntheticPets, draw_pet
from helpers.datasets.synthetic_pets.pet import BREEDS

RESULT = Path("experiments/results/cutouts.json")
SEED = 42
SHIFT = BLUR = 0.01  # of the simulated network, as shares of the image's long side
NETWORK_SIZE = 256
LARGE = (4000, 6000)  # 24 megapixels
PROTOCOL = (
    "SAD in thousands of pixels, MSE in thousandths, gradient error, after C. Rhemann "
    "et al., CVPR 2009, over the whole image; colours: mean error in levels of 255 where alpha is "
    "0.02 to 0.98, on the picture's mean colour as a new background. Means over the images. The "
    "network is simulated: true classes, displaced by 1 % of the long side and blurred by 1 %."
)


def composites(count):
    """Yields of the first drawings of the test split: image (H, W, 3) uint8, class ids (H, W),
    alpha (H, W) float32 and the foreground (H, W, 3) uint8."""
    for number in range(SPLIT_SIZES["train"], SPLIT_SIZES["train"] + count):
        rng = np.random.default_rng([*SyntheticPets.VERSION.tuple, number])
        _, stored, _, alpha, front, back = draw_pet(rng, number % len(BREEDS), alpha=True)
        image = np.rint(front * alpha[..., None] + back * (1 - alpha[..., None]))
        ids = sum(np.where(stored[..., 0] == value, k, 0) for k, value in enumerate(PETS.ids))
        yield image.astype(np.uint8), ids, alpha, front


def simulated(ids, rng):
    """Probabilities (NETWORK_SIZE, NETWORK_SIZE, K) float32 of a network that sees these ids."""
    height, width = ids.shape
    long = max(height, width)
    shift = cv2.GaussianBlur(rng.standard_normal((height, width, 2)), (0, 0), 0.03 * long)
    shift *= SHIFT * long / shift.std(axis=(0, 1))
    places = np.float32(np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1) + shift)
    chances = np.eye(len(PETS), dtype=np.float32)[ids]
    chances = cv2.remap(chances, places, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    chances = cv2.GaussianBlur(chances, (0, 0), BLUR * long)
    return cv2.resize(chances, (NETWORK_SIZE, NETWORK_SIZE))


def errors(alpha, colors, truth, front, image):
    """By name, how far alpha (H, W) and the colours (H, W, 3), 0..255, are from the truth."""
    soft = (truth > 0.02) & (truth < 0.98)
    new = image.mean(axis=(0, 1))
    weights = alpha[..., None], truth[..., None]
    found, right = (w * c + (1 - w) * new for w, c in zip(weights, (colors, front)))
    return {
        "sad": np.abs(alpha - truth).sum() / 1e3,
        "mse": ((alpha - truth) ** 2).mean() * 1e3,
        "gradient": ((_gradient(alpha) - _gradient(truth)) ** 2).sum(),
        "colors": np.abs(found - right)[soft].mean(),
    }


def _gradient(alpha):
    smooth = cv2.GaussianBlur(np.float64(alpha), (0, 0), 1.4)
    return np.hypot(*(cv2.Sobel(smooth, -1, *order) / 8 for order in ((1, 0), (0, 1))))


def contestants(image, ids, probabilities=None):
    """By name, alpha (H, W) in 0..1 and the colours (H, W, 3) that go with it, from class ids or
    from probabilities (h, w, 3)."""
    parts = cutout.roles(PETS)
    if probabilities is None:
        alphas, seen = {}, ids
        cut = {"cut-out": cutout.cut_out(image, ids, parts)}
    else:
        chances = cv2.resize(probabilities, ids.shape[::-1])
        seen = chances.argmax(axis=-1)
        alphas = {"probabilities as alpha": chances[..., 0] + chances[..., 2] / 2}
        two = np.stack([1 - probabilities[..., 1], probabilities[..., 1]], axis=-1)
        cut = {
            "cut-out": cutout.cut_out(image, probabilities, parts),
            "cut-out, network without a border class": cutout.cut_out(image, two, parts),
        }
    masks = {"mask, border as foreground": seen != 1, "mask, border as background": seen == 0}
    return {
        **{name: (np.float32(alpha), image) for name, alpha in {**masks, **alphas}.items()},
        **{name: (rgba[..., 3] / np.float32(255), rgba[..., :3]) for name, rgba in cut.items()},
    }


def large_photo():
    """Seconds of one core, and memory, that the cut-out of a photo of 24 megapixels takes."""
    photo = cv2.resize(skimage.data.chelsea(), LARGE[::-1], interpolation=cv2.INTER_CUBIC)
    columns = np.linspace(-20, 20, NETWORK_SIZE, dtype=np.float32)
    front = np.tile(1 / (1 + np.exp(columns)), (NETWORK_SIZE, 1))  # left foreground, right not
    chances, before = np.dstack([front, 1 - front]), _memory("VmRSS")
    start = time.process_time()
    cutout.cut_out(photo, chances, (0, 1))
    return {
        "pixels": LARGE[0] * LARGE[1],
        "core_seconds": time.process_time() - start,
        "gb_beside_the_photo": (_memory("VmHWM") - before) / 1e9,
    }


def _memory(name):  # bytes of this process, now or at its peak, as Linux says
    return 1024 * int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def main():
    files.check_writable(RESULT)
    # what is only done once comes first: PyMatting compiles itself
    cutout.cut_out(np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 2), 0.5), (0, 1))
    large = large_photo()
    count = len(BREEDS)
    found, matrices = {"true trimap": [], "simulated network": []}, 0
    for number, (image, ids, alpha, front) in enumerate(composites(count)):
        chances = simulated(ids, np.random.default_rng([SEED, number]))
        seen = cv2.resize(chances, ids.shape[::-1]).argmax(axis=-1)
        matrices = matrices + evaluation.confusion_matrix(ids, seen, len(PETS))
        for name, given in zip(found, (None, chances)):
            cut = contestants(image, ids, given)
            found[name].append({k: errors(*v, alpha, front, image) for k, v in cut.items()})
    scores = evaluation.scores(matrices)
    result = {
        "cutouts": {name: _means(rows) for name, rows in found.items()},
        "simulated_iou": scores["iou"],
        "large_photo": large,
        "images": count,
        "data_source": f"synthetic pets, composites with known alpha ({count})",
        "protocol": PROTOCOL,
        "seed": SEED,
        "command": "python -m experiments.cutouts",
        **publish.environment(),
    }
    result["versions"]["pymatting"] = version("pymatting")
    files.write_json(RESULT, result)
    print(json.dumps(result["cutouts"], indent=2))


def _means(rows):
    return {
        name: {measure: float(np.mean([row[name][measure] for row in rows])) for measure in values}
        for name, values in rows[0].items()
    }


if __name__ == "__main__":
    main()
