"""The tiles of a data set's images as a data set of its own."""

import dataclasses

import numpy as np
import tensorflow as tf

from helpers import datasets, pipeline, tiles
from helpers.datasets.folder import images


def tiled(dataset, find_tiles):
    """A data set whose examples are the tiles of another one's. In training, all of a tile that
    lies in the image counts; in validation and test, only its core does, so that each pixel of an
    image counts once.

    Args:
        dataset: datasets.Dataset.
        find_tiles: function of an image's (height, width) that returns its Tiles, such as
            ``tiles.grid`` or ``tiles.frame`` with all else given.

    Returns:
        datasets.Dataset: named as the images are, with ``@`` and the tile's place behind.
    """
    labelling = dataset.labelling
    if labelling.void is None:
        unused = next(value for value in range(255, -1, -1) if value not in labelling.ids)
        labelling = dataclasses.replace(labelling, void=unused)

    def generate(split):
        for record in datasets.read_records(dataset, split).as_numpy_iterator():
            image = pipeline.decode_image(record["image"], dataset.channels).numpy()
            mask = tf.io.decode_png(record["segmentation_mask"], channels=1).numpy()[..., 0]
            for tile in find_tiles(mask.shape):
                yield _example(record, image, mask, tile, split, labelling.void) | {
                    key: record[key] for key, _ in dataset.groups.values()
                }

    def read(split):
        signature = dict.fromkeys(("image", "segmentation_mask", "file_name"), tf.string)
        signature |= {key: tf.int64 for key, _ in dataset.groups.values()}
        shapes = {name: tf.TensorSpec((), kind) for name, kind in signature.items()}
        return tf.data.Dataset.from_generator(lambda: generate(split), output_signature=shapes)

    sizes = {split: _count(dataset, split, find_tiles) for split in datasets.SPLITS}
    name = f"tiles of {dataset.name}"
    return dataclasses.replace(
        dataset,
        name=name,
        labelling=labelling,
        read=read,
        read_part=None,
        sizes=sizes,
        parts={},
    )


def _example(record, image, mask, tile, split, void):
    piece = tiles.cut(mask, tile, void)
    if split != "train":
        core = np.full_like(piece, void)
        core[tiles.inside(tile)] = piece[tiles.inside(tile)]
        piece = core
    place = ",".join(str(window.start) for window in tile.window)
    return {
        "image": images.png(tiles.cut(image, tile)),
        "segmentation_mask": images.png(piece),
        "file_name": record["file_name"] + f"@{place}".encode(),
    }


def _count(dataset, split, find_tiles):
    count = 0
    for record in datasets.read_records(dataset, split).as_numpy_iterator():
        header = record["segmentation_mask"][16:24]  # of a PNG: width and height
        width, height = np.frombuffer(header, ">u4").tolist()
        count += len(find_tiles((height, width)))
    return count
