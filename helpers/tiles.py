"""Large images in tiles of their own pixels: to train on, to score and to predict.

Tiles overlap, because a network knows less at a tile's edge. Each pixel belongs to the core of one
tile alone, half an overlap from its edges, and it is that tile's prediction that counts: there are
no seams, and where the overlap is twice as wide as what the network sees about a pixel, the result
is that of the whole image at once.
"""

import dataclasses
import itertools
from typing import NamedTuple

import cv2
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


def cut(pixels, tile, outside=None):
    """The pixels of a tile, (h, w, ...). Beyond the image, it is mirrored, or has the value
    ``outside``."""
    piece = np.ascontiguousarray(pixels[tile.window])
    missing = [w.stop - w.start - have for w, have in zip(tile.window, piece.shape)]
    kind = cv2.BORDER_REFLECT_101 if outside is None else cv2.BORDER_CONSTANT
    return cv2.copyMakeBorder(piece, 0, missing[0], 0, missing[1], kind, value=outside)


def predict(network, photo, overlap):
    """The class of each pixel of an image of any size, tile by tile. Beside the photo and the
    result, memory holds what the network needs for ``BATCH`` tiles.

    Args:
        network: weights.Network, trained on such tiles.
        photo: (H, W, 3) uint8, or anything that is sliced like it, such as a memory map.
        overlap: as in ``grid``.

    Returns:
        (H, W) uint8 class ids of the network's labelling; with one logit only 0 and 1.
    """
    threshold = 0.5 if network.threshold is None else network.threshold
    ids = np.empty(photo.shape[:2], np.uint8)
    tiles = grid(ids.shape, network.model.input_shape[1:3], overlap)
    for first in range(0, len(tiles), BATCH):
        batch = tiles[first : first + BATCH]
        images = np.stack([cut(photo, tile) for tile in batch])
        chances = evaluation.predict_probabilities(network.model, images, network.labelling)
        for tile, found in zip(batch, evaluation.decide(chances, threshold)):
            ids[tile.core] = found[_inside(tile)]
    return ids


def tiled(dataset, size, overlap):
    """A data set whose examples are the tiles of another one's. In training, all of a tile counts;
    in validation and test, only its core does, so that each pixel of an image counts once.

    Args:
        dataset: datasets.Dataset.
        size, overlap: as in ``grid``.

    Returns:
        datasets.Dataset: named as the images are, with ``@`` and the tile's place behind.
    """
    import tensorflow as tf  # here and below, because what only predicts need not load it

    from helpers import datasets

    labelling = dataset.labelling
    if labelling.void is None:
        unused = next(value for value in range(255, -1, -1) if value not in labelling.ids)
        labelling = dataclasses.replace(labelling, void=unused)

    def generate(split):
        for record in datasets.read_records(dataset, split).as_numpy_iterator():
            image = tf.io.decode_jpeg(record["image"], channels=3).numpy()
            mask = tf.io.decode_png(record["segmentation_mask"], channels=1).numpy()[..., 0]
            for tile in grid(mask.shape, size, overlap):
                yield _example(record, image, mask, tile, split, labelling.void) | {
                    key: record[key] for key, _ in dataset.groups.values()
                }

    def read(split):
        signature = dict.fromkeys(("image", "segmentation_mask", "file_name"), tf.string)
        signature |= {key: tf.int64 for key, _ in dataset.groups.values()}
        shapes = {name: tf.TensorSpec((), kind) for name, kind in signature.items()}
        return tf.data.Dataset.from_generator(lambda: generate(split), output_signature=shapes)

    sizes = {split: _count(dataset, split, size, overlap) for split in datasets.SPLITS}
    name = f"tiles of {dataset.name}"
    return dataclasses.replace(
        dataset, name=name, labelling=labelling, read=read, sizes=sizes, parts={}
    )


def by_image(counts):
    """What was counted by tile, summed by image: intervals are of images, as a scene's tiles are
    not independent of each other.

    Args:
        counts: evaluation.Counts of a ``tiled`` data set.

    Returns:
        evaluation.Counts.
    """
    names = [name.rpartition("@")[0] for name in counts.known["file_name"]]
    names, first, places = np.unique(names, return_index=True, return_inverse=True)
    sums = {}
    for field in ("matrices", "own_matrices", "outlines", "own_outlines"):
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


def _inside(tile):
    """The core as slices of the tile."""
    return tuple(
        slice(c.start - w.start, c.stop - w.start) for w, c in zip(tile.window, tile.core)
    )


def _example(record, image, mask, tile, split, void):
    import tensorflow as tf

    piece = cut(mask, tile, void)
    if split != "train":
        core = np.full_like(piece, void)
        core[_inside(tile)] = piece[_inside(tile)]
        piece = core
    place = ",".join(str(window.start) for window in tile.window)
    return {
        "image": tf.io.encode_png(cut(image, tile)).numpy(),
        "segmentation_mask": tf.io.encode_png(piece[..., None]).numpy(),
        "file_name": record["file_name"] + f"@{place}".encode(),
    }


def _count(dataset, split, size, overlap):
    from helpers import datasets

    count = 0
    for record in datasets.read_records(dataset, split).as_numpy_iterator():
        header = record["segmentation_mask"][16:24]  # of a PNG: width and height
        width, height = np.frombuffer(header, ">u4").tolist()
        count += len(grid((height, width), size, overlap))
    return count
