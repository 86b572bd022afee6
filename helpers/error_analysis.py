"""What a trained network is unsure of, and which part of an image a decision depends on."""

import numpy as np

from helpers import evaluation


def flip_uncertainty(model, images):
    """How much the prediction changes when the image is mirrored, though the classes do not.

    Args:
        model: as in ``evaluation.predict_probabilities``.
        images: (B, H, W, 3), 0..255.

    Returns:
        probabilities (B, H, W, K), the mean of both views; uncertainty (B, H, W), the total
        variation distance between them: 0 the same, 1 sure of different classes.
    """
    images = np.asarray(images)
    straight = evaluation.predict_probabilities(model, images)
    mirrored = evaluation.predict_probabilities(model, images[:, :, ::-1])[:, :, ::-1]
    return (straight + mirrored) / 2, np.abs(straight - mirrored).sum(axis=-1) / 2


def occlusion_map(model, image, pixel, patch=32, stride=16):
    """What the decision at one pixel depends on: a grey patch covers each part of the image in
    turn (Zeiler & Fergus, ECCV 2014, https://arxiv.org/abs/1311.2901).

    It needs no gradients, so it works on every Keras backend.

    Args:
        model: as in ``evaluation.predict_probabilities``.
        image: (H, W, 3), 0..255.
        pixel: (y, x), whose predicted class is asked about.
        patch: side of the grey square, pixels.
        stride: distance between two squares, pixels, at most ``patch``.

    Returns:
        (H, W) float64, 0..1: by how much the probability of that class falls, on average, where a
        patch covers this place. 0 also where it rises.

    Raises:
        ValueError: the pixel lies outside the image, the patches leave gaps, or as in
            ``evaluation.predict_probabilities``.
    """
    image = evaluation.checked_images(np.asarray(image)[None])[0]
    (height, width, _), (y, x) = image.shape, pixel
    if not 1 <= stride <= patch:
        raise ValueError(f"patch={patch}, stride={stride}: expected 1 or more, stride <= patch.")
    if not (0 <= y < height and 0 <= x < width):
        raise ValueError(f"pixel={pixel}: expected (y, x) inside an image of {height}x{width}.")
    before = evaluation.predict_probabilities(model, image[None])[0, y, x]
    chosen = before.argmax()
    corners = [
        (top, left)
        for top in range(-patch // 2, height, stride)
        for left in range(-patch // 2, width, stride)
    ]
    fall, covered = np.zeros((height, width)), np.zeros((height, width))
    for start in range(0, len(corners), 32):
        part = corners[start : start + 32]
        places = [
            (slice(max(0, top), top + patch), slice(max(0, left), left + patch))
            for top, left in part
        ]
        images = np.repeat(image[None], len(part), axis=0)
        for one, place in zip(images, places):
            one[place] = 127
        after = evaluation.predict_probabilities(model, images)[:, y, x, chosen]
        for place, probability in zip(places, after):
            fall[place] += max(0.0, before[chosen] - probability)
            covered[place] += 1
    return fall / np.maximum(covered, 1)
