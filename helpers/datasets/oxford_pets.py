"""Oxford-IIIT Pet through TensorFlow Datasets, as batches a model can train on.

    record -> decode -> resize -> check -> uint8 cache -> shuffle -> batch -> augment -> prefetch

The drawn pets of ``helpers.synthetic_pets`` have the same features and go the same way.
"""

import atexit
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import requests
import tensorflow as tf
import tensorflow_datasets as tfds

from helpers import CLASS_NAMES, network, run_mode
from helpers.augmentation import augment
from helpers.synthetic_pets import SyntheticPets

CLASSES = len(CLASS_NAMES)

# TFDS has no validation split: it is the last tenth of "train". "test" is for reporting only.
SPLITS = {"train": "train[:90%]", "validation": "train[90%:]", "test": "test"}

# What the border counts as where only pet and background are told apart.
BORDER_RULES = ("pet", "background", "ignore")

OXFORD, DRAWN = "oxford_iiit_pet:4.0.0", f"{SyntheticPets.name}:{SyntheticPets.VERSION}"


class Pets(NamedTuple):
    """An opened data set: its TFDS builder, and its name for titles and results."""

    builder: tfds.core.DatasetBuilder
    name: str


def open_pets(data_dir=None):
    """Opens the data set that ``PETS_DATA`` asks for, preparing it first where needed.

    - ``auto``: Oxford-IIIT Pet where it is prepared, or where its archives lie in
      ``downloads/manual``, or where its host answers (a download of 0.8 GB); else drawn pets.
      Without a network that is decided within 5 seconds.
    - ``oxford``: the same without the last resort.
    - ``synthetic``: drawn pets.

    One printed line says what was taken. Several processes may prepare the same data at once: all
    take what the first of them has finished.

    Args:
        data_dir: TFDS's data folder; None for TFDS's own choice (``TFDS_DATA_DIR``, else
            ``~/tensorflow_datasets``).

    Returns:
        Pets.

    Raises:
        RuntimeError: ``oxford``, and there is neither data nor network; or the download fails,
            also with ``auto``; or what is prepared is not whole or of another version; or nothing
            can be written to the data folder. The message says what to do.
    """
    choice = run_mode.data_choice()
    if choice != "synthetic":
        builder = _builder(OXFORD, data_dir)
        obtainable = _is_prepared(builder) or _has_archives(builder) or _host_answers(builder)
        if obtainable:
            builder = _prepared(builder)
            pets = Pets(builder, "Oxford-IIIT Pet" + _copies_note(builder))
            print(f"Data: {pets.name}, from {builder.data_path}")
            return pets
        if choice == "oxford":
            raise RuntimeError(_how_to_get(builder))
    builder = _prepared(_builder(DRAWN, data_dir))
    missing = "Oxford-IIIT Pet is not here and its host does not answer"
    why = "as PETS_DATA asks" if choice == "synthetic" else missing
    print(f"Data: drawn pets (synthetic), {why}. Scores on them say nothing about photographs.")
    return Pets(builder, "drawn pets (synthetic)")


def describe(pets, split, limit=None):
    """The data source of a split in words, for every title and result.

    Example:
        ``"Oxford-IIIT Pet, official test split (3,669)"``
    """
    words = {"train": "training part", "validation": "validation part", "test": "test split"}
    official = "official " if split == "test" and pets.name.startswith("Oxford") else ""
    count = count_examples(pets, split, limit)
    return f"{pets.name}, {official}{words[split]} ({count:,})"


def count_examples(pets, split, limit=None):
    """The number of examples in a split, or in its first ``limit``."""
    _check_limit(limit)
    count = pets.builder.info.splits[_slice(split)].num_examples
    return count if limit is None else min(count, limit)


def load_split(pets, split, size, limit=None, files=None):
    """A split as a cached dataset of (image, mask), in the order of the records.

    Each record is decoded once, resized (which ignores the aspect ratio) and checked. The cache
    is filled before this function returns, so that a faulty record is named here and not in the
    middle of a training. It holds uint8: a quarter of the memory of float32.

    The cache is in RAM where it takes less than half of what is free; else it is a temporary
    file, removed at exit.

    Args:
        pets: from ``open_pets``.
        split: ``"train"``, ``"validation"`` (the last tenth of TFDS's train) or ``"test"``.
        size: int, height and width in pixels.
        limit: take only the first so many examples, 1 or more; None for all.
        files: take only these, a list of ``file_name``, such as ``spread`` gives; None for all.

    Returns:
        tf.data.Dataset of image (size, size, 3) uint8, 0..255, and mask (size, size, 1) uint8:
        0 pet, 1 background, 2 border. Cardinality known.

    Raises:
        ValueError: unknown split, a size or limit below 1, prepared files that are damaged or
            gone, or a record that is corrupt, holds other mask values or a mask of another size
            than its image; the message names the file.
        RuntimeError: the cache cannot be written.
    """
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"size={size!r}: expected a whole number of pixels, 1 or more.")
    records = read_records(pets, split, limit, files)
    examples = records.map(
        lambda record: decode(record, size), num_parallel_calls=tf.data.AUTOTUNE
    )
    count = count_examples(pets, split, limit) if files is None else len(files)
    try:
        cached = _cached(examples, count * size * size * 4)
    except (OSError, tf.errors.OpError) as error:
        fault = find_fault(pets, split)
        if fault is not None:
            raise ValueError(fault) from None
        raise RuntimeError(
            f"The {split} part could not be cached ({getattr(error, 'message', error)}). Free "
            f"some space, or set TMPDIR to a folder that can be written to, and run again."
        ) from error
    if files is not None and (found := sum(1 for _ in cached)) != count:
        raise ValueError(
            f"files names {count} examples, the {split} part of {pets.name} has {found} of them."
        )
    return cached.apply(tf.data.experimental.assert_cardinality(count))


def training_batches(dataset, batch_size, seed, augmentation=augment, epoch=0):
    """One epoch, shuffled, batched, augmented and prefetched: another order and other views than
    in any other epoch, and always the same ones in this.

    The shuffle spans the whole dataset and so holds it in RAM while an epoch runs: no second copy
    where the cache is in RAM, but all of it where the cache is a file. Augmentation comes after
    the cache (before it, every epoch would repeat the first one's views) and works on whole
    batches. The last batch is kept even where it is smaller.

    Args:
        dataset: from ``load_split``.
        batch_size: int.
        seed: int.
        augmentation: function of images, masks and a seed (2,) that returns images and masks, such
            as ``augment``; None leaves them as they are.
        epoch: int or scalar integer tensor. Order and views follow from ``seed`` and ``epoch``
            (and from ``run_mode.set_seed``, which TensorFlow mixes in), and from nothing that
            happened before: so a training can go on in the middle, see ``training.fit``.

    Returns:
        tf.data.Dataset of images (B, H, W, 3) uint8 and masks (B, H, W, 1) uint8.
    """
    key = tf.stack([tf.cast(part, tf.int64) for part in (seed, epoch)])
    batches = dataset.shuffle(len(dataset), _random(key, ()), reshuffle_each_iteration=False)
    batches = batches.batch(batch_size, num_parallel_calls=tf.data.AUTOTUNE)
    if augmentation is not None:

        def augmented(step, batch):
            step_key = tf.random.experimental.stateless_fold_in(key, step)
            return augmentation(*batch, _random(step_key, (2,)))

        batches = batches.enumerate().map(augmented, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)


def binary_batches(batches, border):
    """The same batches with binary masks and the pixels' weights, see ``to_binary``.

    Returns:
        tf.data.Dataset of images, targets (B, H, W, 1) uint8 and weights (B, H, W, 1) float32,
        the triple that ``model.fit`` takes.
    """
    _check_border(border)
    return batches.map(
        lambda images, masks: (images, *to_binary(masks, border)),
        num_parallel_calls=tf.data.AUTOTUNE,
    ).prefetch(tf.data.AUTOTUNE)


def to_binary(masks, border):
    """Pet against background.

    Args:
        masks: (...) integer class ids: 0 pet, 1 background, 2 border.
        border: what the border counts as: ``"pet"``, ``"background"``, or ``"ignore"``: nothing.

    Returns:
        targets (...) uint8, 1 pet and 0 background; weights (...) float32, 1, and 0 where the
        border is ignored (its target is 0 then).

    Raises:
        ValueError: an unknown rule. Or, outside a graph, other ids than 0, 1 and 2; inside one
            that is a tf.errors.InvalidArgumentError.
    """
    _check_border(border)
    masks = tf.convert_to_tensor(masks)
    try:
        check = tf.debugging.Assert(
            tf.reduce_all((masks >= 0) & (masks <= 2)),
            ["A mask holds other values than 0 (pet), 1 (background) and 2 (border)."],
        )
    except tf.errors.InvalidArgumentError:
        values = np.unique(masks).tolist()
        raise ValueError(
            f"A mask holds the values {values}: expected only 0 (pet), 1 (background) and 2 "
            f"(border)."
        ) from None
    with tf.control_dependencies([check] if check is not None else []):
        at_border = tf.equal(masks, 2)
    pet = tf.equal(masks, 0) | (at_border & (border == "pet"))
    ignored = at_border & (border == "ignore")
    return tf.cast(pet, tf.uint8), 1.0 - tf.cast(ignored, tf.float32)


def evaluation_batches(dataset, batch_size):
    """Batched and prefetched, in order, nothing dropped. Shapes as in ``training_batches``."""
    return dataset.batch(batch_size, num_parallel_calls=tf.data.AUTOTUNE).prefetch(
        tf.data.AUTOTUNE
    )


def labelled_batches(pets, split, size, batch_size, limit=None):
    """The examples of a split with what the data set knows about them, nothing kept in memory.

    Args:
        pets, split, size, limit: as in ``load_split``.
        batch_size: int.

    Returns:
        tf.data.Dataset of dicts: ``image`` (B, size, size, 3) and ``mask`` (B, size, size, 1) as
        in ``decode``; ``own_mask`` (B,) string, the mask at its own size, see
        ``decode_own_mask``; ``file_name`` (B,) string, ``label`` and ``species`` (B,) int64.
    """

    def prepare(record):
        image, mask = decode(record, size)
        known = {name: record[name] for name in ("file_name", "label", "species")}
        return {"image": image, "mask": mask, "own_mask": record["segmentation_mask"], **known}

    records = read_records(pets, split, limit)
    return (
        records.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


def decode_own_mask(png):
    """A mask at its own size: (H, W) uint8 array, 0 pet, 1 background, 2 border."""
    return tf.io.decode_png(png, channels=1).numpy()[..., 0] - 1


def spread(pets, split, count):
    """The file names of a few examples, spread over the breeds: the same ones every time.

    Takes the first of each breed, then the second of each, and so on, breeds and examples in the
    order of the data set.

    Args:
        pets: from ``open_pets``.
        split: as in ``load_split``.
        count: int.

    Returns:
        list of ``count`` str.

    Raises:
        ValueError: an unknown split, or ``count`` is below 1 or more than it has.
    """
    whole = count_examples(pets, split)
    if not 1 <= count <= whole:
        raise ValueError(f"count={count}: expected 1 to {whole}, what the {split} part has.")
    taken, places = {}, []
    for number, record in enumerate(read_records(pets, split).as_numpy_iterator()):
        label = int(record["label"])
        taken[label] = taken.get(label, 0) + 1
        places.append((taken[label], label, number, record["file_name"].decode()))
    return [name for *_, name in sorted(places)[:count]]


def read_records(pets, split, limit=None, files=None):
    """The records of a split with image and mask still as their stored bytes.

    ``limit`` and ``files`` as in ``load_split``.

    Returns:
        tf.data.Dataset of dicts: ``image`` and ``segmentation_mask`` (scalar strings: JPEG, PNG),
        ``file_name``, ``label``, ``species``, ``head_bbox``. In the order of the files.
    """
    _check_limit(limit)
    skip = tfds.decode.SkipDecoding()
    records = pets.builder.as_dataset(
        split=_slice(split),
        decoders={"image": skip, "segmentation_mask": skip},
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    if files is not None:
        names = tf.constant(sorted(files))
        records = records.filter(lambda record: tf.reduce_any(names == record["file_name"]))
    return records if limit is None else records.take(limit)


def decode(record, size):
    """One record as an image and a mask of the network's size.

    Args:
        record: from ``read_records``.
        size: int, pixels.

    Returns:
        image (size, size, 3) uint8, bilinear with antialiasing; mask (size, size, 1) uint8,
        nearest neighbour, 0 pet, 1 background, 2 border.

    Raises:
        tf.errors.InvalidArgumentError: bytes that do not decode, a mask of another size than its
            image, or a mask with values other than 1, 2 and 3.
    """
    image = tf.io.decode_jpeg(record["image"], channels=3)
    mask = tf.io.decode_png(record["segmentation_mask"], channels=1)
    name = record["file_name"]
    same_size = tf.reduce_all(tf.shape(image)[:2] == tf.shape(mask)[:2])
    known = tf.reduce_all((mask >= 1) & (mask <= 3))
    with tf.control_dependencies(
        [
            tf.debugging.Assert(same_size, [name, "mask and image differ in size"]),
            tf.debugging.Assert(known, [name, "mask values other than 1, 2 and 3"]),
        ]
    ):
        image = tf.image.resize(image, (size, size), method="bilinear", antialias=True)
    mask = tf.image.resize(mask, (size, size), method="nearest")
    return tf.cast(tf.round(image), tf.uint8), mask - tf.constant(1, tf.uint8)


def find_fault(pets, split):
    """What is wrong with the first faulty record of a split, in one sentence; None if none is.

    Slow and plain: reads one record at a time.
    """
    name = "(none)"
    records = iter(read_records(pets, split))
    while True:
        try:
            record = next(records)
        except StopIteration:
            return None
        except tf.errors.OpError:
            return (
                f"The prepared file of split {split!r} in {pets.builder.data_path} is damaged or "
                f"incomplete behind the record {name}: delete that folder and run again to "
                f"prepare it afresh."
            )
        name = record["file_name"].numpy().decode()
        fault = _fault_of(record)
        if fault:
            return (
                f"{name}: {fault}. The data in {pets.builder.data_path} is not the original: "
                f"delete that folder and run again to prepare it afresh."
            )


def _fault_of(record):
    try:
        image = tf.io.decode_jpeg(record["image"], channels=3)
    except tf.errors.InvalidArgumentError:
        return "the image does not decode as JPEG"
    try:
        mask = tf.io.decode_png(record["segmentation_mask"], channels=1)
    except tf.errors.InvalidArgumentError:
        return "the mask does not decode as PNG"
    if image.shape[:2] != mask.shape[:2]:
        return (
            f"the mask is {mask.shape[0]}x{mask.shape[1]}, its image "
            f"{image.shape[0]}x{image.shape[1]} pixels (height x width); they must be equal"
        )
    values = np.unique(mask)
    if values.min() < 1 or values.max() > 3:
        return (
            f"the mask holds the values {values.tolist()}, expected only "
            f"1 (pet), 2 (background) and 3 (border)"
        )
    return None


def _random(key, shape):  # any int64
    return tf.random.stateless_uniform(shape, key, minval=None, maxval=None, dtype=tf.int64)


def _check_border(border):
    if border not in BORDER_RULES:
        raise ValueError(f"border={border!r}: expected one of {', '.join(BORDER_RULES)}.")


def _check_limit(limit):
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit!r}: expected 1 or more examples, or None for all.")


def _slice(split):
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is unknown: expected one of {', '.join(SPLITS)}.")
    return SPLITS[split]


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


def _builder(full_name, data_dir):
    """TFDS's builder of that version. (``tfds.builder`` takes what lies in the folder, of whatever
    version it says it is.)"""
    name, version = full_name.split(":")
    kind = tfds.builder_cls(name)
    try:
        return kind(version=version, data_dir=data_dir)
    except Exception as error:  # of many kinds: TFDS's, protobuf's, Python's
        root = Path(data_dir or tfds.core.constants.DATA_DIR)
        raise RuntimeError(_not_whole(root / name / version, error)) from error


def _is_prepared(builder):
    if not builder.data_path.exists():
        return False
    if not {"train", "test"} <= set(builder.info.splits):
        raise RuntimeError(_not_whole(builder.data_path, "it describes no train and test split"))
    return True


def _not_whole(folder, why):
    return (
        f"{folder} is there but holds no whole prepared data of that version ({why}): delete it "
        f"and run again."
    )


def _prepared(builder):
    if _is_prepared(builder):
        return builder
    # A folder of its own: TFDS would take what another process or an earlier try has extracted,
    # whole or not, and would leave it there: 0.8 GB that nobody needs any more.
    extracted = builder.data_dir_root / "downloads" / f"extracted_{uuid.uuid4().hex}"
    failure = None
    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                extract_dir=extracted,
                try_download_gcs=False,  # without a network, to ask there takes minutes
            )
        )
    except Exception as error:  # TFDS's own errors share no base class, and some are private
        failure = error
    finally:
        shutil.rmtree(extracted, ignore_errors=True)  # a thread of TFDS may still write
    # TFDS prepares aside and renames, so what is there now is whole, by whichever process.
    found = _builder(f"{builder.name}:{builder.version}", builder.data_dir_root)
    if failure and not _is_prepared(found):
        raise _unprepared(builder, failure) from failure
    return found


def _unprepared(builder, error):
    cause = error.__cause__ or error
    # Both are OSErrors too: a failed download, and an archive that lacks a file.
    of_disk = not isinstance(cause, (requests.RequestException, FileNotFoundError))
    if of_disk and isinstance(cause, (OSError, tf.errors.OpError)):
        remedy = (
            "Free some space, or set TFDS_DATA_DIR to a folder that can be written to, and run "
            "again."
        )
    elif builder.url_infos:
        remedy = _other_ways(builder)
    else:
        raise error
    return RuntimeError(
        f"{builder.name} could not be prepared in {builder.data_dir} "
        f"({type(error).__name__}: {error}). {remedy}"
    )


def _manual_dir(builder):
    return tf.io.gfile.join(str(builder.data_dir_root), "downloads", "manual")


def _has_archives(builder):
    names = [info.filename for info in builder.url_infos.values()]
    return all(tf.io.gfile.exists(tf.io.gfile.join(_manual_dir(builder), n)) for n in names)


def _host_answers(builder):
    return network.answers(next(iter(builder.url_infos)))


def _how_to_get(builder):
    return (
        f"Oxford-IIIT Pet is not prepared in {builder.data_dir} and its host does not answer. "
        f"{_other_ways(builder)}"
    )


def _other_ways(builder):
    archives = " and ".join(
        f"{info.filename} ({info.size / 1e6:,.0f} MB, {url})"
        for url, info in builder.url_infos.items()
    )
    return (
        f"Put {archives} into {_manual_dir(builder)} and run again: no network is needed then. "
        f"Or set PETS_DATA=synthetic to go on with drawn pets."
    )


def _copies_note(builder):
    """Says so where the prepared photographs are reduced copies: the originals reach 500 pixels
    and more within any hundred."""
    records = read_records(Pets(builder, ""), "train", limit=100)
    longest = max(int(max(tf.io.extract_jpeg_shape(r["image"])[:2])) for r in records)
    return f", {longest}-px copies" if longest < 400 else ""
