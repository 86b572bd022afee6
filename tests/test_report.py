"""The report that follows from one pass over a split, for labellings and groups of any kind."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.report import report, scores_of
from helpers import evaluation, pipeline
from helpers.classes import PETS
from tests import tiny
from tests.tiny import STREET, Model, oracle, saying

WITH_VOID = dataclasses.replace(PETS, void=0)
IGNORED_FIRST = dataclasses.replace(PETS, border_rules={"ignore": PETS.border_rule("ignore")})
LOGIT = Model(lambda images: np.where(images[..., :1] // 20 == 1, -9.0, 9.0))
GROUPS = {"towns": ("town", ("A", "B", "C")), "kinds": ("kind", ("cat", "dog"))}
IDS = {"town": [0, 1] * 6, "kind": [0] * 5 + [1] * 7}


def pictures(labelling, groups=(), wrong=0.2, in_void=0, void_images=0):
    """12 masks of 2 x 3 blocks of a class, or void, and images that say them to ``oracle``, up to
    some wrong pixels. In void they say something else for each ``in_void``."""
    rng, stored = np.random.default_rng(0), np.uint8([*labelling.ids, labelling.void or 0])
    count = len(stored) - (labelling.void is None)
    kinds = np.kron(rng.integers(0, count, (12, 2, 3)), np.ones((1, 8, 8), int))
    said = (kinds + (rng.random(kinds.shape) < wrong)) % len(labelling)
    said[kinds == len(labelling)] += in_void
    for _ in range(void_images):
        kinds, said = (np.concatenate([part, part[:1]]) for part in (kinds, said))
        kinds[-1] = len(labelling)
    ids = {key: values + [0] * void_images for key, values in IDS.items()}
    groups = {name: GROUPS[name] for name in groups}
    said = saying(said % len(labelling))
    return tiny.dataset(labelling, list(stored[kinds]), groups, said, **ids)


def reported(dataset, model=None):
    model = model or oracle(len(dataset.labelling))
    batches = pipeline.labelled_batches(dataset, "test", (16, 24), 5)
    counts = evaluation.measure(model, batches, dataset.labelling)
    return counts, report(counts, dataset)


@pytest.mark.parametrize(
    "labelling, model, groups",
    [
        (PETS, None, ["towns", "kinds"]),
        (PETS, LOGIT, ["towns"]),
        (WITH_VOID, None, []),
        (WITH_VOID, LOGIT, ["kinds"]),
        (IGNORED_FIRST, LOGIT, []),
        (STREET, None, ["towns"]),
        (STREET, None, []),
        (PETS.binary, LOGIT, ["kinds"]),
    ],
)
def test_any_labelling_and_groups_are_reported(labelling, model, groups):
    counts, written = reported(pictures(labelling, groups), model)
    assert ("pet" in json.dumps(written, allow_nan=False)) == ("pet" in labelling.names)
    assert written["binary_scores"].keys() == labelling.border_rules.keys()
    assert written.keys() & GROUPS.keys() == {*groups}
    pooled = scores_of(counts.matrices.sum(axis=0), labelling)
    for name, each in scores_of(counts.matrices, labelling).items():
        assert written["per_image"][name] == pytest.approx(each.mean(axis=0))
        pairs = np.reshape(written["intervals"][name], (-1, 2))
        for value, (low, high) in zip(np.ravel(pooled[name]), pairs, strict=True):
            assert low - 1e-5 <= value <= high + 1e-5
        if counts.matrices.shape[-1] == len(labelling):
            assert np.array_equal(written[name], pooled[name])
    for name in groups:
        key, _ = GROUPS[name]
        for number, group in enumerate(written[name].values()):
            own = counts.matrices[counts.known[key] == number]
            assert group.pop("images") == len(own) == IDS[key].count(number)
            for score, entry in group.items():
                assert entry["value"] == scores_of(own.sum(axis=0), labelling)[score]
    assert not [name for name in written["outlines"]["own_size"] if "ignore" in name]
    worst = [value for _, value in written["worst_images"]]
    assert worst == sorted(worst) and len(worst) == 12
    total = counts.matrices.sum(axis=0)
    if model and len(labelling) > 2:
        total = evaluation.binary_matrices(total, next(iter(labelling.border_rules.values())))
    pixels, right = total.sum(), np.trace(total)
    assert counts.confidences.sum(axis=(0, 1))[:2].tolist() == [pixels, right]
    for part in (counts.distances.sum(axis=0), counts.places.sum(axis=(0, 1))):
        assert part.tolist() == [pixels, pixels - right]


@pytest.mark.parametrize("labelling", [PETS, WITH_VOID, STREET])
def test_the_truth_itself_is_perfect(labelling):
    written = reported(pictures(labelling, wrong=0))[1]
    for part in (written, written["per_image"], written["own_size"]):
        assert part["mean_iou"] == part["pixel_accuracy"] == min(part["dice"]) == 1
    for size in ("network_size", "own_size"):
        assert {values["f"] for values in written["outlines"][size].values()} == {1}
    assert not any(row["wrong"] for row in written["errors_by_distance"])
    assert np.sum(written["errors_by_place"]) == 0 and written["calibration_error"] < 0.001


@pytest.mark.parametrize("labelling, model", [(STREET, None), (WITH_VOID, LOGIT)])
def test_void_is_in_none_of_the_numbers(labelling, model):
    written = reported(pictures(labelling, ["kinds"]), model)[1]
    assert sum(written["confusion_matrix"][0]) > 0
    for change in ({"in_void": 1}, {"in_void": 2}, {"void_images": 1}):
        assert reported(pictures(labelling, ["kinds"], **change), model)[1] == written


def test_calibration_and_places_by_hand():
    mask = np.full((16, 24), 1, np.uint8)  # pet
    mask[:4, 12:] = 2  # background: 48 of 384 pixels
    sure = Model(lambda images: np.full((*images.shape[:3], 1), np.log(0.62 / 0.38)))
    written = reported(tiny.dataset(PETS, [mask]), sure)[1]
    (bin,) = written["calibration"]
    assert bin == pytest.approx({"confidence": 0.62, "accuracy": 336 / 384, "share": 1})
    assert written["calibration_error"] == pytest.approx(336 / 384 - 0.62)
    wrong = np.array(written["errors_by_place"])
    assert wrong.shape == (16, 16) and (wrong[:4, 8:] == 1).all() and wrong.sum() == 32


def test_masks_without_the_first_class_are_listed():
    masks = [np.full((16, 24), value, np.uint8) for value in PETS.ids]
    written = reported(tiny.dataset(PETS, masks, images=saying(np.stack(masks) - 1)))[1]
    assert written["masks_without_pet"] == ["1.png"]  # the border counts as pet
