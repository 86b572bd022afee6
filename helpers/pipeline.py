"""From records to batches that a network can train on.

    record -> decode -> resize -> check -> uint8 cache -> shuffle -> batch -> augment -> prefetch

The same for every data set of ``helpers.datasets``.
"""

import atexit
import functools
import operator
import shutil
import tempfile

import numpy as np
import psutil
import tensorflow as tf

from helpers.augmentation import augment, check_batch
from helpers.classes import VOID
from helpers.datasets import count_examples, read_records
from helpers.photos import sides

CACHES = ("RAM", "file", None)


def load_split(dataset, split, size, cache=None):
    """A split as a cached dataset of (image, mask), in the order of the records.

    Each record is decoded once, resized (which ignores the aspect ratio) and checked. The cache
    is filled before this function returns, so that a faulty record is named here and not in the
    middle of a training. It holds uint8: a quarter of the memory of float32.

    Args:
        dataset: datasets.Dataset.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        size: int or (height, width), pixels.
        cache: ``"RAM"``, or ``"file"`` for temporary files, removed at exit; None: in RAM where it
            takes less than half of what is free.

    Returns:
        tf.data.Dataset of image (height, width, channels) uint8, 0..255, and mask (height, width,
        1) uint8: class ids of ``dataset.labelling``, or ``VOID``. Cardinality known.

    Raises:
        ValueError: an unknown split or cache, a size below 1, stored files that are damaged or
            gone, fewer examples than the data set says it has, or a record that is corrupt, holds
            other mask values or a mask of another size than its image; the message names the file.
        RuntimeError: the cache cannot be written.
    """
    height, width = sides(size)
    if cache not in CACHES:
        raise ValueError(f"cache={cache!r}: expected one of {CACHES}.")
    examples = read_records(dataset, split).map(
        lambda record: decode(record, size, dataset.labelling, dataset.channels),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    count = count_examples(dataset, split)
    try:
        cached, found = _cached(examples, count * height * width * (dataset.channels + 1), cache)
    except (OSError, tf.errors.OpError) as error:
        fault = find_fault(dataset, split)
        if fault is not None:
            raise ValueError(fault) from None
        raise RuntimeError(
            f"The {split} split could not be cached ({getattr(error, 'message', error)}). Free "
            f"some space, or set TMPDIR to a folder that can be written to, and run again."
        ) from error
    if found != count:
        raise ValueError(
            f"The {split} split of {dataset.name}, or the subset of it that was asked for, should "
            f"have {count} examples, but {found} of them are there."
        )
    return cached.apply(tf.data.experimental.assert_cardinality(count))


def training_batches(examples, batch_size, seed, augmentation=augment, epoch=0, buffer=None):
    """One epoch, shuffled, batched, augmented and prefetched: another order and other views than
    in any other epoch, and always the same ones in this.

    Unless ``buffer`` says how many, the shuffle holds all examples in RAM while an epoch runs: no
    second copy where the cache is in RAM, but all of it where the cache is a file. Augmentation
    comes after the cache (before it, every epoch would repeat the first one's views) and works on
    whole batches. The last batch is kept even where it is smaller.

    Args:
        examples: from ``load_split``.
        batch_size: int.
        seed: int.
        augmentation: function of images, masks and a seed (2,) that returns images and masks, such
            as ``augment``; None leaves them as they are.
        epoch: int or scalar integer tensor. Order and views follow from ``seed`` and ``epoch``
            (and from ``run_mode.set_seed``, which TensorFlow mixes in), and from nothing that
            happened before: so a training can resume in the middle, see ``training.fit``.
        buffer: int, from how many examples the next is drawn; None for all of them. With a cache
            in a file, memory is that of so many examples, whatever the split's size; but what lies
            far apart in the records is not mixed.

    Returns:
        tf.data.Dataset of images (B, H, W, channels) uint8 and masks (B, H, W, 1) uint8.

    Raises:
        ValueError: see ``augmentation.check_batch``.
    """
    key = tf.stack([tf.cast(part, tf.int64) for part in (seed, epoch)])
    buffer = len(examples) if buffer is None else buffer
    batches = examples.shuffle(buffer, _random(key, ()), reshuffle_each_iteration=False)
    batches = _batched(batches, batch_size)
    if augmentation is not None:

        def augmented(step, batch):
            step_key = tf.random.experimental.stateless_fold_in(key, step)
            return augmentation(*batch, _random(step_key, (2,)))

        batches = batches.enumerate().map(augmented, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)


def sharded_batches(shards, batch_size, seed, augmentation=augment, epoch=0):
    """As ``training_batches``, of data in shards: each is shuffled and augmented by itself, and a
    batch takes as many images of each. So a batch is the same, whichever process makes which part
    of it. The order is another than without shards.

    Args:
        shards: number of a shard -> its examples, from ``load_split`` of a ``datasets.shard``.
        batch_size: int, of all of these together; divisible by their number.
        seed, augmentation, epoch: as in ``training_batches``.
    """
    each = batch_size // len(shards)
    parts = [
        training_batches(examples, each, seed + (number << 32), augmentation, epoch)
        for number, examples in shards.items()
    ]
    batches = tf.data.Dataset.zip(tuple(parts))
    joined = batches.map(lambda *parts: tuple(tf.concat(part, 0) for part in zip(*parts)))
    return joined.prefetch(tf.data.AUTOTUNE)


def evaluation_batches(examples, batch_size):
    """Batched and prefetched, in order, nothing dropped. Shapes and errors as in
    ``training_batches``."""
    return _batched(examples, batch_size).prefetch(tf.data.AUTOTUNE)


def _batched(examples, batch_size):
    batches = examples.batch(batch_size, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.map(check_batch)


def binary_batches(batches, labelling, border):
    """The same batches with binary masks and the pixels' weights, see ``to_binary``.

    Returns:
        tf.data.Dataset of images, targets (B, H, W, 1) uint8 and weights (B, H, W, 1) float32,
        the triple that ``model.fit`` takes.
    """
    labelling.border_rule(border)  # an unknown one is an error here, not in the graph
    return batches.map(
        lambda images, masks: (images, *to_binary(masks, labelling, border)),
        num_parallel_calls=tf.data.AUTOTUNE,
    ).prefetch(tf.data.AUTOTUNE)


def to_binary(masks, labelling, border):
    """The first class against the second, under a border rule.

    Args:
        masks: (...) integer class ids of the labelling, or ``VOID``.
        labelling: classes.Labelling with border rules.
        border: name of one of them.

    Returns:
        targets (...) uint8, 1 for the first class and 0 for the second; weights (...) float32, 1,
        and 0 where the pixel is void or the rule ignores it (its target is 0 then).

    Raises:
        ValueError: an unknown rule, or masks that are not integers. Or, outside a graph, other
            ids; inside one that is a tf.errors.InvalidArgumentError.
    """
    table = np.full(256, VOID, np.uint8)
    table[: len(labelling)] = labelling.border_rule(border)
    masks = tf.convert_to_tensor(masks)
    if not masks.dtype.is_integer:
        raise ValueError(f"The masks are {masks.dtype.name}: expected integer class ids.")
    masks = tf.cast(masks, tf.int32)
    known = (masks >= 0) & (masks < len(labelling))
    if labelling.ignore is not None:
        known |= masks == VOID
    text = "A mask holds other values than class ids."
    try:
        check = tf.debugging.Assert(tf.reduce_all(known), [text])
    except tf.errors.InvalidArgumentError:
        classes = ", ".join(f"{k} ({name})" for k, name in enumerate(labelling.names))
        raise ValueError(
            f"A mask holds the values {np.unique(masks).tolist()}: expected only {classes}."
        ) from None
    with tf.control_dependencies([check]):  # or a look-up outside the table might fail first
        sides_of_rule = tf.gather(tf.constant(table), masks)
    first, ignored = tf.equal(sides_of_rule, 0), tf.equal(sides_of_rule, VOID)
    return tf.cast(first, tf.uint8), 1.0 - tf.cast(ignored, tf.float32)


def labelled_batches(dataset, split, size, batch_size, own_masks=True):
    """The examples of a split with what the data set knows about them, nothing kept in memory.

    Args:
        dataset, split, size: as in ``load_split``.
        batch_size: int.
        own_masks: also give each mask at its own size.

    Yields:
        dicts of arrays: ``image`` (B, H, W, channels) uint8 and ``mask`` (B, H, W, 1) uint8 as in
        ``decode``; ``file_name`` (B,) bytes and the groups of the data set, (B,) int64, by their
        keys in the record; ``own_mask``, a list of B masks (h, w) uint8, each at its own size.

    Raises:
        ValueError: a damaged record, which the message names.
    """
    kept = ["file_name", *(key for key, _ in dataset.groups.values())]

    def prepare(record):
        image, mask = decode(record, size, dataset.labelling, dataset.channels)
        known = {name: record[name] for name in kept}
        if own_masks:
            known["own_mask"] = record["segmentation_mask"]
        return {"image": image, "mask": mask, **known}

    examples = read_records(dataset, split).map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    batches = examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)
    try:
        for batch in batches.as_numpy_iterator():
            if own_masks:
                own = [decode_mask(png, dataset.labelling) for png in batch["own_mask"]]
                batch["own_mask"] = [mask.numpy()[..., 0] for mask in own]
            yield batch
    except tf.errors.OpError:
        fault = find_fault(dataset, split)
        if fault is None:
            raise
        raise ValueError(fault) from None


@tf.autograph.experimental.do_not_convert  # nothing to convert; traced in half the time
def decode(record, size, labelling, channels=3):
    """One record as an image and a mask of the network's size.

    Args:
        record: from ``datasets.read_records``.
        size: int or (height, width), pixels.
        labelling, channels: of the data set.

    Returns:
        image (height, width, channels) uint8, bilinear with antialiasing; mask (height, width, 1)
        uint8, nearest neighbour, class ids or ``VOID``.

    Raises:
        tf.errors.InvalidArgumentError: bytes that do not decode, a mask of another size than its
            image, or a mask with a value that the labelling does not name.
    """
    size = sides(size)
    image = decode_image(record["image"], channels)
    stored = tf.io.decode_png(record["segmentation_mask"], channels=1)
    same_size = tf.reduce_all(tf.shape(image)[:2] == tf.shape(stored)[:2])
    tf.debugging.Assert(same_size, [record["file_name"], "mask and image differ in size"])
    _check_values(stored, labelling)
    image = tf.image.resize(image, size, method="bilinear", antialias=True)
    mask = _class_ids(tf.image.resize(stored, size, method="nearest"), labelling)
    return tf.cast(tf.round(image), tf.uint8), mask


def decode_image(content, channels=3):
    """A stored image at its own size: (H, W, channels) uint8. Other channels than RGB lie one
    below the other in a grey PNG.

    Raises:
        tf.errors.InvalidArgumentError: bytes that do not decode.
    """
    if channels == 3:
        return tf.io.decode_jpeg(content, channels=3)  # PNG as well
    column = tf.io.decode_png(content, channels=1)[..., 0]
    planes = tf.reshape(column, (channels, -1, tf.shape(column)[1]))
    return tf.transpose(planes, (1, 2, 0))


def decode_mask(png, labelling):
    """A stored mask at its own size: (H, W, 1) uint8, class ids or ``VOID``.

    Raises:
        tf.errors.InvalidArgumentError: as in ``decode``.
    """
    stored = tf.io.decode_png(png, channels=1)
    _check_values(stored, labelling)
    return _class_ids(stored, labelling)


def _check_values(stored, labelling):
    """Asserts that a mask holds only what the labelling names: two comparisons for each run of
    consecutive values, several times faster than a table."""
    known = _stored_values(labelling)
    runs = zip(
        [value for value in known if value - 1 not in known],
        [value for value in known if value + 1 not in known],
    )
    fine = functools.reduce(operator.or_, [(stored >= a) & (stored <= b) for a, b in runs])
    unknown = f"mask values other than {_named_values(labelling)}"
    tf.debugging.Assert(tf.reduce_all(fine), [unknown])


def _class_ids(stored, labelling):
    table = np.zeros(256, np.uint8)
    table[list(labelling.ids)] = range(len(labelling))
    if labelling.void is not None:
        table[labelling.void] = VOID
    known = np.array(_stored_values(labelling))
    shift = known[0] - table[known[0]]
    if (table[known] == known - shift).all():  # so in most data sets, and faster
        return stored - tf.constant(shift, tf.uint8)
    return tf.gather(tf.constant(table), tf.cast(stored, tf.int32))


def _stored_values(labelling):
    return sorted({*labelling.ids, labelling.void} - {None})


def _named_values(labelling):
    named = [f"{value} ({name})" for value, name in zip(labelling.ids, labelling.names)]
    return ", ".join(named + ([] if labelling.void is None else [f"{labelling.void} (void)"]))


def find_fault(dataset, split):
    """What is wrong with the first faulty record of a split, in one sentence; None if none is.

    Slow and plain: reads one record at a time.
    """
    name = "(none)"
    records = iter(read_records(dataset, split))
    while True:
        try:
            record = next(records)
        except StopIteration:
            return None
        except tf.errors.OpError:
            return (
                f"The stored file of the {split} split is damaged or incomplete after the record "
                f"{name}. {dataset.remedy}"
            )
        name = record["file_name"].numpy().decode()
        fault = _fault_of(record, dataset)
        if fault:
            return f"{name}: {fault}. {dataset.remedy}"


def _fault_of(record, dataset):
    labelling = dataset.labelling
    try:
        image = decode_image(record["image"], dataset.channels)
    except tf.errors.InvalidArgumentError:
        return "the image does not decode as JPEG or PNG"
    try:
        mask = tf.io.decode_png(record["segmentation_mask"], channels=1)
    except tf.errors.InvalidArgumentError:
        return "the mask does not decode as PNG"
    if image.shape[:2] != mask.shape[:2]:
        return (
            f"the mask is {mask.shape[0]}x{mask.shape[1]}, its image "
            f"{image.shape[0]}x{image.shape[1]} pixels (height x width); they must be equal"
        )
    values = np.unique(mask).tolist()
    if not set(values) <= {*labelling.ids, labelling.void}:
        return f"the mask holds the values {values}, expected only {_named_values(labelling)}"
    return None


def _random(key, shape):  # any int64
    return tf.random.stateless_uniform(shape, key, minval=None, maxval=None, dtype=tf.int64)


def _cached(examples, bytes_needed, cache):
    """The same examples, decoded here and now, and how many there are; see ``load_split``."""
    if cache is None:
        cache = "RAM" if bytes_needed < psutil.virtual_memory().available / 2 else "file"
    if cache == "RAM":
        cached = examples.cache()
    else:
        folder = tempfile.mkdtemp(prefix="examples_")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        examples.save(folder)  # cache(filename) warns of a truncated cache even when all is read
        cached = tf.data.Dataset.load(folder)
    return cached, sum(len(masks) for _, masks in cached.batch(64))
