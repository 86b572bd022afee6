"""Cuts what a network has found out of a photograph: with its fur, without its old background.

A mask says of each pixel whether it is of the foreground; along fur and whiskers neither is right.
Alpha matting finds how much of each pixel is foreground, from a *trimap*: what is surely
foreground, surely background, and unknown. The border class of a labelling is such an unknown
band; it is widened where the network is unsure. Alpha is that of A. Levin, D. Lischinski, Y.
Weiss, *A Closed-Form Solution to Natural Image Matting* (TPAMI 2008), the foreground's colours
those of T. Germer et al., *Fast Multi-Level Foreground Estimation* (ICPR 2020), both by PyMatting.
"""

from pathlib import Path

import cv2
import numpy as np
import PIL.ImageColor

from helpers import photos
from helpers.classes import VOID

WORKING = 400_000  # pixels of the photo when it is matted: more takes time and memory, to no gain
SURE = 0.9  # the probability from which on a pixel is taken as known
MARGIN = 0.006  # by which the unknown band is widened on each side, as a share of the long side
BAND = 0.025  # the same without a border class, where the band is around an outline
PRIOR = 0.002  # weight of the network's word in the unknown band, against the photo's colours
EPSILON = 1e-6  # variance of a colour that the matting Laplacian takes for noise
FOREGROUND, UNKNOWN, BACKGROUND = 255, 128, 0


def roles(labelling, foreground=None):
    """What each class is to a cut-out.

    Args:
        labelling: classes.Labelling.
        foreground: names of the classes to cut out. None for the first, where border rules say
            what the others count as: without them, the first is as often the background.

    Returns:
        tuple of one entry a class: 0 foreground, 1 background, ``VOID`` a border, whose pixels may
        be of either.

    Raises:
        ValueError: an unknown name; or None where any class could be meant.
    """
    names = ", ".join(labelling.names)
    if foreground is not None:
        if not foreground or not {*foreground} < {*labelling.names}:
            raise ValueError(f"foreground={foreground}: expected some, not all, of {names}.")
        return tuple(0 if name in foreground else 1 for name in labelling.names)
    if labelling.border_rules:
        return max(labelling.border_rules.values(), key=lambda rule: rule.count(VOID))
    raise ValueError(
        f"What is to be cut out? Name one or more of the classes, by --foreground or foreground=: "
        f"{names}."
    )


def trimap(probabilities, parts, size):
    """What is surely foreground, surely background, and unknown.

    Args:
        probabilities: (h, w, K) of the classes, or (h, w) integer class ids.
        parts: from ``roles``, one entry a class; a network of one logit has the first two.
        size: (height, width) of the result, pixels.

    Returns:
        (height, width) uint8: ``FOREGROUND``, ``UNKNOWN`` or ``BACKGROUND``.
    """
    if np.ndim(probabilities) == 3:
        parts = parts[: np.shape(probabilities)[-1]]
    radius = round(max(size) * (MARGIN if VOID in parts else BAND))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    likely = [np.uint8(chance > SURE) for chance in _chances(probabilities, parts, size)]
    sure = [cv2.erode(part, disk) > 0 for part in likely]
    return np.select(sure, [np.uint8(FOREGROUND), np.uint8(BACKGROUND)], np.uint8(UNKNOWN))


def cut_out(photo, probabilities, parts):
    """A photograph with an alpha channel.

    Matted at no more than ``WORKING`` pixels. A larger photo's alpha follows from its own colours
    by a guided filter (K. He, J. Sun, *Fast Guided Filter*, 2015), its foreground's colours by
    blur fusion (M. Forte, *Approximate Fast Foreground Colour Estimation*, ICIP 2021), strip by
    strip: beside photo and result it takes 0.2 GB, and 1 GB where the network is sure of nothing.

    Args:
        photo: (H, W, 3) uint8 RGB.
        probabilities, parts: as in ``trimap``, of the same photo at any size.

    Returns:
        (H, W, 4) uint8: the colours of the foreground alone, RGB, not multiplied by alpha, and 0
        where alpha is; and alpha, 0..255.
    """
    height, width = photo.shape[:2]
    share = min(1, (WORKING / (height * width)) ** 0.5)
    size = max(1, round(height * share)), max(1, round(width * share))
    small = _resized(photo, size) / np.float32(255)
    known, chances = trimap(probabilities, parts, size), _chances(probabilities, parts, size)
    alpha, *layers = _matted(small, known, chances)
    layers += [alpha[..., None]] if share == 1 else _guided(small, alpha)
    result = np.empty((height, width, 4), np.uint8)
    for rows in photos.strips(height, width):
        strip = photo[rows] / np.float32(255)
        front, back, *line = (_rows(layer, rows, (height, width)) for layer in layers)
        if share < 1:
            line = [(line[0] * strip).sum(-1, keepdims=True) + line[1]]
        alpha = line[0].clip(0, 1)
        front += alpha * (strip - alpha * front - (1 - alpha) * back)
        front[alpha[..., 0] < 0.5 / 255] = 0
        result[rows] = np.rint(255 * np.concatenate([front.clip(0, 1), alpha], axis=-1))
    return result


def compose(cutout, background):
    """A cut-out on another background.

    Args:
        cutout: (H, W, 4) uint8, from ``cut_out``.
        background: (red, green, blue), 0..255; or a photo (h, w, 3) uint8, which is scaled to
            fill the picture and cut at its sides.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = cutout.shape[:2]
    behind = np.asarray(background, np.uint8)
    if behind.ndim == 3:
        high, wide = behind.shape[:2]
        scale = max(height / high, width / wide)
        kept = max(1, round(height / scale)), max(1, round(width / scale))
        top, left = (high - kept[0]) // 2, (wide - kept[1]) // 2
        behind = behind[top : top + kept[0], left : left + kept[1]]
        behind = _resized(behind, (height, width))
    result = np.empty((height, width, 3), np.uint8)
    for rows in photos.strips(height, width):
        alpha = cutout[rows, :, 3:] / np.float32(255)
        new = behind[rows] if behind.ndim == 3 else behind
        result[rows] = np.rint(alpha * cutout[rows, :, :3] + (1 - alpha) * new)
    return result


def open_background(text, read):
    """What ``compose`` takes, from a user's words.

    Args:
        text: path of a photo; or a colour as CSS writes it: "white", "#f0f0f0", "rgb(9, 9, 9)".
        read: function, path -> (h, w, 3) uint8.

    Raises:
        ValueError: neither; or what ``read`` raises.
    """
    if Path(text).exists():
        return read(text)
    try:
        return PIL.ImageColor.getrgb(text)[:3]
    except ValueError as error:
        raise ValueError(
            f"{text} is neither a photo that is there nor a colour: expected a file, or a colour "
            f"such as white or #f0f0f0."
        ) from error


def _chances(probabilities, parts, size):
    """The probabilities of foreground and background, two (height, width) float32."""
    values, parts = np.asarray(probabilities), np.array(parts)
    for part in (0, 1):
        if values.ndim == 2:
            chance = np.isin(values, np.flatnonzero(parts == part))
        else:
            chance = values[..., parts[: values.shape[-1]] == part].sum(-1)
        yield _resized(np.float32(chance), size)


def _matted(photo, known, chances):
    """Alpha (h, w), foreground and background (h, w, 3), float32 in 0..1.

    In the unknown band colours alone can stray, so alpha is drawn, weakly, to what the network
    says (a data term, as in J. Wang, M. Cohen, *Optimized Color Sampling for Robust Matting*,
    CVPR 2007).

    Args:
        photo: (h, w, 3) float32 in 0..1.
        known: (h, w) uint8, from ``trimap``.
        chances: from ``_chances``.
    """
    import pymatting  # a second by itself; once, when it compiles itself, half a minute
    import scipy.sparse

    alpha = np.float64(known.ravel() == FOREGROUND)
    sure = known != UNKNOWN
    unknown, rest = np.flatnonzero(~sure), np.flatnonzero(sure)
    if len(unknown):
        laplacian = pymatting.cf_laplacian(np.float64(photo), EPSILON, is_known=sure)[unknown]
        front, back = (np.float64(chance).ravel()[unknown] for chance in chances)
        pull = PRIOR * np.abs(front - back) + 1e-5  # never 0, so that it is soon solved
        matrix = (laplacian[:, unknown] + scipy.sparse.diags_array(pull)).tocsr()
        target = pull * (front > back) - laplacian[:, rest] @ alpha[rest]
        if target.any():  # the solver divides by it
            # Symmetric: its transpose is the same matrix, by columns, without a copy.
            near = pymatting.ichol(matrix.T)
            alpha[unknown] = pymatting.cg(matrix, target, M=near, rtol=1e-4)
    alpha = np.float32(alpha.clip(0, 1)).reshape(known.shape)
    return alpha, *pymatting.estimate_foreground_ml(photo, alpha, return_background=True)


def _guided(photo, alpha, radius=1, epsilon=1e-5):
    """Slopes (h, w, 3) and offset (h, w, 1) of the guided filter, float32: a pixel's alpha is its
    colour times the slopes plus the offset, at any size of the photo."""

    def mean(values):
        return cv2.blur(values, (2 * radius + 1, 2 * radius + 1))

    color, level = mean(photo), mean(alpha)[..., None]
    products = (photo[..., None] * photo[..., None, :]).reshape(*alpha.shape, 9)
    spread = mean(products).reshape(*alpha.shape, 3, 3) - color[..., None] * color[..., None, :]
    shared = mean(photo * alpha[..., None]) - color * level
    spread += epsilon * np.eye(3, dtype=np.float32)
    slopes = np.linalg.solve(spread, shared[..., None])[..., 0]
    offset = level - (slopes * color).sum(-1, keepdims=True)
    return mean(slopes), mean(offset)[..., None]


def _resized(image, size):
    how = cv2.INTER_AREA if size[0] < len(image) else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=how)


def _rows(layer, rows, size):
    """These rows of a layer (h, w, C) float32 resized bilinearly to a size, as by OpenCV."""
    strip = photos.resized_rows(layer, rows, size[0]).astype(np.float32)
    return cv2.resize(strip, (size[1], len(strip))).reshape(len(strip), size[1], -1)
