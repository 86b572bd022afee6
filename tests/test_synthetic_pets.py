"""The synthetic pets: features of the real data set, exact masks, mattes, and no easy way out."""

import socket

import numpy as np
import pytest
import tensorflow_datasets as tfds

from helpers.classes import PETS
from helpers.datasets.synthetic_pets import SyntheticPets, draw_pet
from helpers.datasets.synthetic_pets.builder import example
from helpers.datasets.synthetic_pets.pet import BORDER_RADIUS, trimap

PET, BACKGROUND, BORDER = PETS.ids


def refuse(*args, **kwargs):
    raise AssertionError("the synthetic pets must not need a network")


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    """All 500 examples, prepared once, with every way to the network shut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        prepared = SyntheticPets(data_dir=tmp_path_factory.mktemp("data"))
        prepared.download_and_prepare()
    return prepared


@pytest.fixture(scope="module")
def splits(builder):
    """Both splits as lists of examples, with NumPy arrays."""
    return {
        name: list(tfds.as_numpy(builder.as_dataset(split=name))) for name in builder.info.splits
    }


def test_features_are_those_of_the_real_builder(builder, tmp_path):
    real = tfds.builder_cls("oxford_iiit_pet")(data_dir=tmp_path).info
    assert builder.info.full_name == "synthetic_pets/1.0.0"
    assert repr(builder.info.features) == repr(real.features)
    assert builder.info.features.dtype == real.features.dtype
    for key in ("label", "species"):
        assert builder.info.features[key].names == real.features[key].names
    assert builder.info.supervised_keys == real.supervised_keys


def test_every_breed_its_species_and_names_that_differ(builder, splits):
    assert [len(splits[name]) for name in ("train", "test")] == [400, 100]
    breeds, names = builder.info.features["label"].names, set()
    for examples in splits.values():
        assert {int(one["label"]) for one in examples} == set(range(37))
        for one in examples:
            breed = breeds[one["label"]]
            assert one["species"] == (0 if breed[0].isupper() else 1)  # as the real data has it
            assert one["file_name"].decode().rsplit("_", 1)[0] == breed
            names.add(one["file_name"])
    assert len(names) == 500


@pytest.mark.parametrize("split", ["train", "test"])
def test_masks_are_like_those_of_the_real_data(splits, split):
    """There: pet 29.5 %, background 58.9 %, border 11.6 %."""
    shares = []
    for one in splits[split]:
        assert one["segmentation_mask"].shape == (*one["image"].shape[:2], 1)
        assert set(np.unique(one["segmentation_mask"])) == set(PETS.ids)
        shares.append([(one["segmentation_mask"] == value).mean() for value in PETS.ids])
    assert np.allclose(np.mean(shares, 0), (0.295, 0.589, 0.116), atol=0.05)


def test_images_come_in_several_sizes_upright_and_wide(splits):
    sizes = {one["image"].shape[:2] for one in splits["train"]}
    assert len(sizes) >= 6
    assert {np.sign(height - width) for height, width in sizes} >= {-1, 1}


def test_head_boxes_lie_on_the_pet_and_are_in_the_training_split_only(splits):
    hits = []
    for one in splits["train"]:
        top, left, bottom, right = one["head_bbox"]
        assert 0 <= top < bottom <= 1
        assert 0 <= left < right <= 1
        height, width = one["image"].shape[:2]
        middle = int((top + bottom) / 2 * height), int((left + right) / 2 * width)
        hits.append(one["segmentation_mask"][middle][0] == PET)
    assert np.mean(hits) > 0.99  # a head may be cut by the frame
    assert not any(one["head_bbox"].any() for one in splits["test"])


def test_border_reaches_as_far_inside_as_outside_and_not_along_the_frame():
    assert BORDER_RADIUS * 200 == 3
    pet = np.zeros((200, 200), bool)
    pet[50:, 50:150] = True
    mask = trimap(pet)
    expected = [BACKGROUND] * 47 + [BORDER] * 6 + [PET] * 94 + [BORDER] * 6 + [BACKGROUND] * 47
    assert mask[100, :, 0].tolist() == mask[199, :, 0].tolist() == expected


def test_drawings_are_deterministic():
    first = example("train", 7)
    example("train", 8)  # nothing is kept from one picture to the next
    assert example("train", 7) == first
    assert example("train", 7 + 37)["image"] != first["image"]
    assert example("test", 7)["image"] != first["image"]


def test_what_is_read_is_what_was_drawn(splits):
    for index in (0, 399):
        name = example("train", index)["file_name"]
        (stored,) = [one for one in splits["train"] if one["file_name"].decode() == name]
        image, mask, _ = draw_pet(np.random.default_rng([1, 0, 0, index]), index % 37)
        assert np.array_equal(stored["segmentation_mask"], mask)
        assert np.abs(stored["image"].astype(int) - image).mean() < 8  # what JPEG changes


@pytest.mark.parametrize("label", range(0, 37, 4))
def test_matte_composes_the_picture_and_agrees_with_the_trimap(label):
    image, mask, box, *parts = draw_pet(np.random.default_rng(label), label, alpha=True)
    plain = draw_pet(np.random.default_rng(label), label)
    assert np.array_equal(image, plain[0])
    assert np.array_equal(mask, plain[1])
    assert box == plain[2]
    matte, foreground, background = parts
    assert matte.dtype == np.float32
    assert 0 == matte.min() < matte.max() == 1
    weight = matte[..., None]
    soft = (matte > 0) & (matte < 1)
    off = np.abs(foreground * weight + background * (1 - weight) - image).max(-1)
    assert off.max() < 40
    assert off[np.maximum(foreground, background).max(-1) < 255].max() <= 3
    assert (off[soft] > 3).mean() < 0.08
    assert soft[mask[..., 0] == BORDER].mean() > 0.05
    assert (matte == 1)[mask[..., 0] == PET].mean() > 0.999
    assert (matte > 0)[mask[..., 0] == BACKGROUND].mean() < 0.01  # whiskers


def test_colour_alone_does_not_solve_it(splits):
    """The best guess from a pixel's colour: the commonest class in its bin of 16^3 colours."""
    counts = np.zeros((16**3, 4), np.int64)
    for bins, mask in colour_bins(splits["train"]):
        counts += np.bincount(bins * 4 + mask, minlength=counts.size).reshape(counts.shape)
    guess = np.where(counts.any(1), counts.argmax(1), BACKGROUND)
    bins, truth = (np.concatenate(part) for part in zip(*colour_bins(splits["test"])))
    assert np.mean(truth == BACKGROUND) < np.mean(guess[bins] == truth) < 0.75


def colour_bins(examples):
    """Pairs of the colour bin (N,) and the class (N,) of each example's pixels."""
    for one in examples:
        red, green, blue = np.moveaxis(one["image"].astype(np.int64) // 16, -1, 0)
        yield ((red * 16 + green) * 16 + blue).ravel(), one["segmentation_mask"].ravel()
