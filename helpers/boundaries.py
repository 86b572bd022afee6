"""How near a prediction's outlines come to the true ones, and its errors to a change of class."""

import cv2
import numpy as np

from helpers.classes import VOID

OUTLINE_WIDTH = 2  # pixels that an outline may be off and still count as found
DISTANCES = (1, 2, 4, 8, 16, 32, 64)  # pixels from the nearest change of class: edges of bins
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_ACROSS = np.arange(-OUTLINE_WIDTH, OUTLINE_WIDTH + 1)
_DISC = (_ACROSS[:, None] ** 2 + _ACROSS**2 <= OUTLINE_WIDTH**2).astype(np.uint8)


def outline(region, void=None):
    """The pixels of a region that have a neighbour above, below, left or right outside it.

    Neither the image's own edge nor the edge of a void area is an outline: nobody drew it. If the
    latter were one, every prediction would find it, and more void would mean better scores. (Where
    void lies all along between the classes, as in PASCAL VOC, no outline is left to score.)

    Args:
        region: (H, W) bool.
        void: (H, W) bool, pixels that count for nothing; None if there are none.

    Returns:
        (H, W) bool.
    """
    void = np.zeros_like(region) if void is None else void
    inside = cv2.erode((region | void).astype(np.uint8), _CROSS) > 0
    return region & ~void & ~inside


def outline_counts(truth, guess, void=None):
    """How much of one outline lies near the other, both ways: within ``OUTLINE_WIDTH`` pixels.

    Args:
        truth, guess: (H, W) bool, a region.
        void: as in ``outline``.

    Returns:
        (4,) int64: predicted outline near the true one, predicted outline, true outline near the
        predicted one, true outline, in pixels.
    """
    true, predicted = outline(truth, void), outline(guess, void)
    near_true, near_predicted = (
        cv2.dilate(line.astype(np.uint8), _DISC) > 0 for line in (true, predicted)
    )
    counts = (predicted & near_true, predicted, true & near_predicted, true)
    return np.array([np.count_nonzero(part) for part in counts], np.int64)


def outline_f(counts):
    """The boundary F-score (Csurka et al., BMVC 2013): the harmonic mean of the share of the
    predicted outline that is near the true one, and of the true one that is near the predicted.

    1 where there is neither outline, 0 where there is only one of them.

    Args:
        counts: (..., 4) from ``outline_counts``.

    Returns:
        (...) float64.
    """
    hit, predicted, found, true = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    precision = hit / np.where(predicted == 0, 1, predicted)
    recall = found / np.where(true == 0, 1, true)
    both = precision + recall
    f = 2 * precision * recall / np.where(both == 0, 1, both)
    return np.where((predicted == 0) & (true == 0), 1.0, f)


def distance_counts(masks, counted, wrong):
    """Pixels by their distance from the nearest change of class.

    A pixel is at a change where it differs from its neighbour above or on the left and neither is
    void.

    Args:
        masks: (B, H, W) class ids, or ``VOID``.
        counted, wrong: (B, H, W) bool: the pixels that count, and those of them that are wrong.

    Returns:
        (len(DISTANCES) + 1, 2) float64: pixels and wrong ones, nearer than each distance, and
        farther than all.
    """
    counts = np.zeros((len(DISTANCES) + 1, 2))
    for mask, inside, missed in zip(masks, counted, wrong):
        change = np.zeros(mask.shape, bool)
        change[:, 1:] |= _differ(mask[:, 1:], mask[:, :-1])
        change[1:] |= _differ(mask[1:], mask[:-1])
        if change.any():
            far = cv2.distanceTransform(
                (~change).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
            )
        else:  # one class alone: nowhere near a change
            far = np.full(mask.shape, np.inf)
        bins = np.searchsorted(DISTANCES, far[inside], side="right")
        for column, weights in enumerate((None, missed[inside])):
            counts[:, column] += np.bincount(bins, weights, len(counts))
    return counts


def _differ(a, b):
    return (a != b) & (a != VOID) & (b != VOID)
