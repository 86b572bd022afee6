"""The drawn pets: same features as the real data set, exact masks, and not solvable by colour."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from scipy.ndimage import distance_transform_edt

from helpers.datasets.synthetic_pets import builder as synthetic_pets
from helpers.synthetic_pets import BORDER_RADIUS, BREEDS, SyntheticPets, draw_pet, example

REPOSITORY = pathlib.Path(__file__).parents[1]


def refuse(*args, **kwargs):
    raise AssertionError("the drawn pets must not need a network")


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


@pytest.fixture
def small(monkeypatch):
    """A data set of 5 train and 3 test examples instead of 400 and 100."""
    sizes = {"train": 5, "test": 3}
    monkeypatch.setattr(synthetic_pets, "SPLIT_SIZES", sizes)
    return sizes


def names_in(builder):
    """The file names of all examples."""
    return {
        bytes(one["file_name"]).decode()
        for split in builder.info.splits
        for one in tfds.as_numpy(builder.as_dataset(split=split))
    }


def masks(examples):
    return [one["segmentation_mask"] for one in examples]


def test_features_are_those_of_the_real_builder(builder, tmp_path):
    real = tfds.builder_cls("oxford_iiit_pet")(data_dir=tmp_path).info
    drawn = builder.info
    assert repr(drawn.features) == repr(real.features)
    assert drawn.features.dtype == real.features.dtype
    assert drawn.features["label"].names == real.features["label"].names
    assert drawn.features["species"].names == real.features["species"].names
    assert drawn.supervised_keys == real.supervised_keys


def test_split_sizes(splits):
    assert {name: len(examples) for name, examples in splits.items()} == {
        "train": 400,
        "test": 100,
    }


def test_file_names_are_unique_over_the_splits_and_name_the_breed(splits):
    everything = [one for examples in splits.values() for one in examples]
    names = [bytes(one["file_name"]).decode() for one in everything]
    assert len(set(names)) == 500
    for one, name in zip(everything, names, strict=True):
        breed, number = name.removesuffix(".jpg").rsplit("_", 1)
        assert breed == BREEDS[one["label"]]
        assert number.isdigit()


def test_every_breed_and_its_species(splits):
    for examples in splits.values():
        assert {int(one["label"]) for one in examples} == set(range(37))
        for one in examples:
            is_cat = BREEDS[one["label"]][0].isupper()  # so the real data set writes its names
            assert one["species"] == (0 if is_cat else 1)


def test_masks_have_the_size_of_the_image_and_three_values(splits):
    for examples in splits.values():
        for one in examples:
            assert one["segmentation_mask"].shape == (*one["image"].shape[:2], 1)
            assert set(np.unique(one["segmentation_mask"])) == {1, 2, 3}


def test_images_come_in_several_sizes_upright_and_wide(splits):
    sizes = {one["image"].shape[:2] for one in splits["train"]}
    assert len(sizes) >= 6
    assert any(height > width for height, width in sizes)
    assert any(height < width for height, width in sizes)
    assert all(200 <= max(size) <= 320 for size in sizes)


@pytest.mark.parametrize("split", ["train", "test"])
def test_class_shares_are_near_those_of_the_real_data(splits, split):
    """There: pet 29.5 %, background 58.9 %, border 11.6 %."""
    pet, background, border = (
        np.mean([(mask == value).mean() for mask in masks(splits[split])]) for value in (1, 2, 3)
    )
    assert 0.25 < pet < 0.35
    assert 0.52 < background < 0.66
    assert 0.08 < border < 0.13


def test_head_boxes_in_train_only(splits):
    for one in splits["train"]:
        top, left, bottom, right = one["head_bbox"]
        assert 0 <= top < bottom <= 1
        assert 0 <= left < right <= 1
    assert all(not one["head_bbox"].any() for one in splits["test"])


def test_head_boxes_lie_on_the_pet(splits):
    """The middle of the box is pet, in nearly all pictures (a head may be cut by the frame)."""
    hits = []
    for one in splits["train"]:
        top, left, bottom, right = one["head_bbox"]
        height, width = one["image"].shape[:2]
        middle = int((top + bottom) / 2 * height), int((left + right) / 2 * width)
        hits.append(one["segmentation_mask"][middle][0] == synthetic_pets.PET)
    assert np.mean(hits) > 0.99


@pytest.mark.parametrize("label", range(0, 37, 6))
def test_mask_follows_the_silhouette(label, monkeypatch):
    """The border is all that is within a fixed distance of the outline, on either side."""
    silhouettes = []
    trimap = synthetic_pets.trimap
    monkeypatch.setattr(synthetic_pets, "trimap", lambda s: silhouettes.append(s) or trimap(s))
    _, mask, _ = draw_pet(np.random.default_rng(label), label)
    (inside,) = silhouettes
    radius = BORDER_RADIUS * max(inside.shape)
    to_pet, to_background = distance_transform_edt(~inside), distance_transform_edt(inside)
    assert np.array_equal(mask[..., 0] == 1, to_background > radius)
    assert np.array_equal(mask[..., 0] == 2, to_pet > radius)


def test_picture_and_mask_show_the_same_shape(monkeypatch):
    """Without its scene, the picture differs from the plain ground on the pet, and only there."""
    ground = (0, 90, 255)
    monkeypatch.setattr(
        synthetic_pets, "paint_place", lambda rng, size, *_: Image.new("RGB", size, ground)
    )
    monkeypatch.setattr(synthetic_pets, "finish", lambda rng, picture: np.asarray(picture))
    for label in range(0, 37, 4):
        image, mask, _ = draw_pet(np.random.default_rng(label), label)
        painted = (image != ground).any(-1)
        assert painted[mask[..., 0] == 1].mean() > 0.999
        assert painted[mask[..., 0] == 2].mean() < 0.01  # whiskers


def test_trimap_of_a_known_shape():
    """A square: the band reaches as far to the inside as to the outside, and no farther."""
    inside = np.zeros((200, 200), bool)
    inside[50:150, 50:150] = True
    row = synthetic_pets.trimap(inside)[100, :, 0]
    assert BORDER_RADIUS * 200 == 3
    assert row[:47].tolist() == [2] * 47
    assert row[47:53].tolist() == [3] * 6
    assert row[53:147].tolist() == [1] * 94


def test_a_pet_cut_by_the_frame_has_no_border_along_the_frame():
    inside = np.zeros((200, 200), bool)
    inside[100:] = True
    assert synthetic_pets.trimap(inside)[150:, :, 0].tolist() == np.full((50, 200), 1).tolist()


def test_the_outline_is_visible():
    """Across the band's middle the picture changes more than between neighbours elsewhere."""
    ratios = []
    for label in range(0, 37, 3):
        image, trimap, _ = draw_pet(np.random.default_rng(label), label)
        pet, background = (trimap[..., 0] == value for value in (1, 2))
        near = [
            image[side & (distance_transform_edt(~other) < 14)].astype(float)
            for side, other in ((pet, background), (background, pet))
        ]
        ratios.append(np.abs(near[0].mean(0) - near[1].mean(0)).max())
    assert np.median(ratios) > 35
    assert min(ratios) > 12


def test_drawing_is_deterministic():
    first = example("train", 7)
    example("train", 8)  # nothing is kept from one picture to the next
    assert example("train", 7) == first
    assert example("train", 7 + len(BREEDS))["image"] != first["image"]
    assert example("test", 7)["image"] != first["image"]


def test_draw_pet_depends_on_its_generator_and_its_label():
    image, trimap, box = draw_pet(np.random.default_rng(3), 5)
    again, same_trimap, same_box = draw_pet(np.random.default_rng(3), 5)
    assert image.dtype == trimap.dtype == np.uint8
    assert image.shape == (*trimap.shape[:2], 3)
    assert np.array_equal(image, again)
    assert np.array_equal(trimap, same_trimap)
    assert box == same_box
    other, _, _ = draw_pet(np.random.default_rng(3), 7)
    assert not np.array_equal(image, other)


def test_what_is_read_is_what_was_drawn(splits):
    for index in (0, 399):
        name = example("train", index)["file_name"]
        (stored,) = [one for one in splits["train"] if one["file_name"].decode() == name]
        rng = np.random.default_rng([1, 0, 0, index])
        image, trimap, _ = draw_pet(rng, index % 37)
        assert np.array_equal(stored["segmentation_mask"], trimap)
        difference = np.abs(stored["image"].astype(int) - image)  # what JPEG changes
        assert difference.mean() < 8


def test_colour_alone_does_not_solve_it(splits):
    """The best guess from a pixel's colour: the commonest class in its bin of 16^3 colours."""
    counts = np.zeros((16**3, 4), np.int64)
    for bins, mask in colour_bins(splits["train"]):
        counts += np.bincount(bins * 4 + mask, minlength=counts.size).reshape(counts.shape)
    guess = np.where(counts.any(1), counts.argmax(1), synthetic_pets.BACKGROUND)
    pairs = list(colour_bins(splits["test"]))
    truth = np.concatenate([mask for _, mask in pairs])
    accuracy = np.mean(guess[np.concatenate([bins for bins, _ in pairs])] == truth)
    majority = np.mean(truth == synthetic_pets.BACKGROUND)
    print(f"colour alone {accuracy:.3f}, always background {majority:.3f}")
    assert majority < accuracy < 0.75


def colour_bins(examples):
    """Pairs of the colour bin (N,) and the class (N,) of each example's pixels."""
    for one in examples:
        red, green, blue = np.moveaxis(one["image"].astype(np.int64) // 16, -1, 0)
        yield ((red * 16 + green) * 16 + blue).ravel(), one["segmentation_mask"].ravel()


def test_preparation_that_fails_leaves_no_data_set(small, tmp_path, monkeypatch):
    def broken(split, index):
        if (split, index) == ("test", 1):
            raise OSError("disk full")
        return example(split, index)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(synthetic_pets, "example", broken)
        SyntheticPets(data_dir=tmp_path).download_and_prepare()
    assert not (tmp_path / "synthetic_pets" / "1.0.0").exists()
    again = SyntheticPets(data_dir=tmp_path)
    again.download_and_prepare()
    assert len(names_in(again)) == sum(small.values())


def test_preparation_that_was_killed_starts_afresh(small, tmp_path):
    program = "import sys; from helpers.synthetic_pets import SyntheticPets as S;"
    program += "S(data_dir=sys.argv[1]).download_and_prepare()"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program, str(tmp_path)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, **silent) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*/*incomplete*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)  # some of its 500 examples drawn
        process.send_signal(signal.SIGKILL)
    assert list(tmp_path.glob("*/*incomplete*"))
    assert not (tmp_path / "synthetic_pets" / "1.0.0").exists()
    again = SyntheticPets(data_dir=tmp_path)
    again.download_and_prepare()
    assert len(names_in(again)) == sum(small.values())


def test_nothing_is_written_outside_of_the_data_folder(small, tmp_path, monkeypatch):
    elsewhere, home = tmp_path / "elsewhere", tmp_path / "home"
    elsewhere.mkdir()
    home.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(home))
    SyntheticPets(data_dir=tmp_path / "data").download_and_prepare()
    assert not list(elsewhere.iterdir())
    assert not list(home.iterdir())
    assert [path.name for path in (tmp_path / "data").iterdir() if path.name != "downloads"] == [
        "synthetic_pets"
    ]
