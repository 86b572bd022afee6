"""Images cut to fit a network: large ones into tiles of their own pixels, and any one into a frame
of the network's aspect ratio (a letterbox); to train on, to score and to predict.

Tiles overlap, because a network knows less at a tile's edge. Each pixel belongs to the core of one
tile alone, half an overlap from its edges, and it is that tile's prediction that counts: there are
no seams, and where the overlap is twice as wide as what the network sees about a pixel, the result
is that of the whole image at once.
"""

import itertools
from typing import NamedTuple

import numpy as np

from helpers import evaluation, photos

BATCH = 4  # tiles that are predicted at once


class Tile(NamedTuple):
    """``window``: the tile, (rows, columns), which may reach beyond the image. ``core``: the part
    of the image that it decides about. Slices."""

    window: tuple
    core: tuple


def grid(image_size, size, overlap):
    """The tiles of an image, row by row; their cores cover it without overlap.

    Args:
        image_size: (height, width), pixels.
        size: of the tiles, int or (height, width).
        overlap: of neighbours, pixels, even. ``size - overlap`` should be a multiple of what the
            network's poolings ask of its input (32 with MobileNetV2).

    Returns:
        list of Tile.

    Raises:
        ValueError: an overlap that is odd, below 0 or not smaller than the tiles.
    """
    size = photos.sides(size)
    if overlap % 2 or not 0 <= overlap < min(size):
        raise ValueError(f"overlap={overlap}: expected an even number, 0 to below {min(size)}.")
    axes = [_along(*both, overlap) for both in zip(image_size, size)]
    return [Tile(*zip(rows, columns)) for rows, columns in itertools.product(*axes)]


def frame(image_size, size):
    """The whole of an image as one tile of the aspect ratio of ``size``, with margins below or to
    the right: a letterbox.

    Args:
        image_size: (height, width), pixels.
        size: of the network's input, int or (height, width).

    Returns:
        list of one Tile.
    """
    size = photos.sides(size)
    scale = max(own / side for own, side in zip(image_size, size))
    window = [max(own, round(scale * side)) for own, side in zip(image_size, size)]
    return [Tile(tuple(map(slice, (0, 0), window)), tuple(map(slice, (0, 0), image_size)))]


def cut(pixels, tile, outside=None):
    """The pixels of a tile, (h, w, ...). Beyond the image, it is mirrored, or has the value
    ``outside``."""
    piece = np.ascontiguousarray(pixels[tile.window])
    missing = [(0, w.stop - w.start - have) for w, have in zip(tile.window, piece.shape)]
    missing += [(0, 0)] * (piece.ndim - 2)
    if outside is None:
        return np.pad(piece, missing, "reflect")
    return np.pad(piece, missing, constant_values=outside)


def predict(network, photo, overlap):
    """The class of each pixel of an image of any size, tile by tile. Beside the photo and the
    result, memory holds what the network needs for ``BATCH`` tiles.

    Args:
        network: weights.Network, trained on such tiles.
        photo: (H, W, channels) uint8, or anything that is sliced like it, such as a memory map.
        overlap: as in ``grid``.

    Returns:
        (H, W) uint8 class ids of the network's labelling; with one logit only 0 and 1.
    """
    ids = np.empty(photo.shape[:2], np.uint8)
    tiles = grid(ids.shape, network.model.input_shape[1:3], overlap)
    for first in range(0, len(tiles), BATCH):
        batch = tiles[first : first + BATCH]
        pieces = np.stack([cut(photo, tile) for tile in batch])
        chances = evaluation.predict_probabilities(network.model, pieces, network.labelling)
        for tile, found in zip(batch, evaluation.decide(chances, network.threshold)):
            ids[tile.core] = found[inside(tile)]
    return ids


def by_image(counts):
    """What was counted by tile, summed by image: intervals are of images, as a scene's tiles are
    not independent of each other.

    Args:
        counts: evaluation.Counts of a data set from ``datasets.tiled``.

    Returns:
        evaluation.Counts.
    """
    names = [name.rpartition("@")[0] for name in counts.known["file_name"]]
    names, first, places = np.unique(names, return_index=True, return_inverse=True)
    sums = {}
    for field in ("matrices", "own_matrices", "outlines", "own_outlines", "confidences"):
        values = getattr(counts, field)
        sums[field] = np.zeros((len(names), *values.shape[1:]), values.dtype)
        np.add.at(sums[field], places, values)
    known = {key: np.asarray(values)[first] for key, values in counts.known.items()}
    return counts._replace(**sums, known={**known, "file_name": names.tolist()})


def _along(length, size, overlap):
    """(window, core) of the tiles along one side."""
    starts = range(0, max(1, length - overlap), size - overlap)
    edges = [0, *(start + overlap // 2 for start in starts[1:]), length]
    cores = [slice(*pair) for pair in itertools.pairwise(edges)]
    return list(zip((slice(start, start + size) for start in starts), cores))


def inside(tile):
    """A tile's core as slices of the tile."""
    return tuple(
        slice(c.start - w.start, c.stop - w.start) for w, c in zip(tile.window, tile.core)
    )
