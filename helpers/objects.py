"""Counting: the connected regions of each class, and how large they are."""

import cv2
import numpy as np


def areas(ids, labelling):
    """The areas of the connected regions of each class; pixels that touch at a corner are
    connected.

    Args:
        ids: (H, W) uint8 class ids, or ``VOID``.
        labelling: classes.Labelling.

    Returns:
        dict: name of the class -> list of int, pixels.
    """
    found = {}
    for number, name in enumerate(labelling.names):
        region = (np.asarray(ids) == number).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(region, connectivity=8)
        found[name] = stats[1:, cv2.CC_STAT_AREA].tolist()  # the first is what is not in the class
    return found


def summary(found):
    """Counts and sizes of what ``areas`` found in several images.

    Args:
        found: list of what it returned, one an image.

    Returns:
        dict: name of the class -> dict of ``count``, ``per_image`` and, where there is any,
        ``mean_area``, ``median_area``, ``smallest`` and ``largest``, pixels.
    """
    result = {}
    for name in found[0]:
        sizes = np.array([area for one in found for area in one[name]])
        result[name] = {"count": len(sizes), "per_image": len(sizes) / len(found)}
        if len(sizes):
            result[name] |= {
                "mean_area": float(sizes.mean()),
                "median_area": float(np.median(sizes)),
                "smallest": int(sizes.min()),
                "largest": int(sizes.max()),
            }
    return result
