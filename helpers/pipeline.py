"""From records to batches that a network can train on.

    record -> decode -> resize -> check -> uint8 cache -> shuffle -> batch -> augment -> prefetch

The same for every data set of ``helpers.datasets``.
"""

import atexit
import shutil
import tempfile

import numpy as np
import psutil
import tensorflow as tf

from helpers.augmentation import augment
from helpers.classes import VOID
from helpers.datasets import count_examples, read_records


def load_split(dataset, split, size):
    """A split as a cached dataset of (image, mask), in the order of the records.

    Each record is decoded once, resized (which ignores the aspect ratio) and checked. The cache
    is filled before this function returns, so that a faulty record is named here and not in the
    middle of a training. It holds uint8: a quarter of the memory of float32.

    The cache is in RAM where it takes less than half of what is free; else it is a temporary
    file, removed at exit.

    Args:
        dataset: datasets.Dataset.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        size: int or (height, width), pixels.

    Returns:
        tf.data.Dataset of image (height, width, 3) uint8, 0..255, and mask (height, width, 1)
        uint8: class ids of ``dataset.labelling``, or ``VOID``. Cardinality known.

    Raises:
        ValueError: an unknown split, a size below 1, stored files that are damaged or gone, fewer
            files than ``datasets.subset`` names, or a record that is corrupt, holds other mask
            values or a mask of another size than its image; the message names the file.
        RuntimeError: the cache cannot be written.
    """
    height, width = sides(size)
    examples = read_records(dataset, split).map(
        lambda record: decode(record, size, dataset.labelling), num_parallel_calls=tf.data.AUTOTUNE
    )
    count = count_examples(dataset, split)
    try:
        cached = _cached(examples, count * height * width * 4)
    except (OSError, tf.errors.OpError) as error:
        fault = find_fault(dataset, split)
        if fault is not None:
            raise ValueError(fault) from None
        raise RuntimeError(
            f"The {split} split could not be cached ({getattr(error, 'message', error)}). Free "
            f"some space, or set TMPDIR to a folder that can be written to, and run again."
        ) from error
    if split in dataset.parts and (found := sum(1 for _ in cached)) != count:
        raise ValueError(
            f"The subset names {count} examples, the {split} split of {dataset.name} has {found} "
            f"of them."
        )
    return cached.apply(tf.data.experimental.assert_cardinality(count))


def training_batches(examples, batch_size, seed, augmentation=augment, epoch=0):
    """One epoch, shuffled, batched, augmented and prefetched: another order and other views than
    in any other epoch, and always the same ones in this.

    The shuffle spans the whole split and so holds it in RAM while an epoch runs: no second copy
    where the cache is in RAM, but all of it where the cache is a file. Augmentation comes after
    the cache (before it, every epoch would repeat the first one's views) and works on whole
    batches. The last batch is kept even where it is smaller.

    Args:
        examples: from ``load_split``.
        batch_size: int.
        seed: int.
        augmentation: function of images, masks and a seed (2,) that returns images and masks, such
            as ``augment``; None leaves them as they are.
        epoch: int or scalar integer tensor. Order and views follow from ``seed`` and ``epoch``
            (and from ``run_mode.set_seed``, which TensorFlow mixes in), and from nothing that
            happened before: so a training can resume in the middle, see ``training.fit``.

    Returns:
        tf.data.Dataset of images (B, H, W, 3) uint8 and masks (B, H, W, 1) uint8.
    """
    key = tf.stack([tf.cast(part, tf.int64) for part in (seed, epoch)])
    batches = examples.shuffle(len(examples), _random(key, ()), reshuffle_each_iteration=False)
    batches = batches.batch(batch_size, num_parallel_calls=tf.data.AUTOTUNE)
    if augmentation is not None:

        def augmented(step, batch):
            step_key = tf.random.experimental.stateless_fold_in(key, step)
            return augmentation(*batch, _random(step_key, (2,)))

        batches = batches.enumerate().map(augmented, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)


def evaluation_batches(examples, batch_size):
    """Batched and prefetched, in order, nothing dropped. Shapes as in ``training_batches``."""
    return examples.batch(batch_size, num_parallel_calls=tf.data.AUTOTUNE).prefetch(
        tf.data.AUTOTUNE
    )


def binary_batches(batches, labelling, border):
    """The same batches with binary masks and the pixels' weights, see ``to_binary``.

    Returns:
        tf.data.Dataset of images, targets (B, H, W, 1) uint8 and weights (B, H, W, 1) float32,
        the triple that ``model.fit`` takes.
    """
    border_rule(labelling, border)
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
        and 0 where the rule ignores the pixel (its target is 0 then).

    Raises:
        ValueError: an unknown rule. Or, outside a graph, other ids; inside one that is a
            tf.errors.InvalidArgumentError.
    """
    rule = border_rule(labelling, border)
    masks = tf.convert_to_tensor(masks)
    table = np.full(256, VOID, np.uint8)
    table[: len(rule)] = rule
    known = tf.reduce_all((masks >= 0) & ((masks < len(rule)) | (masks == VOID)))
    try:
        check = tf.debugging.Assert(known, ["A mask holds other values than class ids."])
    except tf.errors.InvalidArgumentError:
        classes = ", ".join(f"{k} ({name})" for k, name in enumerate(labelling.names))
        raise ValueError(
            f"A mask holds the values {np.unique(masks).tolist()}: expected only {classes}."
        ) from None
    with tf.control_dependencies([check] if check is not None else []):
        sides_of_rule = tf.gather(tf.constant(table), tf.cast(masks, tf.int32))
    first, ignored = tf.equal(sides_of_rule, 0), tf.equal(sides_of_rule, VOID)
    return tf.cast(first, tf.uint8), 1.0 - tf.cast(ignored, tf.float32)


def border_rule(labelling, border):
    """The entries of a labelling's border rule.

    Raises:
        ValueError: it has no rule of that name.
    """
    if border not in labelling.border_rules:
        rules = ", ".join(labelling.border_rules) or "none, it has no border"
        raise ValueError(f"border={border!r}: expected one of {rules}.")
    return labelling.border_rules[border]


def labelled_batches(dataset, split, size, batch_size, own_masks=True):
    """The examples of a split with what the data set knows about them, nothing kept in memory.

    Args:
        dataset, split, size: as in ``load_split``.
        batch_size: int.
        own_masks: also give each mask at its own size.

    Yields:
        dicts of arrays: ``image`` (B, H, W, 3) uint8 and ``mask`` (B, H, W, 1) uint8 as in
        ``decode``; ``file_name`` (B,) bytes and the groups of the data set, (B,) int64, by their
        keys in the record; ``own_mask``, a list of B masks (h, w) uint8, each at its own size.

    Raises:
        ValueError: a damaged record, which the message names.
    """
    kept = ["file_name", *(key for key, _ in dataset.groups.values())]

    def prepare(record):
        image, mask = decode(record, size, dataset.labelling)
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


def decode(record, size, labelling):
    """One record as an image and a mask of the network's size.

    Args:
        record: from ``datasets.read_records``.
        size: int or (height, width), pixels.
        labelling: of the data set.

    Returns:
        image (height, width, 3) uint8, bilinear with antialiasing; mask (height, width, 1) uint8,
        nearest neighbour, class ids or ``VOID``.

    Raises:
        tf.errors.InvalidArgumentError: bytes that do not decode, a mask of another size than its
            image, or a mask with a value that the labelling does not name.
    """
    size = sides(size)
    image = tf.io.decode_jpeg(record["image"], channels=3)
    mask = decode_mask(record["segmentation_mask"], labelling, record["file_name"])
    same_size = tf.reduce_all(tf.shape(image)[:2] == tf.shape(mask)[:2])
    differ = tf.debugging.Assert(same_size, [record["file_name"], "mask and image differ in size"])
    with tf.control_dependencies([differ]):
        image = tf.image.resize(image, size, method="bilinear", antialias=True)
    mask = tf.image.resize(mask, size, method="nearest")
    return tf.cast(tf.round(image), tf.uint8), mask


def decode_mask(png, labelling, name=""):
    """A stored mask at its own size: (H, W, 1) uint8, class ids or ``VOID``. Errors as in
    ``decode``."""
    unknown = 254  # no class has it: there are fewer
    table = np.full(256, unknown, np.uint8)
    table[list(labelling.ids)] = range(len(labelling))
    if labelling.void is not None:
        table[labelling.void] = VOID
    mask = tf.gather(tf.constant(table), tf.cast(tf.io.decode_png(png, channels=1), tf.int32))
    fine = tf.reduce_all(mask != unknown)
    check = tf.debugging.Assert(fine, [name, f"mask values other than {_known(labelling)}"])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(mask)


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
        fault = _fault_of(record, dataset.labelling)
        if fault:
            return f"{name}: {fault}. {dataset.remedy}"


def _fault_of(record, labelling):
    try:
        image = tf.io.decode_jpeg(record["image"], channels=3)
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
    if set(values) - {*labelling.ids, labelling.void}:
        return f"the mask holds the values {values}, expected only {_known(labelling)}"
    return None


def _known(labelling):
    known = [f"{value} ({name})" for value, name in zip(labelling.ids, labelling.names)]
    return ", ".join(known + ([] if labelling.void is None else [f"{labelling.void} (void)"]))


def sides(size):
    """(height, width) in pixels, of a size given as one number or as two.

    Raises:
        ValueError: no whole numbers of 1 or more.
    """
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, int) and side >= 1 for side in pair):
        raise ValueError(
            f"size={size!r}: expected whole pixels, 1 or more, one number or (height, width)."
        )
    return pair


def _random(key, shape):  # any int64
    return tf.random.stateless_uniform(shape, key, minval=None, maxval=None, dtype=tf.int64)


def _cached(examples, bytes_needed):
    """The same examples, decoded here and now: kept in RAM, or in a file where RAM is short."""
    if bytes_needed < psutil.virtual_memory().available / 2:
        cached = examples.cache()
        for _ in cached.batch(64):
            pass
        return cached
    folder = tempfile.mkdtemp(prefix="pets_cache_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    examples.save(folder)  # cache(filename) warns of a truncated cache even when all is read
    return tf.data.Dataset.load(folder)
