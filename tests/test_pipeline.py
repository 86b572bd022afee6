"""From records to batches: nothing lost, nothing moved, nothing wrong let through."""

import atexit
import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import tensorflow as tf

from helpers import datasets, pipeline, run_mode
from helpers.albumentations_augmentation import albumentations_augment
from helpers.augmentation import augment
from helpers.classes import PETS, VOID
from tests import tiny
from tests.tiny import STREET, encoded

ROOT = Path(__file__).parents[1]
SIZES = [(40, 60), (64, 48), (50, 50), (33, 71)]  # height, width


def stored_masks(labelling):
    values = [*labelling.ids, *({labelling.void} - {None})]
    return [tiny.picture(i, SIZES[i % 4], values)[1] for i in range(12)]


PET_PICTURES, STREETS = (tiny.dataset(kind, stored_masks(kind)) for kind in (PETS, STREET))


def arrays(dataset):
    images, masks = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(images), np.stack(masks)


# Decoding


@pytest.mark.parametrize("dataset", [PET_PICTURES, STREETS])
def test_decode_resizes_the_image_smoothly_and_the_mask_by_nearest(dataset):
    labelling, size = dataset.labelling, (16, 24)
    ids = dict(zip(labelling.ids, range(len(labelling)))) | {labelling.void: VOID}
    for record, stored in zip(datasets.read_records(dataset, "test"), stored_masks(labelling)):
        image, mask = pipeline.decode(record, size, labelling)
        photo = tf.io.decode_png(record["image"])
        smooth = tf.image.resize(photo, size, method="bilinear", antialias=True)
        np.testing.assert_array_equal(image, np.round(smooth))
        own = pipeline.decode_mask(record["segmentation_mask"], labelling).numpy()
        np.testing.assert_array_equal(own[..., 0], np.vectorize(ids.get)(stored))
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, own.shape)
        )
        np.testing.assert_array_equal(mask, own[rows][:, columns])
        assert image.dtype == mask.dtype == own.dtype == tf.uint8


PHOTO, MASK = tiny.picture(0, (40, 60), [1, 2, 3])
FAULTS = {
    "between two ids": (
        PHOTO,
        np.full_like(MASK, 8),
        r"\[8\], expected only 0 \(road\).*\(void\)",
    ),
    "value 0": (PHOTO, MASK - 1, r"values \[0, 1, 2\], expected only 1 \(pet\), 2"),
    "value 4": (PHOTO, MASK + 1, r"values \[2, 3, 4\], expected only 1"),
    "other size": (PHOTO, MASK[:, :59], "mask is 40x59, its image 40x60"),
    "turned": (PHOTO, MASK.T, "mask is 60x40, its image 40x60"),
    "cut JPEG": (encoded(PHOTO, "JPEG")[:999], MASK, "image does not decode as JPEG"),
    "broken PNG": (PHOTO, encoded(MASK)[:50], "mask does not decode as PNG"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_faulty_record_is_named_with_its_fault(case):
    image, mask, message = FAULTS[case]
    labelling, first = (STREET, MASK * 0) if "between" in case else (PETS, MASK)
    dataset = tiny.dataset(labelling, [first, mask], images=[PHOTO, image])
    for read in (pipeline.load_split, lambda *a: list(pipeline.labelled_batches(*a, 5))):
        with pytest.raises(ValueError, match=f"^1.png: .*{message}.* Draw it again."):
            read(dataset, "test", 16)


# A split, cached


@pytest.fixture(params=["RAM", "file"])
def cache(request, monkeypatch, tmp_path):
    """Both kinds of cache; a file cache goes to tmp_path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if request.param == "file":
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    return request.param


@pytest.mark.parametrize("dataset", [PET_PICTURES, STREETS])
def test_examples_come_once_decoded_in_the_order_of_the_records(
    dataset, cache, tmp_path, monkeypatch
):
    decoded, decode, at_exit = [], pipeline.decode, []

    def counting(record, *arguments):
        image, mask = decode(record, *arguments)
        count = tf.py_function(lambda n: decoded.append(n.numpy()), [record["file_name"]], [])
        with tf.control_dependencies([count]):
            return tf.identity(image), mask

    monkeypatch.setattr(pipeline, "decode", counting)
    monkeypatch.setattr(atexit, "register", lambda *a, **options: at_exit.append((a, options)))
    examples = pipeline.load_split(dataset, "train", (16, 24))
    assert len(decoded) == len(examples) == 12  # before it returned
    epochs = tf.data.Dataset.range(2)  # as training.fit has them
    list(epochs.flat_map(lambda number: pipeline.training_batches(examples, 4, 1, None, number)))
    for record, *example in zip(datasets.read_records(dataset, "train"), *arrays(examples)):
        for expected, got in zip(decode(record, (16, 24), dataset.labelling), example):
            np.testing.assert_array_equal(expected, got)
    folders = list(tmp_path.glob("examples_*"))
    assert len(decoded) == 12 and len(folders) == (cache == "file")
    for (function, *arguments), options in at_exit:
        function(*arguments, **options)
    assert not [folder for folder in folders if folder.exists()]


def test_the_cache_is_where_it_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = {c: arrays(pipeline.load_split(PET_PICTURES, "test", 16, c)) for c in ("RAM", "file")}
    assert len(list(tmp_path.glob("examples_*"))) == 1
    assert all(map(np.array_equal, *found.values()))
    with pytest.raises(ValueError, match="cache='disk': expected one of"):
        pipeline.load_split(PET_PICTURES, "test", 16, "disk")


@pytest.mark.parametrize("size", [0, -8, 16.0, None, "16", (16,), (16, 0), (16, 16, 3)])
def test_a_size_that_is_none_is_explained(size):
    with pytest.raises(ValueError, match="size=.*expected whole pixels"):
        pipeline.load_split(PET_PICTURES, "test", size)


def test_missing_examples_and_full_disks_are_told_apart(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="should have 2 examples, but 1 of them are there"):
        pipeline.load_split(datasets.subset(PET_PICTURES, test=["3.png", "cat.jpg"]), "test", 16)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    with pytest.raises(RuntimeError, match="test split could not be cached .*Not a dir.*TMPDIR"):
        pipeline.load_split(PET_PICTURES, "test", 16)


# Batches

COUNT = 200
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 12, 3), np.uint8)
# the mask's value is the example's number, which no augmentation hides
NUMBERS = np.uint8(np.arange(COUNT)[:, None, None, None] + np.zeros((8, 12, 1)))
EXAMPLES = tf.data.Dataset.from_tensor_slices((IMAGES, NUMBERS))


def epoch(batches):
    """One epoch as images and example numbers, in the order in which they came."""
    images, masks = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(masks)[:, 0, 0, 0]


@pytest.mark.parametrize("augmentation", [augment, albumentations_augment, None])
def test_an_epoch_has_each_example_once_in_an_order_and_views_of_its_own(augmentation):
    def batches(number, seed=1):
        return pipeline.training_batches(EXAMPLES, 32, seed, augmentation, number)

    assert len(batches(3)) == 7 and [len(masks) for _, masks in batches(3)] == [32] * 6 + [8]
    for part, channels in zip(batches(3).element_spec, (3, 1)):
        assert part.shape == (None, 8, 12, channels) and part.dtype == tf.uint8
    images, order = epoch(batches(3))
    assert sorted(order) == list(range(COUNT))
    for others, other_order in (epoch(batches(4)), epoch(batches(3, seed=2))):
        assert (order != other_order).mean() > 0.9
        same = images[np.argsort(order)] == others[np.argsort(other_order)]
        assert same.all() if augmentation is None else not same.all(axis=(1, 2, 3)).any()
    # one after the other in a graph, as fit has them: the same as alone
    both = epoch(tf.data.Dataset.range(2, 4).flat_map(batches))[0]
    np.testing.assert_array_equal(both, np.concatenate([epoch(batches(2))[0], images]))


def test_every_seed_will_do():
    run_mode.set_seed(0)  # TensorFlow's own 0 is a special case
    epochs = tf.data.Dataset.range(2)
    batches = epochs.flat_map(lambda n: pipeline.training_batches(EXAMPLES, 50, 0, augment, n))
    assert len(list(batches)) == 8


def test_the_shuffle_spans_the_split():
    epochs = [pipeline.training_batches(EXAMPLES, 4, 1, None, number) for number in range(10)]
    firsts = np.concatenate([next(iter(e))[1].numpy()[:, 0, 0, 0] for e in epochs])
    assert firsts.min() < COUNT / 10 and firsts.max() > COUNT * 9 / 10


def test_a_buffer_is_what_the_shuffle_holds():
    for number in range(5):
        _, order = epoch(pipeline.training_batches(EXAMPLES, 4, 1, None, number, buffer=20))
        assert sorted(order) == list(range(COUNT)) and (order != np.arange(COUNT)).mean() > 0.5
        assert (np.arange(COUNT) >= order.astype(int) - 20).all()  # nothing comes before its turn
    orders = [epoch(pipeline.training_batches(EXAMPLES, 4, 1, None, n, 20))[1] for n in (1, 1, 2)]
    assert (orders[0] == orders[1]).all() and (orders[0] != orders[2]).any()


GROWTH = """
import re, sys
import numpy as np
import tensorflow as tf
from helpers import pipeline
from tests import tiny

def memory(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1e3

masks = [np.zeros((8, 8), np.uint8)] * 4
pictures = tiny.dataset(tiny.STREET, masks)
for count in (100, 1500):
    records = pictures.read("train").repeat().take(count)
    before = memory("VmRSS")
    grown = pictures.__class__("many", tiny.STREET, lambda split: records, {"train": count})
    examples = pipeline.load_split(grown, "train", 160, cache=sys.argv[1])
    for _ in pipeline.training_batches(examples, 20, 1, None, buffer=50):
        pass
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures as Linux does")
@pytest.mark.parametrize("cache, most, least", [("file", 60, 0), ("RAM", 1000, 120)])
def test_with_a_file_and_a_buffer_memory_does_not_grow_with_the_split(cache, most, least):
    command = [sys.executable, "-c", GROWTH, cache]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert least < float(done.stdout.split()[-1]) < most  # MB; the split has 150 of them


def test_memory_does_not_grow_with_epochs():
    images = np.zeros((1000, 64, 64, 3), np.uint8)  # with masks 16 MB
    examples = tf.data.Dataset.from_tensor_slices((images, images[..., :1])).cache()
    epochs = tf.data.Dataset.range(12)
    batches = epochs.flat_map(lambda n: pipeline.training_batches(examples, 50, 1, None, n))
    held = [psutil.Process().memory_info().rss / 1e6 for _ in batches][::20]
    assert len(held) == 12 and max(held[2:]) - held[1] < 60  # ten epochs that stayed: 160


def test_evaluation_keeps_the_order_and_drops_nothing():
    images, order = epoch(pipeline.evaluation_batches(EXAMPLES, 32))
    np.testing.assert_array_equal(images, IMAGES)
    assert order.tolist() == list(range(COUNT))


@pytest.mark.parametrize(
    "batches",
    [pipeline.evaluation_batches, lambda *a: pipeline.training_batches(*a, 1, None)],
)
def test_no_batch_is_made_of_what_a_network_cannot_use(batches):
    for images, masks in (
        (IMAGES / np.float32(255), NUMBERS),
        (IMAGES[:, :, :-1], NUMBERS),
        (IMAGES, NUMBERS[..., 0]),
        (IMAGES, NUMBERS.astype("float32")),
    ):
        with pytest.raises(ValueError, match="^The (images|masks) (are|have)"):
            batches(tf.data.Dataset.from_tensor_slices((images, masks)), 2)


# The first class against the second


@pytest.mark.parametrize(
    "border, targets, weights",
    [
        ("pet", [1, 0, 1, 0], [1, 1, 1, 0]),
        ("background", [1, 0, 0, 0], [1, 1, 1, 0]),
        ("ignore", [1, 0, 0, 0], [1, 1, 0, 0]),
    ],
)
def test_each_border_rule_by_hand(border, targets, weights):
    masks = np.uint8([0, 1, 2, VOID]).reshape(1, 1, 4, 1)
    batches = tf.data.Dataset.from_tensors((np.zeros((1, 1, 4, 3), np.uint8), masks))
    with_void = dataclasses.replace(PETS, void=0)
    ((_, *given),) = pipeline.binary_batches(batches, with_void, border)
    assert [part.dtype for part in given] == [tf.uint8, tf.float32]
    assert [part.numpy().ravel().tolist() for part in given] == [targets, weights]
    assert given[0].shape == given[1].shape == masks.shape


@pytest.mark.parametrize("value", [3, VOID, -1])
def test_a_mask_with_another_value_is_an_error(value):
    with pytest.raises(ValueError, match=rf"holds the values \[.*{value}.*\]: expected only 0"):
        pipeline.to_binary(np.array([0, 1, value]), PETS, "pet")
    with pytest.raises(ValueError, match="float64: expected integer"):
        pipeline.to_binary(np.array([0, 1, value / 2]), PETS, "pet")
    faulty = tf.data.Dataset.from_tensors((np.zeros((1, 2, 2, 3)), np.full((1, 2, 2, 1), value)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="other values than class ids"):
        list(pipeline.binary_batches(faulty, PETS, "ignore"))
    with pytest.raises(ValueError, match="border='edge': expected one of pet, background"):
        pipeline.binary_batches(faulty, PETS, "edge")


def test_labelled_batches_say_what_the_data_set_knows():
    masks = stored_masks(STREET)[:5]
    town = tiny.dataset(STREET, masks, {"towns": ("town", ("A", "B"))}, town=[0, 1, 1, 0, 1])
    batches = list(pipeline.labelled_batches(town, "test", (16, 24), 3))
    assert [batch["image"].shape for batch in batches] == [(3, 16, 24, 3), (2, 16, 24, 3)]
    assert np.concatenate([batch["town"] for batch in batches]).tolist() == [0, 1, 1, 0, 1]
    assert batches[1]["file_name"].tolist() == [b"3.png", b"4.png"]
    small = np.concatenate([batch["mask"] for batch in batches])
    assert np.array_equal(small, arrays(pipeline.load_split(town, "test", (16, 24)))[1])
    own = [mask for batch in batches for mask in batch["own_mask"]]
    assert [mask.shape for mask in own] == [mask.shape for mask in masks]
    assert [(mask == VOID).sum() for mask in own] == [(mask == 255).sum() for mask in masks]
