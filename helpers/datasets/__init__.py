"""Where examples come from. Each data set gives the same records in the same three splits.

A record is a dict: ``image`` (scalar string, a JPEG or PNG of RGB; of other channels a grey PNG
that holds them one below the other, see ``pipeline.decode_image``), ``segmentation_mask`` (scalar
string, a PNG of one channel with the values that the labelling names), ``file_name`` (scalar
string), and the groups that the data set knows, such as a breed (scalar int64).
"""

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from helpers.classes import Labelling

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """An opened data set, or a part of one, see ``subset``.

    - ``name``: for titles and results.
    - ``labelling``: of its masks.
    - ``read``: function of a split that returns its records, a tf.data.Dataset.
    - ``sizes``: split -> number of examples.
    - ``groups``: what reports slice by: key of the report -> (key of the record, its ids' names).
    - ``official``: the splits that the data set's authors made.
    - ``remedy``: what to do where a record turns out to be damaged, a sentence.
    - ``parts``: split -> the first so many examples (int) or the names of files (tuple).
    - ``channels``: of the images; 3 for RGB.
    - ``read_part``: function of a split, a number and a count that returns the records of one of
      so many parts, and reads no others; None where the data set cannot. See ``shard``.
    """

    name: str
    labelling: Labelling
    read: Callable
    sizes: Mapping
    groups: Mapping = dataclasses.field(default_factory=dict)
    official: tuple = ()
    remedy: str = ""
    parts: Mapping = dataclasses.field(default_factory=dict)
    channels: int = 3
    read_part: Callable | None = None


def subset(dataset, **parts):
    """A part of a data set.

    Args:
        dataset: Dataset.
        parts: by split, ``train``, ``validation`` or ``test``: an int for the first so many
            examples, a list of ``file_name`` for these, None for all. Splits that are not named
            stay as they are.

    Returns:
        Dataset.

    Raises:
        ValueError: an unknown split, or a number below 1.
    """
    chosen = dict(dataset.parts)
    for split, part in parts.items():
        _check_split(split)
        if isinstance(part, int) and part < 1:
            raise ValueError(f"{split}={part}: expected 1 or more examples, or None for all.")
        chosen[split] = part if part is None or isinstance(part, int) else tuple(sorted(part))
    return dataclasses.replace(dataset, parts=chosen)


def shard(dataset, split, number, count):
    """One of ``count`` parts of a split, of equal size and without common examples, as a data set
    that reads only that part.

    Raises:
        ValueError: an unknown split, one whose examples cannot be shared evenly, or one that
            cannot be read in parts.
    """
    _check_split(split)
    if count == 1:
        return dataset
    if dataset.read_part is None or dataset.parts.get(split) is not None:
        raise ValueError(
            f"The {split} split of {dataset.name}, or the subset of it that was asked for, can "
            f"only be read as a whole: set shards to 1, which one process alone can."
        )
    size = dataset.sizes[split]
    if size % count:
        raise ValueError(
            f"{count} shards cannot share the {size} examples of the {split} split of "
            f"{dataset.name} evenly: set a number that divides them."
        )

    def read(asked):
        return dataset.read_part(asked, number, count) if asked == split else dataset.read(asked)

    return dataclasses.replace(
        dataset,
        read=read,
        sizes={**dataset.sizes, split: size // count},
        read_part=None,
    )


def read_records(dataset, split):
    """The records of a split, image and mask still as their stored bytes, in the order of the
    files: a tf.data.Dataset of dicts.

    Raises:
        ValueError: an unknown split.
    """
    _check_split(split)
    records, part = dataset.read(split), dataset.parts.get(split)
    if isinstance(part, tuple):
        names = tf.constant(part)
        return records.filter(lambda record: tf.reduce_any(names == record["file_name"]))
    return records if part is None else records.take(part)


def count_examples(dataset, split):
    """The number of examples in a split."""
    _check_split(split)
    size, part = dataset.sizes[split], dataset.parts.get(split)
    if isinstance(part, tuple):
        return len(part)
    return size if part is None else min(size, part)


def describe(dataset, split):
    """The data source of a split in words, for every title and result.

    Example:
        ``"Oxford-IIIT Pet, official test split (3,669)"``
    """
    official = "official " if split in dataset.official else ""
    kind = "training" if split == "train" else split
    return f"{dataset.name}, {official}{kind} split ({count_examples(dataset, split):,})"


def stratified_subset(dataset, split, count, group="label"):
    """The file names of a few examples, spread evenly over a group: the same ones every time.

    Takes the first of each breed, then the second of each, and so on, breeds and examples in the
    order of the data set.

    Args:
        dataset: Dataset.
        split: of which.
        count: int.
        group: key of the record that is spread over.

    Returns:
        list of ``count`` str.

    Raises:
        ValueError: an unknown split, or ``count`` is below 1 or more than it has.
    """
    size = count_examples(dataset, split)
    if not 1 <= count <= size:
        raise ValueError(f"count={count}: expected 1 to {size}, what the {split} split has.")
    taken, places = {}, []
    for number, record in enumerate(read_records(dataset, split).as_numpy_iterator()):
        label = int(record[group])
        taken[label] = taken.get(label, 0) + 1
        places.append((taken[label], label, number, record["file_name"].decode()))
    return [name for *_, name in sorted(places)[:count]]


def _check_split(split):
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is unknown: expected one of {', '.join(SPLITS)}.")
