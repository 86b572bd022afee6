"""A user's own images and masks: looked at first, then opened as a data set.

    images/a.jpg, masks/a.png        a.jpg, a_mask.png        train/images/a.jpg, train/masks/a.png

Nothing is written into the folders, and nothing is guessed silently: ``describe`` says what was
found and how it is read.
"""

import dataclasses
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from helpers.classes import VOID
from helpers.datasets import SPLITS, Dataset
from helpers.datasets.folder import encoding, images, masks, pairs, splits, tables
from helpers.datasets.folder.splits import Splitting

SMALLEST = 8  # pixels a side
REMEDY = "Leave the files alone while a training reads them, and run again."


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """An image and its mask, looked at.

    - ``pair``: pairs.Pair.
    - ``size``: (height, width), upright.
    - ``picture``, ``stored``: images.Picture and masks.Stored, without their pixels.
    - ``pixels``: value of the mask -> number of pixels; ``solid``: see ``masks.solid_values``.
    - ``turn``: EXIF's orientation where the mask is to be turned by it, else 1.
    - ``hash``: perceptual, 63 bits as an int: similar images differ in few of them.
    """

    pair: pairs.Pair
    size: tuple
    picture: images.Picture
    stored: masks.Stored
    pixels: dict
    solid: frozenset
    turn: int
    hash: int

    @property
    def mask(self):
        """The file of the mask."""
        return self.pair.mask.path


class Opened(NamedTuple):
    """``dataset``: datasets.Dataset. ``members``: split -> numbers of ``Look.examples``.
    ``words``: sentences on the splits."""

    dataset: Dataset
    members: dict
    words: list


class Look(NamedTuple):
    """What was found in the folders.

    - ``name``: for titles.
    - ``examples``: list of Example, by name.
    - ``encoding``: encoding.Encoding.
    - ``words``: sentences on how the masks are read and what is doubtful.
    - ``ignored``: sentences on files that are not used.
    - ``faults``: sentences on files that are broken, and left out.
    - ``bands``: as in ``look``.
    """

    name: str
    examples: list
    encoding: encoding.Encoding
    words: list
    ignored: list
    faults: list
    bands: tuple | None

    def areas(self):
        """(examples, classes) int64: pixels by class, void left out."""
        found = np.zeros((len(self.examples), len(self.encoding.labelling)), np.int64)
        for row, example in zip(found, self.examples):
            for value, count in example.pixels.items():
                number = self.encoding.id_of(value)
                if number != VOID:
                    row[number] += count
        return found


def look(
    image_folder, mask_folder, *, classes=None, void=None, bands=None, snap=False, skip_bad=False
):
    """Looks at every file of a folder of images and a folder of masks.

    Images are JPEG, PNG, TIFF, BMP, WebP, GIF or .npy. Masks are pictures of class ids (grey, or
    with a palette) or of colours, COCO JSON or labelme JSON; what their values mean is said by
    ``classes``, by a table in one of the folders (see ``tables.FILES``), or by what is found.

    Args:
        image_folder, mask_folder: as in ``pairs.find_pairs``.
        classes: as in ``tables.read``.
        void, snap: as in ``encoding.decide``.
        bands: as in ``images.read``.
        skip_bad: leaves broken files out and lists them in ``faults``.

    Returns:
        Look.

    Raises:
        ValueError: broken files, unless ``skip_bad``, or nothing to train on. Each is said in a
            sentence: the file, the fault, the remedy.
        ImportError: a kind of file that takes another package.
    """
    image_folder, mask_folder = Path(image_folder), Path(mask_folder)
    found = pairs.find_pairs(image_folder, mask_folder)
    table, source = tables.read(classes, _table_folders(image_folder, mask_folder))
    colors = bool(table) and all(entry.color and entry.id is None for entry in table)
    faults = list(found.faults)
    with ThreadPoolExecutor(min(8, os.cpu_count())) as threads:
        seen = list(threads.map(lambda pair: _examined(pair, bands, colors), found.pairs))
    faults += [one for one in seen if isinstance(one, str)]
    examples = [one for one in seen if isinstance(one, Example)]
    _check(examples, faults, skip_bad)
    code, words, of_masks = encoding.decide(examples, table, source or "the masks", void, snap)
    faults += of_masks.values()
    examples = [example for example in examples if example not in of_masks]
    _check(examples, faults, skip_bad)
    words += sorted({f"Doubtful: {e.picture.doubt}." for e in examples if e.picture.doubt})
    plain = image_folder.name.casefold() not in pairs.IMAGE_FOLDERS
    name = (image_folder if plain else image_folder.resolve().parent).name
    return Look(name, examples, code, words, list(found.ignored), faults, bands)


def dataset_of(found, splitting=None):
    """What was looked at as a data set.

    Its images are JPEG as they were, or PNG of 8 bits RGB; its masks are PNG of class ids, with
    ``VOID`` for what counts for nothing.

    Args:
        found: Look.
        splitting: splits.Splitting; None for those of the folders, or else a draw.

    Returns:
        Opened.

    Raises:
        ValueError: as ``splits.split``; or a class of validation or test is in no training image.
    """
    names = [example.pair.name for example in found.examples]
    given = [example.pair.split for example in found.examples]
    presence = found.areas() > 0
    hashes = [example.hash for example in found.examples]
    splitting = splitting or Splitting()
    members, words = splits.split(names, given, presence, hashes, splitting)
    trained = presence[members["train"]].any(axis=0)
    for number in members["validation"] + members["test"]:
        strange = np.flatnonzero(presence[number] & ~trained)
        if strange.size:
            name = found.encoding.labelling.names[strange[0]]
            raise ValueError(
                f"{names[number]} has the class {name}, which no training image has: move some of "
                f"its images there, or name it as void."
            )
    dataset = Dataset(
        name=found.name,
        labelling=found.encoding.labelling,
        read=functools.partial(_read, found, members),
        read_part=functools.partial(_read, found, members),
        sizes={split: len(own) for split, own in members.items()},
        official=tuple({*given} - {None}) if not splitting.folds else (),
        remedy=REMEDY,
        channels=len(found.bands or "rgb"),
    )
    return Opened(dataset, members, words)


def describe(found):
    """A Look in words: sizes, classes with their shares, what is ignored, what is doubtful."""
    sizes = [example.size for example in found.examples]
    heights, widths = zip(*sizes)
    size = f"{heights[0]} x {widths[0]}"
    if len(set(sizes)) > 1:
        size = f"{min(heights)} to {max(heights)} x {min(widths)} to {max(widths)}"
    areas, labelling = found.areas(), found.encoding.labelling
    lines = [f"{found.name}: {len(sizes)} images with masks, {size} pixels (height x width)"]
    lines += [*found.words, f"{'class':24} {'value':>9} {'pixels':>8} {'images':>8}"]
    values = [v for v, number in found.encoding.classes.items() if number != VOID]
    for name, value, column in zip(labelling.names, values, areas.T):
        value = encoding.shown(value, found.encoding.kind)
        share, where = column.sum() / areas.sum(), (column > 0).mean()
        lines.append(f"{name:24} {value:>9} {100 * share:6.2f} % {100 * where:6.1f} %")
    lines += [f"Ignored: {sentence}" for sentence in found.ignored]
    return "\n".join(lines + [f"Left out: {sentence}" for sentence in found.faults])


def _table_folders(image_folder, mask_folder):
    """Where a table of classes may lie: in the folders, beside them, in those of the splits."""
    above = Path(os.path.commonpath([image_folder.resolve(), mask_folder.resolve()]))
    folders = [mask_folder, image_folder, above]
    if above.name.casefold() in pairs.SPLIT_FOLDERS:
        folders.append(above.parent)
    return folders + [mask_folder / split for split in pairs.SPLIT_FOLDERS]


def _examined(pair, bands, colors):
    """An Example, or a sentence on what is wrong."""
    try:
        picture = images.read(pair.image, bands)
        stored = masks.read(pair.mask, colors)
        size = picture.pixels.shape[:2]
        turn = _turn(pair, size, stored.codes.shape, picture.orientation)
        if min(size) < SMALLEST:
            raise ValueError(
                f"{pair.image} is {size[0]} x {size[1]} pixels, too small to show anything: "
                f"expected {SMALLEST} or more a side; delete it."
            )
        pair.name.encode()  # into the record
    except UnicodeEncodeError:
        return f"{pair.image!r} has a name that is no UTF-8: rename it."
    except (OSError, ValueError) as error:
        return str(error)
    return Example(
        pair,
        size,
        picture._replace(pixels=None),
        stored._replace(codes=None),
        masks.pixels_by_value(stored),
        masks.solid_values(stored),
        turn,
        _perceptual_hash(picture.pixels),
    )


def _turn(pair, size, mask_size, orientation):
    """By which orientation the mask is to be turned, so that it lies on its upright image."""
    if orientation > 1 and size == mask_size and (orientation < 5 or size[0] == size[1]):
        raise ValueError(
            f"{pair.image} is stored turned (EXIF orientation {orientation}), and there is no "
            f"telling whether its mask is: save the image upright."
        )
    if size == mask_size:
        return 1
    if orientation > 4 and size == mask_size[::-1]:
        return orientation
    raise ValueError(
        f"{pair.mask.path} is {mask_size[0]} x {mask_size[1]} pixels, its image {pair.image.name} "
        f"{size[0]} x {size[1]} (height x width): export the mask again at the image's size."
    )


def _perceptual_hash(pixels):
    """Which of the 63 lowest waves of a small grey picture are above their median."""
    first = np.ascontiguousarray(pixels[..., :3])
    small = cv2.resize(first, (32, 32), interpolation=cv2.INTER_AREA).reshape(32, 32, -1)
    waves = cv2.dct(small.mean(axis=-1, dtype=np.float32))[:8, :8].ravel()[1:]
    return int("".join("01"[int(wave)] for wave in waves > np.median(waves)), 2)


def _check(examples, faults, skip_bad):
    if faults and not skip_bad:
        more = (
            f" ({len(faults) - 1} more like this; --skip-bad goes on without)"
            if faults[1:]
            else ""
        )
        raise ValueError(faults[0] + more)
    if len(examples) < len(SPLITS):
        faulty = f" {faults[0]}" if faults else ""
        raise ValueError(
            f"There are {len(examples)} images with masks: expected {len(SPLITS)} or more, one to "
            f"train on, to validate and to test.{faulty}"
        )


def _read(found, members, split, number=0, count=1):
    """The records of a split, or those of one of ``count`` parts of it: a tf.data.Dataset of dicts
    of scalar strings."""

    def load(number):
        return _record(found, found.examples[members[split][number]])

    def record(number):
        parts = tf.numpy_function(load, [number], [tf.string] * 3, stateful=False)
        parts = [tf.ensure_shape(part, ()) for part in parts]
        return dict(zip(("image", "segmentation_mask", "file_name"), parts))

    numbers = tf.data.Dataset.range(number, len(members[split]), count)
    return numbers.map(record, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _record(found, example):
    image, name = example.pair.image, example.pair.name
    if example.picture.as_is:
        content = image.read_bytes()
    else:
        content = images.png(images.read(image, found.bands).pixels)
    stored = masks.read(example.pair.mask, found.encoding.kind == masks.COLORS)
    mask = images.turned(found.encoding.decode(stored), example.turn)
    return content, images.png(mask), name.encode()
