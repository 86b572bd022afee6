"""Dice and IoU from counted pixels. Without Keras, unlike ``helpers.dice``: what predicts a photo
need not load it."""

import numpy as np


def dice_from_counts(shared, total):
    """Dice from counted pixels; 1 where there were none.

    Args:
        shared: (...) numbers, |A and B|.
        total: (...) numbers, |A| + |B|.

    Returns:
        (...) float64, 0..1.
    """
    shared, total = np.asarray(shared, np.float64), np.asarray(total, np.float64)
    return np.where(total > 0, 2 * shared / np.where(total > 0, total, 1), 1.0)


def iou_from_counts(shared, total):
    """As ``dice_from_counts``: |A and B| / |A or B|."""
    return np.where(total > 0, shared / np.where(total > 0, total - shared, 1), 1.0)
