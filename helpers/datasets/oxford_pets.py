"""Oxford-IIIT Pet through TensorFlow Datasets: found, downloaded, or replaced by synthetic pets.

O. M. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, *Cats and Dogs*, CVPR 2012: 37 breeds, 3,680
images to train on and 3,669 to test.
"""

import functools
import shutil
import uuid
from pathlib import Path

import requests
import tensorflow as tf
import tensorflow_datasets as tfds

from helpers import datasets, downloads, run_mode
from helpers.classes import PETS
from helpers.datasets.synthetic_pets import SyntheticPets

# TFDS has no validation split: it is the last tenth of "train". "test" is for reporting only.
SLICES = {"train": "train[:90%]", "validation": "train[90%:]", "test": "test"}

OXFORD = "oxford_iiit_pet:4.0.0"
SYNTHETIC = f"{SyntheticPets.name}:{SyntheticPets.VERSION}"
SYNTHETIC_NAME = "synthetic pets"


def open_pets(data_dir=None):
    """Opens the data set that ``PETS_DATA`` asks for, preparing it first where needed.

    - ``auto``: Oxford-IIIT Pet where it is prepared, or where its archives lie in
      ``downloads/manual``, or where its host answers (a download of 0.8 GB); else synthetic pets.
      Without a network that is decided within 5 seconds.
    - ``oxford``: the same without the last resort.
    - ``synthetic``: synthetic pets.

    One printed line says what was taken. Several processes may prepare the same data at once: all
    take what the first of them has finished.

    Args:
        data_dir: TFDS's data folder; None for TFDS's own choice (``TFDS_DATA_DIR``, else
            ``~/tensorflow_datasets``).

    Returns:
        datasets.Dataset, with the groups ``species`` and ``breeds``.

    Raises:
        RuntimeError: ``oxford``, and there is neither data nor network; or the download fails,
            also with ``auto``; or what is prepared is incomplete or of another version; or nothing
            can be written to the data folder. The message says what to do.
    """
    choice = run_mode.data_choice()
    if choice != "synthetic":
        builder = _builder(OXFORD, data_dir)
        if _is_prepared(builder) or _has_archives(builder) or _host_answers(builder):
            builder = _prepared(builder)
            pets = _dataset(builder, "Oxford-IIIT Pet" + _copies_note(builder), ("test",))
            print(f"Data: {pets.name}, from {builder.data_path}")
            return pets
        if choice == "oxford":
            raise RuntimeError(_how_to_get(builder))
    builder = _prepared(_builder(SYNTHETIC, data_dir))
    missing = "Oxford-IIIT Pet is not here and its host does not answer"
    why = "as PETS_DATA asks" if choice == "synthetic" else missing
    print(f"Data: {SYNTHETIC_NAME}, {why}. Scores on them say nothing about photographs.")
    return _dataset(builder, SYNTHETIC_NAME)


def _dataset(builder, name, official=()):
    features, splits = builder.info.features, builder.info.splits
    return datasets.Dataset(
        name=name,
        labelling=PETS,
        read=functools.partial(_read, builder),
        read_part=functools.partial(_read, builder),
        sizes={split: splits[part].num_examples for split, part in SLICES.items()},
        groups={
            "species": ("species", tuple(features["species"].names)),
            "breeds": ("label", tuple(features["label"].names)),
        },
        official=official,
        remedy=f"The data in {builder.data_path} is not the original: delete that folder and run "
        f"again to prepare it afresh.",
    )


def _read(builder, split, number=0, count=1):
    """Records with image and mask still as their stored bytes, in the order of the files: all, or
    those of one of ``count`` parts."""
    skip = tfds.decode.SkipDecoding()
    return builder.as_dataset(
        # of the files, TFDS opens only those that a part lies in, and passes over what is before
        split=tfds.even_splits(SLICES[split], count)[number] if count > 1 else SLICES[split],
        decoders={"image": skip, "segmentation_mask": skip},
        read_config=tfds.ReadConfig(try_autocache=False),
    )


def _builder(full_name, data_dir):
    """TFDS's builder of that version. (``tfds.builder`` takes what lies in the folder, of whatever
    version it says it is.)"""
    name, version = full_name.split(":")
    kind = tfds.builder_cls(name)
    try:
        return kind(version=version, data_dir=data_dir)
    except Exception as error:  # of many kinds: TFDS's, protobuf's, Python's
        root = Path(data_dir or tfds.core.constants.DATA_DIR)
        raise RuntimeError(_incomplete(root / name / version, error)) from error


def _is_prepared(builder):
    if not builder.data_path.exists():
        return False
    if not {"train", "test"} <= set(builder.info.splits):
        raise RuntimeError(_incomplete(builder.data_path, "it describes no train and test split"))
    return True


def _incomplete(folder, why):
    return (
        f"{folder} is there but holds no complete prepared data of that version ({why}): delete "
        f"it and run again."
    )


def _prepared(builder):
    if _is_prepared(builder):
        return builder
    # A folder of its own: TFDS would take what another process or an earlier try has extracted,
    # complete or not, and would leave it there: 0.8 GB that nobody needs any more.
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
    # TFDS prepares aside and renames, so what is there now is complete, by whichever process.
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
    return downloads.host_answers(next(iter(builder.url_infos)))


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
        f"Or set PETS_DATA=synthetic to run on synthetic pets."
    )


def _copies_note(builder):
    """Says so where the prepared photographs are reduced copies: the originals reach 500 pixels
    and more within any hundred."""
    records = _read(builder, "train").take(100)
    longest = max(int(max(tf.io.extract_jpeg_shape(r["image"])[:2])) for r in records)
    return f", {longest}-px copies" if longest < 400 else ""
