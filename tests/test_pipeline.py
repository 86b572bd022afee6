"""From records to batches: nothing lost, nothing moved, nothing wrong let through."""

import atexit
import tempfile
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import tensorflow as tf

from helpers import datasets, pipeline
from helpers.albumentations_augmentation import albumentations_augment
from helpers.augmentation import augment
from helpers.classes import PETS, VOID
from tests import tiny
from tests.tiny import STREET, encoded

SIZES = [(40, 60), (64, 48), (50, 50), (33, 71)]  # height, width


def stored_masks(labelling, count=12):
    values = [*labelling.ids, *([] if labelling.void is None else [labelling.void])]
    return [tiny.picture(i, SIZES[i % 4], values)[1] for i in range(count)]


PET_PICTURES = tiny.dataset(PETS, stored_masks(PETS))
STREETS = tiny.dataset(STREET, stored_masks(STREET))


def arrays(dataset):
    images, masks = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(images), np.stack(masks)


# -------------------------------------------------------------------------------------- decode


@pytest.mark.parametrize("dataset", [PET_PICTURES, STREETS])
def test_decode_resizes_the_image_smoothly_and_the_mask_by_nearest(dataset):
    labelling, (height, width) = dataset.labelling, (16, 24)
    for record, stored in zip(datasets.read_records(dataset, "test"), stored_masks(labelling)):
        image, mask = pipeline.decode(record, (height, width), labelling)
        photo = tf.io.decode_png(record["image"])
        smooth = tf.image.resize(photo, (height, width), method="bilinear", antialias=True)
        np.testing.assert_array_equal(image, np.round(smooth))
        table = dict(zip(labelling.ids, range(len(labelling)))) | {labelling.void: VOID}
        ids = np.vectorize(table.get)(stored)
        own = pipeline.decode_mask(record["segmentation_mask"], labelling)
        np.testing.assert_array_equal(own[..., 0], ids)
        places = [
            ((np.arange(new) + 0.5) * old / new).astype(int)
            for new, old in zip((16, 24), ids.shape)
        ]
        np.testing.assert_array_equal(mask[..., 0], ids[places[0]][:, places[1]])
        assert image.dtype == mask.dtype == own.dtype == tf.uint8
        assert image.shape == (16, 24, 3) and mask.shape == (16, 24, 1)


PHOTO, MASK = tiny.picture(0, (40, 60), [1, 2, 3])
FAULTS = {
    "value 0": ({"mask": encoded(MASK - 1)}, r"values \[0, 1, 2\], expected only 1 \(pet\), 2"),
    "value 4": ({"mask": encoded(MASK + 1)}, r"values \[2, 3, 4\], expected only 1"),
    "other size": ({"mask": encoded(MASK[:, :59])}, "mask is 40x59, its image 40x60"),
    "turned": ({"mask": encoded(MASK.T)}, "mask is 60x40, its image 40x60"),
    "cut JPEG": ({"image": encoded(PHOTO, "JPEG")[:999]}, "image does not decode as JPEG"),
    "broken PNG": ({"mask": encoded(MASK)[:50]}, "mask does not decode as PNG"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_faulty_record_is_named_with_its_fault(case):
    change, message = FAULTS[case]
    faulty = {"image": encoded(PHOTO), "mask": encoded(MASK), **change}

    def read(split):
        return PET_PICTURES.read(split).map(
            lambda record: {
                **record,
                "image": tf.where(
                    record["file_name"] == "7.png", faulty["image"], record["image"]
                ),
                "segmentation_mask": tf.where(
                    record["file_name"] == "7.png", faulty["mask"], record["segmentation_mask"]
                ),
            }
        )

    dataset = datasets.dataclasses.replace(PET_PICTURES, read=read)
    with pytest.raises(ValueError, match=f"^7.png: .*{message}.* Draw it again."):
        pipeline.load_split(dataset, "test", 16)
    with pytest.raises(ValueError, match=f"^7.png: .*{message}"):
        list(pipeline.labelled_batches(dataset, "test", 16, 5))


@pytest.mark.parametrize("value", [8, 32, 254])
def test_a_value_between_the_ids_of_a_labelling_is_a_fault(value):
    mask = np.full((4, 4), 7, np.uint8)
    mask[1, 2] = value
    with pytest.raises(ValueError, match=rf"\[7, {value}\], expected only 0 \(road\).*255 \(void"):
        pipeline.load_split(tiny.dataset(STREET, [mask]), "test", 4)


# ---------------------------------------------------------------------------------- load_split


@pytest.fixture(params=["RAM", "file"])
def cache(request, monkeypatch, tmp_path):
    """Both kinds of cache; a file cache goes to tmp_path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if request.param == "file":
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    return request.param


@pytest.mark.parametrize("dataset", [PET_PICTURES, STREETS])
def test_all_examples_come_in_the_order_of_the_records(dataset, cache, tmp_path, monkeypatch):
    at_exit = []
    monkeypatch.setattr(atexit, "register", lambda *a, **options: at_exit.append((a, options)))
    examples = pipeline.load_split(dataset, "train", (16, 24))
    images, masks = arrays(examples)
    assert len(examples) == len(images) == 12 and images.dtype == masks.dtype == np.uint8
    for record, *example in zip(datasets.read_records(dataset, "train"), images, masks):
        for expected, got in zip(pipeline.decode(record, (16, 24), dataset.labelling), example):
            np.testing.assert_array_equal(expected, got)
    assert len(list(tmp_path.iterdir())) == (cache == "file")
    for (function, *arguments), options in at_exit:
        function(*arguments, **options)
    assert not list(tmp_path.iterdir())


def test_each_record_is_decoded_once_and_before_load_split_returns(cache, monkeypatch):
    decoded, decode = [], pipeline.decode

    def counting(record, *arguments):
        image, mask = decode(record, *arguments)
        count = tf.py_function(lambda n: decoded.append(n.numpy()), [record["file_name"]], [])
        with tf.control_dependencies([count]):
            return tf.identity(image), mask

    monkeypatch.setattr(pipeline, "decode", counting)
    examples = pipeline.load_split(PET_PICTURES, "train", 16)
    assert len(decoded) == 12
    epochs = tf.data.Dataset.range(2)  # as training.fit has them
    for _ in epochs.flat_map(
        lambda number: pipeline.training_batches(examples, 4, 1, None, number)
    ):
        pass
    assert len(decoded) == 12


@pytest.mark.parametrize("size", [0, -8, 16.0, None, "16", (16,), (16, 0), (16, 16, 3)])
def test_a_size_that_is_none_is_explained(size):
    with pytest.raises(ValueError, match="size=.*expected whole pixels"):
        pipeline.load_split(PET_PICTURES, "test", size)


def test_examples_that_are_missing_are_counted():
    with pytest.raises(ValueError, match="should have 2 examples, but 1 of them are there"):
        pipeline.load_split(datasets.subset(PET_PICTURES, test=["3.png", "cat.jpg"]), "test", 16)


def test_a_cache_that_cannot_be_is_not_blamed_on_the_data(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    with pytest.raises(RuntimeError, match="test split could not be cached .*Not a dir.*TMPDIR"):
        pipeline.load_split(PET_PICTURES, "test", 16)


# ------------------------------------------------------------------------------------- batches

COUNT = 200


@pytest.fixture(scope="module")
def examples():
    """200 noisy images; the mask's value is the example's number, which no augmentation hides."""
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 12, 3), np.uint8)
    numbers = np.arange(COUNT, dtype=np.uint8)[:, None, None, None]
    masks = np.broadcast_to(numbers, (COUNT, 8, 12, 1))
    return tf.data.Dataset.from_tensor_slices((images, masks))


def epoch(batches):
    """One epoch as images and example numbers, in the order in which they came."""
    images, masks = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(masks)[:, 0, 0, 0]


@pytest.mark.parametrize("augmentation", [augment, albumentations_augment, None])
def test_an_epoch_has_each_example_once_in_an_order_and_views_of_its_own(examples, augmentation):
    def run(seed, number):
        return epoch(pipeline.training_batches(examples, 32, seed, augmentation, number))

    batches = pipeline.training_batches(examples, 32, 1, augmentation, 3)
    assert len(batches) == 7 and [len(masks) for _, masks in batches] == [32] * 6 + [8]
    for part, channels in zip(batches.element_spec, (3, 1)):
        assert part.shape == (None, 8, 12, channels) and part.dtype == tf.uint8
    images, order = epoch(batches)
    assert sorted(order) == list(range(COUNT))
    for seed, number in ((1, 4), (2, 3)):
        others, other_order = run(seed, number)
        assert (order != other_order).mean() > 0.9
        same = images[np.argsort(order)] == others[np.argsort(other_order)]
        assert same.all() if augmentation is None else not same.all(axis=(1, 2, 3)).any()
    # one after the other in a graph, as fit has them: the same as alone
    numbers = tf.data.Dataset.range(2, 4)
    both = epoch(
        numbers.flat_map(
            lambda number: pipeline.training_batches(examples, 32, 1, augmentation, number)
        )
    )[0]
    np.testing.assert_array_equal(both, np.concatenate([run(1, 2)[0], images]))


def test_the_shuffle_spans_the_split(examples):
    epochs = [pipeline.training_batches(examples, 4, 1, None, number) for number in range(10)]
    firsts = np.concatenate([next(iter(e))[1].numpy()[:, 0, 0, 0] for e in epochs])
    assert firsts.min() < COUNT / 10 and firsts.max() > COUNT * 9 / 10


def test_memory_does_not_grow_with_epochs():
    images = np.zeros((1000, 64, 64, 3), np.uint8)  # with masks 16 MB
    examples = tf.data.Dataset.from_tensor_slices((images, images[..., :1])).cache()
    epochs = tf.data.Dataset.range(12)
    batches = epochs.flat_map(lambda n: pipeline.training_batches(examples, 50, 1, None, n))
    held = [psutil.Process().memory_info().rss / 1e6 for _ in batches][::20]
    assert len(held) == 12 and max(held[2:]) - held[1] < 60  # ten epochs that stayed: 160


def test_evaluation_keeps_the_order_and_drops_nothing(examples):
    batches = pipeline.evaluation_batches(examples, 32)
    images, order = epoch(batches)
    assert len(batches) == 7 and order.tolist() == list(range(COUNT))
    np.testing.assert_array_equal(images, arrays(examples)[0])


@pytest.mark.parametrize("batches", [pipeline.evaluation_batches, pipeline.training_batches])
def test_no_batch_is_made_of_what_a_network_cannot_use(batches):
    def made_of(images, masks):
        examples = tf.data.Dataset.from_tensor_slices((images, masks))
        return list(batches(examples, 2, *([1] if batches is pipeline.training_batches else [])))

    images, masks = np.zeros((4, 8, 12, 3), np.uint8), np.zeros((4, 8, 12, 1), np.uint8)
    assert len(made_of(images, masks)) == 2
    for wrong in (images / np.float32(255), images[..., :1], images[:, :, :-1]):
        with pytest.raises(ValueError, match="^The images"):
            made_of(wrong, masks)
    for wrong in (masks[..., 0], masks.astype("float32"), np.repeat(masks, 3, -1)):
        with pytest.raises(ValueError, match="^The masks are"):
            made_of(images, wrong)


# --------------------------------------------------------------------------- against background


@pytest.mark.parametrize(
    "border, targets, weights",
    [
        ("pet", [1, 0, 1], [1, 1, 1]),
        ("background", [1, 0, 0], [1, 1, 1]),
        ("ignore", [1, 0, 0], [1, 1, 0]),
    ],
)
def test_each_border_rule_by_hand(border, targets, weights):
    masks = np.arange(3, dtype=np.uint8).reshape(1, 1, 3, 1)
    batches = tf.data.Dataset.from_tensors((np.zeros((1, 1, 3, 3), np.uint8), masks))
    ((_, *given),) = pipeline.binary_batches(batches, PETS, border)
    assert given[0].dtype == tf.uint8 and given[1].dtype == tf.float32
    assert [part.numpy().ravel().tolist() for part in given] == [targets, weights]
    assert given[0].shape == given[1].shape == masks.shape


def test_void_is_neither_one_nor_the_other():
    void = datasets.dataclasses.replace(PETS, void=0)
    targets, weights = pipeline.to_binary(np.array([0, VOID, 1]), void, "pet")
    assert targets.numpy().tolist() == [1, 0, 0] and weights.numpy().tolist() == [1, 0, 1]


@pytest.mark.parametrize("value", [3, VOID, -1])
def test_a_mask_with_another_value_is_an_error(value):
    with pytest.raises(ValueError, match=rf"holds the values \[.*{value}.*\]: expected only 0"):
        pipeline.to_binary(np.array([0, 1, value]), PETS, "pet")
    faulty = tf.data.Dataset.from_tensors((np.zeros((1, 2, 2, 3)), np.full((1, 2, 2, 1), value)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="other values than class ids"):
        list(pipeline.binary_batches(faulty, PETS, "ignore"))
    with pytest.raises(ValueError, match="float32: expected integer"):
        pipeline.to_binary(np.zeros(3, "float32"), PETS, "pet")
    with pytest.raises(ValueError, match="border='edge': expected one of pet, background"):
        pipeline.binary_batches(faulty, PETS, "edge")


# ---------------------------------------------------------------------------- labelled batches


@pytest.mark.parametrize("own_masks", [True, False])
def test_labelled_batches_say_what_the_data_set_knows(own_masks):
    masks = stored_masks(STREET, 5)
    town = tiny.dataset(STREET, masks, {"towns": ("town", ("A", "B"))}, town=[0, 1, 1, 0, 1])
    batches = list(pipeline.labelled_batches(town, "test", (16, 24), 3, own_masks))
    assert [batch["image"].shape for batch in batches] == [(3, 16, 24, 3), (2, 16, 24, 3)]
    assert np.concatenate([batch["town"] for batch in batches]).tolist() == [0, 1, 1, 0, 1]
    expected = arrays(pipeline.load_split(town, "test", (16, 24)))[1]
    assert np.array_equal(np.concatenate([batch["mask"] for batch in batches]), expected)
    assert [n for batch in batches for n in batch["file_name"]][-1] == b"4.png"
    if own_masks:
        own = [mask for batch in batches for mask in batch["own_mask"]]
        assert [mask.shape for mask in own] == [mask.shape for mask in masks]
        assert [(mask == VOID).sum() for mask in own] == [(mask == 255).sum() for mask in masks]
    else:
        assert "own_mask" not in batches[0]
