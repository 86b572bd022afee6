"""One pass over a split and the report that follows from it, by hand and against SciPy."""

import json
import types

import keras
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from helpers import data, evaluation, report
from helpers.models import unet

RNG = np.random.default_rng(5)


class Oracle:
    """Logits that follow from the true masks; ``wrong`` of the pixels are off."""

    def __init__(self, pets, split, size=32, wrong=0.0, channels=3):
        masks = [mask.numpy()[..., 0] for _, mask in data.load_split(pets, split, size)]
        rng = np.random.default_rng(0)
        off = [rng.random(mask.shape) < wrong for mask in masks]
        self.ids = [np.where(o, (mask + 1) % 3, mask) for o, mask in zip(off, masks)]
        self.input_shape, self.at, self.channels = (None, size, size, 3), 0, channels

    def predict_on_batch(self, images):
        ids = np.stack(self.ids[self.at : self.at + len(images)])
        self.at += len(images)
        if self.channels == 1:
            return np.where(ids == 1, -9.0, 9.0)[..., None]
        return 9.0 * np.eye(3)[ids]


def blobs(size=40):
    noise = RNG.random((size // 8, size // 8))
    return np.kron(noise, np.ones((8, 8))) > 0.5


# ---------------------------------------------------------------------------------------- outlines


def test_an_outline_by_hand():
    mask = np.zeros((7, 7), bool)
    mask[1:6, 1:6] = True
    inside = np.zeros_like(mask)
    inside[2:5, 2:5] = True
    assert np.array_equal(evaluation.outline(mask), mask & ~inside)
    assert not evaluation.outline(np.ones((4, 4), bool)).any()  # the image's edge is none
    half = np.zeros((4, 6), bool)
    half[:, :3] = True
    assert np.argwhere(evaluation.outline(half))[:, 1].tolist() == [2] * 4


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_near_is_a_distance_of_at_most_the_width(width):
    for _ in range(5):
        truth, guess = blobs(), blobs()
        lines = [evaluation.outline(mask) for mask in (truth, guess)]
        far = [distance_transform_edt(~line) for line in lines]
        expected = [
            np.sum(lines[1] & (far[0] <= width)),
            np.sum(lines[1]),
            np.sum(lines[0] & (far[1] <= width)),
            np.sum(lines[0]),
        ]
        assert evaluation.outline_counts(truth, guess, width).tolist() == expected


def test_the_boundary_f_score_of_moved_and_missing_regions():
    def f(truth, guess):
        return float(evaluation.outline_f(evaluation.outline_counts(truth, guess, width=2)))

    square, empty = np.zeros((32, 32), bool), np.zeros((32, 32), bool)
    square[8:20, 8:20] = True
    assert f(square, square) == 1 and f(empty, empty) == 1
    assert f(square, empty) == 0 and f(empty, square) == 0
    assert f(square, np.roll(square, 2, axis=1)) == 1  # two pixels off is near
    assert 0 < f(square, np.roll(square, 3, axis=1)) < 1
    assert f(square, np.roll(square, 12, axis=(0, 1))) < 0.1
    # precision 1 of 2, recall 1 of 4: harmonic mean 1/3
    assert evaluation.outline_f([1, 2, 1, 4]) == pytest.approx(1 / 3)


def test_errors_are_counted_by_distance_from_the_nearest_change():
    mask = np.kron(RNG.integers(0, 3, (4, 4)), np.ones((10, 10), int))
    right = RNG.random(mask.shape) < 0.8
    change = np.zeros(mask.shape, bool)
    for y, x in np.ndindex(mask.shape):
        above, left = mask[max(0, y - 1), x], mask[y, max(0, x - 1)]
        change[y, x] = mask[y, x] != above or mask[y, x] != left
    far = distance_transform_edt(~change)
    counts = evaluation._distances(mask[None], right[None])
    edges = [0, *evaluation.DISTANCES, np.inf]
    for number, (low, high) in enumerate(zip(edges, edges[1:])):
        inside = (far >= low) & (far < high)
        assert counts[number].tolist() == [inside.sum(), (inside & ~right).sum()]
    lone = evaluation._distances(np.ones((1, 6, 6), int), np.zeros((1, 6, 6), bool))
    assert lone[-1].tolist() == [36, 36] and lone.sum() == 72


# ------------------------------------------------------------------------------------ the one pass


def test_the_truth_itself_is_perfect(drawn_pets):
    counts = evaluation.measure(Oracle(drawn_pets, "test"), drawn_pets, "test")
    records = list(data.read_records(drawn_pets, "test").as_numpy_iterator())
    assert counts.files == [record["file_name"].decode() for record in records]
    assert counts.breeds.tolist() == [record["label"] for record in records]
    assert counts.species.tolist() == [record["species"] for record in records]
    assert (counts.matrices.sum(axis=(1, 2)) == 32 * 32).all()
    own = [data.decode_own_mask(record["segmentation_mask"]).size for record in records]
    assert counts.own_matrices.sum(axis=(1, 2)).tolist() == own
    told = report.report(counts, drawn_pets)
    assert told["mean_iou"] == told["pixel_accuracy"] == told["per_image"]["mean_dice"] == 1
    assert told["own_size"]["pixel_accuracy"] > 0.9  # the small mask enlarged
    assert all(values["f"] == 1 for values in told["outlines"]["network_size"].values())
    animals = [data.decode_own_mask(record["segmentation_mask"]) != 1 for record in records]
    lengths = [np.sum(evaluation.outline(animal)) for animal in animals]
    assert counts.own_outlines[:, 0, 3].tolist() == lengths  # the true outlines, own size
    assert 0.3 < told["outlines"]["own_size"][evaluation.ANIMAL]["f"] < 1
    assert not any(row["wrong"] for row in told["errors_by_distance"])
    assert np.sum(told["errors_by_place"]) == 0


def test_one_pass_counts_what_evaluate_counts(drawn_pets):
    keras.utils.set_random_seed(1)
    model = unet(32, width=2, depth=2)
    counts = evaluation.measure(model, drawn_pets, "train")
    batches = data.evaluation_batches(data.load_split(drawn_pets, "train", 32), 32)
    whole = evaluation.evaluate(model, batches, 3)
    assert np.array_equal(counts.matrices.sum(axis=0), whole)
    pixels, wrong = whole.sum(), whole.sum() - np.trace(whole)
    assert counts.confidences[:, :2].sum(axis=0).tolist() == [pixels, pixels - wrong]
    assert counts.distances.sum(axis=0).tolist() == [pixels, wrong]
    assert counts.places.sum() == wrong
    assert len(evaluation.measure(model, drawn_pets, "train", limit=3).files) == 3


@pytest.mark.parametrize("threshold", [0.45, 0.5])
def test_one_logit_is_pet_against_background(drawn_pets, threshold):
    keras.utils.set_random_seed(2)
    model = unet(32, classes=1, width=2, depth=2)
    counts = evaluation.measure(model, drawn_pets, "train", threshold=threshold)
    batches = data.evaluation_batches(data.load_split(drawn_pets, "train", 32), 32)
    expected = evaluation.binary_matrices(model, batches, threshold)
    assert np.array_equal(counts.matrices, expected)
    told = report.report(counts, drawn_pets)
    for rule in data.BORDER_RULES:
        scores = evaluation.binary_scores(expected, rule)
        assert told["binary_scores"][rule]["dice"] == pytest.approx(scores["dice"])
        assert told["own_size"][f"dice_border_{rule}"] > 0
    wrong = expected[:, [0, 2], 1].sum() + expected[:, 1, 0].sum()  # the border as pet
    assert counts.distances[:, 1].sum() == wrong == counts.places.sum()


def test_unfit_models_are_errors(drawn_pets):
    with pytest.raises(ValueError, match="has 4 classes: expected 3 .* or one logit"):
        evaluation.measure(unet(32, classes=4, width=2, depth=1), drawn_pets, "test")
    broken = Oracle(drawn_pets, "test")
    broken.predict_on_batch = lambda images: np.full((len(images), 32, 32, 3), np.nan)
    with pytest.raises(ValueError, match="not finite"):
        evaluation.measure(broken, drawn_pets, "test")


def test_a_damaged_record_is_named(drawn_pets, monkeypatch):
    records = data.read_records

    def damaged(pets, split, limit=None, files=None):
        whole = records(pets, split, limit, files)
        return whole.map(lambda record: {**record, "image": b"no JPEG"})

    monkeypatch.setattr(data, "read_records", damaged)
    model = types.SimpleNamespace(input_shape=(None, 32, 32, 3))
    with pytest.raises(ValueError, match=r"\.jpg: the image does not decode as JPEG"):
        evaluation.measure(model, drawn_pets, "test")


# -------------------------------------------------------------------------------------- the report


@pytest.fixture(scope="module")
def counted(drawn_pets):
    return evaluation.measure(Oracle(drawn_pets, "train", wrong=0.2), drawn_pets, "train")


@pytest.fixture(scope="module")
def told(counted, drawn_pets):
    return report.report(counted, drawn_pets)


def test_the_report_can_be_written_and_names_its_parts(counted, told):
    json.dumps(told, allow_nan=False)
    total = counted.matrices.sum(axis=0)
    assert told["confusion_matrix"] == total.tolist()
    assert {name: told[name] for name in evaluation.scores(total)} == evaluation.scores(total)
    each = [evaluation.scores(matrix)["mean_iou"] for matrix in counted.matrices]
    assert told["per_image"]["mean_iou"] == pytest.approx(np.mean(each))


def test_intervals_enclose_their_scores(told):
    for name, interval in told["intervals"].items():
        values = np.atleast_1d(told[name])
        for value, (low, high) in zip(values, np.reshape(interval, (-1, 2)), strict=True):
            assert low <= value <= high and low < high


def test_breeds_and_species_are_groups_of_the_images(counted, told):
    for groups, kind in ((counted.breeds, "breeds"), (counted.species, "species")):
        sizes = [group["images"] for group in told[kind].values()]
        assert sizes == np.unique(groups, return_counts=True)[1].tolist()
    cats = counted.matrices[counted.species == 0].sum(axis=0)
    assert told["species"]["Cat"]["mean_iou"]["value"] == pytest.approx(
        evaluation.scores(cats)["mean_iou"]
    )


def test_the_ranking_begins_with_the_worst(counted, told):
    values = [value for _, value in told["worst_images"]]
    assert values == sorted(values)
    each = evaluation.scores(counted.matrices)["mean_iou"]
    assert told["worst_images"][0][0] == counted.files[int(np.argmin(each))]


def test_calibration_by_hand():
    confidences = np.zeros((evaluation.CONFIDENCE_BINS, 3))
    confidences[12] = [10, 5, 6.2]  # 10 pixels, half of them right, mean confidence 0.62
    confidences[19] = [30, 29, 29.4]
    told = report._calibration(confidences)
    assert [bin["accuracy"] for bin in told["calibration"]] == pytest.approx([0.5, 29 / 30])
    assert told["calibration"][1]["confidence"] == pytest.approx(0.98)
    assert told["calibration_error"] == pytest.approx((1.2 + 0.4) / 40)


def test_three_classes_become_two_by_rule():
    matrix = np.arange(1, 10).reshape(3, 3)
    pet = evaluation.as_binary(matrix, "pet")
    assert pet.tolist() == [[1 + 3, 2], [4 + 6, 5], [7 + 9, 8]]
    assert np.array_equal(evaluation.as_binary(matrix, "ignore"), pet)
    assert evaluation.as_binary(matrix, "background").tolist() == [[1, 5], [4, 11], [7, 17]]
    assert evaluation.as_binary(pet, "background") is pet
    joined = evaluation.border_as_pet(matrix)
    assert evaluation.binary_scores(pet[None], "pet")["dice"] == pytest.approx(
        evaluation.scores(joined)["dice"][0]
    )
