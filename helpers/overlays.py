"""Masks in the colours of their classes, alone and laid over the photo: arrays in, arrays out.
Without matplotlib, unlike ``helpers.visualization.pictures``, which says what these take."""

import cv2
import numpy as np

from helpers.classes import VOID

VOID_COLOR = (225, 225, 225)
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def color_mask(mask, labelling):
    """One mask in the class colours: (H, W, 3) uint8 RGB."""
    return look_up(check_labels(mask, "mask", labelling), labelling.colors, VOID_COLOR)


def overlay(image, mask, labelling, alpha=0.4):
    """One image tinted with the class colours, regions outlined in black and white.

    In a labelling with border rules or of two classes, the first class is outlined; in any other,
    every class is, with a thinner line. ``alpha`` is the strength of the tint, 0..1. Returns
    (H, W, 3) uint8 RGB.
    """
    image = check_images(image, "image", ndim=3)
    labels = check_labels(mask, "mask", labelling, image.shape[:2])
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha is {alpha}: give a number from 0 (photo only) to 1 (mask only).")
    colors = look_up(labels, labelling.colors, VOID_COLOR)
    tinted = np.rint((1.0 - alpha) * image + alpha * colors).astype(np.uint8)
    # A dark line beside a light one stands out on any photo, without colour.
    alone = first_alone(labelling)
    regions = np.minimum(labels, 1) if alone else labels
    width = max(1, round(max(labels.shape) / (160 if alone else 480)))
    tinted[regions < cv2.dilate(regions, _CROSS, iterations=width)] = 0
    tinted[regions > cv2.erode(regions, _CROSS, iterations=width)] = 255
    return tinted


def look_up(labels, values, void):  # the value of each pixel's class
    table = np.array([void] * (VOID + 1), np.uint8)
    table[: len(values)] = values
    return table[labels]


def first_alone(labelling):  # whether the other classes are the background of the first
    return len(labelling) == 2 or bool(labelling.border_rules)


def check_images(images, name, ndim):  # -> uint8
    images = as_array(images, name)
    if images.ndim != ndim or images.shape[-1] != 3:
        expected = "(N, H, W, 3)" if ndim == 4 else "(H, W, 3)"
        raise ValueError(f"{name} has shape {images.shape}: expected {expected}, RGB.")
    if images.dtype.kind not in "uif" or not (images.min() >= 0 and images.max() <= 255):
        raise ValueError(
            f"{name} ({images.dtype}) has values outside 0..255: undo the model's scaling first."
        )
    if images.dtype.kind == "f" and 0 < images.max() <= 1:
        raise ValueError(f"{name} has values in 0..1: expected 0..255, so multiply by 255.")
    return np.rint(images).astype(np.uint8)


def check_labels(labels, name, labelling, shape=None):  # -> uint8, without a last axis of 1
    labels = as_array(labels, name)
    given, ndim = labels.shape, 2 if shape is None else len(shape)
    if labels.ndim == ndim + 1 and given[-1] == 1:
        labels = labels[..., 0]
    if labels.ndim != ndim or labels.shape != (shape or labels.shape):
        raise ValueError(
            f"{name} has shape {given}: expected {shape or '(H, W)'}, one class id for each pixel "
            f"of the image; take np.argmax(..., axis=-1) of scores per class."
        )
    if labels.dtype.kind not in "ui":
        raise ValueError(
            f"{name} is {labels.dtype}: expected integer class ids; convert with .astype('uint8')."
        )
    if not ((labels >= 0) & (labels < len(labelling)) | (labels == VOID)).all():
        ids = np.unique(labels[labels != VOID]).tolist()
        classes = ", ".join(f"{number} {word}" for number, word in enumerate(labelling.names))
        stored, first = {*ids} <= {*labelling.ids, labelling.void}, labelling.ids[0]
        remedy = "These are stored values; decode them" if stored else "Check the labelling"
        if stored and labelling.ids == tuple(range(first, first + len(labelling))) and first:
            remedy += f": subtract {first}"
        raise ValueError(
            f"{name} has class ids {ids[0]}..{ids[-1]}: expected {classes}; or {VOID}, void. "
            f"{remedy}."
        )
    return labels.astype(np.uint8)


def as_array(values, name):
    """As an array, or a ValueError where it is ragged or empty."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # NumPy's own words for this are hard to read
        raise ValueError(f"{name} differ in size among themselves: make them equal.") from error
    if array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}, nothing to draw: pass at least one.")
    return array
