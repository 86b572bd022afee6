"""The report that follows from one pass over a split, for labellings and groups of any kind."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.report import report, scores_of
from helpers import datasets, evaluation, pipeline
from helpers.classes import PETS
from tests import tiny
from tests.tiny import STREET, Model, oracle, saying

PETS_WITH_VOID = dataclasses.replace(PETS, void=0)
IGNORED_FIRST = dataclasses.replace(PETS, border_rules={"ignore": PETS.border_rule("ignore")})
LOGIT = Model(lambda images: np.where(images[..., :1] // 20 == 1, -9.0, 9.0))
GROUPS = {"towns": ("town", ("A", "B", "C")), "kinds": ("kind", ("cat", "dog"))}
IDS = {"town": [0, 1] * 6, "kind": [0] * 5 + [1] * 7}


def pictures(labelling, wrong=0.2, groups=()):
    """12 blocks of 2 x 3 classes, or void, whose images say them to ``oracle``, up to some pixels
    that are wrong; in void they say anything."""
    rng = np.random.default_rng(0)
    stored = [*labelling.ids, *({labelling.void} - {None})]
    kinds = np.kron(rng.integers(0, len(stored), (12, 2, 3)), np.ones((1, 8, 8), int))
    said = (kinds + (rng.random(kinds.shape) < wrong)) % len(labelling)
    groups = {name: GROUPS[name] for name in groups}
    return tiny.dataset(labelling, list(np.uint8(stored)[kinds]), groups, saying(said), **IDS)


def reported(dataset, model=None):
    model = oracle(len(dataset.labelling)) if model is None else model
    batches = pipeline.labelled_batches(dataset, "test", (16, 24), 5)
    counts = evaluation.measure(model, batches, dataset.labelling)
    return counts, report(counts, dataset)


@pytest.mark.parametrize(
    "labelling, model, groups",
    [
        (PETS, None, ["towns", "kinds"]),
        (PETS, LOGIT, ["towns"]),
        (PETS_WITH_VOID, None, []),
        (PETS_WITH_VOID, LOGIT, ["kinds"]),
        (IGNORED_FIRST, LOGIT, []),
        (STREET, None, ["towns"]),
        (STREET, None, []),
        (PETS.binary, LOGIT, ["kinds"]),
    ],
)
def test_any_labelling_and_groups_are_reported(labelling, model, groups):
    dataset = pictures(labelling, groups=groups)
    counts, written = reported(dataset, model)
    text = json.dumps(written, allow_nan=False)
    assert ("pet" in text) == ("pet" in labelling.names) and written["binary_scores"].keys() == (
        labelling.border_rules.keys()
    )
    assert {*GROUPS} & {*written} == {*groups}
    total, intervals = scores_of(counts.matrices.sum(axis=0), labelling), written["intervals"]
    assert intervals.keys() == total.keys() == written["per_image"].keys()
    for name, values in total.items():
        for value, (low, high) in zip(np.ravel(values), np.reshape(intervals[name], (-1, 2))):
            assert low - 1e-5 <= value <= high + 1e-5
        each = scores_of(counts.matrices, labelling)[name]
        assert written["per_image"][name] == pytest.approx(each.mean(axis=0))
        if counts.matrices.shape[-1] == len(labelling):
            assert written[name] == pytest.approx(np.asarray(values).tolist())
    for name in groups:
        key, names = GROUPS[name]
        for number, found in zip(sorted({*IDS[key]}), written[name].values(), strict=True):
            own = counts.matrices[counts.known[key] == number]
            assert found.pop("images") == len(own) == IDS[key].count(number)
            for score, entry in found.items():
                assert entry["value"] == scores_of(own.sum(axis=0), labelling)[score]
    worst = [value for _, value in written["worst_images"]]
    assert worst == sorted(worst) and len(worst) == 12
    pixels = counts.matrices.sum()
    assert counts.confidences[:, 0].sum() == counts.distances[:, 0].sum() <= pixels
    assert counts.places[..., 0].sum() == counts.distances[:, 0].sum()
    assert counts.places[..., 1].sum() == counts.distances[:, 1].sum()
    assert counts.confidences[:, :2].sum(axis=0) @ [1, -1] == counts.distances[:, 1].sum()


@pytest.mark.parametrize("labelling", [PETS, PETS_WITH_VOID, STREET])
def test_the_truth_itself_is_perfect(labelling):
    counts, written = reported(pictures(labelling, wrong=0))
    for part in (written, written["per_image"], written["own_size"]):
        assert part["mean_iou"] == part["pixel_accuracy"] == min(part["dice"]) == 1
    for size in ("network_size", "own_size"):
        assert {values["f"] for values in written["outlines"][size].values()} == {1}
    assert not any(row["wrong"] for row in written["errors_by_distance"])
    assert np.sum(written["errors_by_place"]) == 0 and written["calibration_error"] < 0.001


@pytest.mark.parametrize("labelling, model", [(STREET, None), (PETS_WITH_VOID, LOGIT)])
def test_void_is_in_none_of_the_numbers(labelling, model):
    dataset = pictures(labelling, groups=["kinds"])
    records = list(datasets.read_records(dataset, "test"))
    masks = [pipeline.decode_mask(r["segmentation_mask"], labelling)[..., 0] for r in records]
    masks = [
        np.uint8([*labelling.ids, *[labelling.void] * (256 - len(labelling))])[m] for m in masks
    ]
    images = np.stack([pipeline.decode(r, (16, 24), labelling)[0] for r in records])
    void = np.stack(masks) == labelling.void
    assert 0.1 < void.mean() < 0.5
    images[void] = np.random.default_rng(9).integers(0, 3, void.sum())[:, None] * 20
    other = tiny.dataset(labelling, masks, dataset.groups, images, **IDS)
    assert reported(other, model)[1] == reported(dataset, model)[1]
    masks.append(np.full((16, 24), labelling.void, np.uint8))  # an image that is void throughout
    images, ids = [*images, images[0]], {key: [*values, 1] for key, values in IDS.items()}
    longer = tiny.dataset(labelling, masks, dataset.groups, images, **ids)
    assert reported(longer, model)[1] == reported(dataset, model)[1]


def test_calibration_and_places_by_hand():
    masks = np.full((1, 16, 24), 1, np.uint8)  # pet
    masks[0, :4, 12:] = 2  # background: 48 of 384 pixels
    images = np.zeros((1, 16, 24, 3), np.uint8)
    sure = Model(lambda images: np.full((*images.shape[:3], 1), np.log(0.62 / 0.38)))
    written = reported(tiny.dataset(PETS, list(masks), images=images), sure)[1]
    (bin,) = written["calibration"]
    assert bin == pytest.approx({"confidence": 0.62, "accuracy": 336 / 384, "share": 1})
    assert written["calibration_error"] == pytest.approx(336 / 384 - 0.62)
    wrong = np.array(written["errors_by_place"])
    assert wrong.shape == (16, 16) and (wrong[:4, 8:] == 1).all() and wrong.sum() == 32
    assert written["masks_without_pet"] == []


def test_masks_without_the_first_class_are_listed():
    masks = [np.full((16, 24), value, np.uint8) for value in (1, 2, 3)]  # pet, background, border
    images = saying(np.stack(masks) - 1)
    written = reported(tiny.dataset(PETS, masks, images=images))[1]
    assert written["masks_without_pet"] == ["1.png"]  # the border counts as pet
