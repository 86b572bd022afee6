"""Mask files as people have them: what their values are, before it is decided what they mean."""

from typing import NamedTuple

import cv2
import numpy as np

from helpers.datasets.folder import annotations, images

IDS, COLORS, LABELS = "class ids", "colours", "labels"
_PACK = np.array([2**16, 2**8, 1])


class Stored(NamedTuple):
    """A mask as it is stored.

    - ``codes``: (H, W) int32.
    - ``kind``: of a code: ``IDS``, a whole number; ``COLORS``, 0xRRGGBB; ``LABELS``, a place in
      ``labels``.
    - ``form``: the kind of file in words.
    - ``palette``: the colours of ids 0 to 255, 0xRRGGBB, where the file has some.
    """

    codes: np.ndarray
    kind: str
    form: str
    labels: tuple = ()
    palette: tuple = ()

    def value(self, code):
        """What a code stands for: a number, a colour or a label."""
        return self.labels[code] if self.kind == LABELS else int(code)


def read(source, colors=False):
    """The mask of a ``pairs.Source``.

    Args:
        source: Source.
        colors: gives colours also of masks of a palette, or of grey.

    Raises:
        ValueError, OSError, ImportError: it cannot be read; says why and what to do.
    """
    path, number = source
    if path.suffix.lower() == ".json":
        codes, labels = annotations.draw(path, number)
        return Stored(codes, LABELS, "JSON", labels)
    image = None if path.suffix == ".npy" else images.opened(path)
    form = path.suffix if image is None else image.format
    if image is not None and image.mode == "P":
        table = np.zeros((256, 3), np.uint8)
        listed = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        table[: len(listed)] = listed
        table = table @ _PACK
        ids, form = np.asarray(image).astype(np.int32), f"palette {form}"
        return Stored(
            table[ids] if colors else ids, COLORS if colors else IDS, form, (), (*table,)
        )
    if image is not None and image.mode not in ("1", "L", "I", "F") and image.mode[:2] != "I;":
        codes = _opaque(image, path) @ _PACK
        grey = not (codes % 0x010101).any()
        if not grey or colors:
            return Stored(codes.astype(np.int32), COLORS, f"RGB {form}")
        return Stored((codes % 256).astype(np.int32), IDS, f"grey-in-RGB {form}")
    ids = _whole(images.read_array(path) if image is None else np.asarray(image), path)
    form = form if image is None else f"grey {form}"
    return Stored(ids * 0x010101 if colors else ids, COLORS if colors else IDS, form)


def pixels_by_value(stored):
    """value -> number of pixels."""
    codes = stored.codes.ravel()
    if codes.min() >= 0 and codes.max() < 2**16:  # much faster
        counts = np.bincount(codes)
        return {stored.value(code): int(counts[code]) for code in np.flatnonzero(counts)}
    return {stored.value(code): int(n) for code, n in zip(*np.unique(codes, return_counts=True))}


def solid_values(stored):
    """The values that fill a square of 3x3 pixels somewhere. What smoothing puts between two
    values does not: it is a thin line."""
    small = stored.codes.min() >= 0 and stored.codes.max() < 256
    codes = stored.codes.astype(np.uint8 if small else np.float64)
    square = np.ones((3, 3), np.uint8)
    even = cv2.erode(codes, square) == cv2.dilate(codes, square)
    return frozenset(stored.value(code) for code in np.unique(stored.codes[even]))


def _whole(values, path):
    if values.ndim == 2 and np.isfinite(values).all() and (np.abs(values) < 2**31).all():
        if (values == np.rint(values)).all():
            return values.astype(np.int32)
    raise ValueError(
        f"{path} holds {values.dtype} of shape {values.shape}: expected one whole number a pixel, "
        f"the id of its class."
    )


def _opaque(image, path):
    """(H, W, 3) uint8; black where the mask is transparent."""
    values = np.asarray(image.convert("RGBA"))
    colors, alpha = values[..., :3], values[..., 3:]
    if not np.isin(alpha, (0, 255)).all():
        raise ValueError(
            f"{path} has half-transparent pixels, whose class is unclear: save it without "
            f"transparency."
        )
    return np.where(alpha == 0, 0, colors).astype(np.int32)
