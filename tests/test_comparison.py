"""Variants compared: what their counts say, and that nothing is trained twice."""

import numpy as np
import pytest

from experiments import comparison, differences, losses, recipe
from experiments.comparison import EPOCHS, TIME, Comparison, Variant
from experiments.differences import NOTHING_FOUND, Kept
from helpers import pipeline
from helpers.classes import PETS
from helpers.losses import CrossEntropy, DiceLoss
from helpers.training import Stage

IMAGES = 40


def kept(right, files=range(IMAGES)):
    """Of 100 pixels an image, so many of the first class are right, a few more in every second."""
    found = np.zeros((IMAGES, 3, 3))
    found[:, 0, 0] = right + np.arange(IMAGES) % 2
    found[:, 0, 1] = 100 - found[:, 0, 0]
    outlines = np.stack([found[:, 0, 0], np.full(IMAGES, 100)] * 2, axis=1)
    confidences = np.zeros((IMAGES, 20, 3))
    confidences[:, 18] = np.stack([np.full(IMAGES, 100), found[:, 0, 0], np.full(IMAGES, 92)], 1)
    return Kept(
        np.array(list(map(str, files))),
        found,
        outlines,
        confidences,
        np.array([60, 30]),
        *np.array(["CPU", "key"]),
    )


def test_scores_of_hand_made_counts():
    found = differences.scores(kept(80).counts()[0], PETS)
    assert found["mean_iou"] == pytest.approx((0.8 + 0 + 1) / 3)  # the border is in neither
    assert found["border_iou"] == 1 and found["boundary_f"] == pytest.approx(0.8)
    assert found["calibration_error"] == pytest.approx(0.12)


def test_a_difference_is_found_where_images_and_seeds_agree():
    variants = {
        "reference": {0: kept(80), 1: kept(82)},
        "better": {0: kept(84), 1: kept(86)},
        "seeds disagree": {0: kept(70), 1: kept(93)},
        "same": {0: kept(80), 1: kept(82)},
        "one seed": {1: kept(72)},
        "another seed": {2: kept(72)},
    }
    found = differences.summary(variants, "reference", PETS)
    better = found["better"]["difference"]["boundary_f"]
    assert better["value"] == pytest.approx(0.04) and better["by_seed"] == [0.04, 0.04]
    assert better["interval"][0] <= 0.04 <= better["interval"][1]
    assert better["verdict"] == "better"
    assert found["better"]["difference"]["calibration_error"]["verdict"] == "better"  # lower
    assert found["one seed"]["difference"]["calibration_error"]["verdict"].startswith("worse with")
    for name in ("seeds disagree", "same"):
        assert found[name]["difference"]["boundary_f"]["verdict"] == NOTHING_FOUND
    assert "difference" not in found["reference"] and "difference" not in found["another seed"]
    assert found["reference"]["mean"]["boundary_f"] == pytest.approx(0.815)
    assert found["one seed"]["seconds"] == {"1": 90} and list(found["one seed"]["by_seed"]) == [
        "1"
    ]


def test_counts_of_other_images_are_refused():
    variants = {"reference": {0: kept(80)}, "b": {0: kept(80, files=range(1, IMAGES + 1))}}
    with pytest.raises(ValueError, match="of different images"):
        differences.summary(variants, "reference", PETS)


@pytest.mark.parametrize("ratio", [0.6, 1.02, 3.0, 1000.0])
def test_the_same_time_is_so_many_steps(ratio):
    stages = (Stage(32, 1, 8, 1e-2), Stage(32, 2, 16, 1e-3))
    found = comparison.shortened(stages, ratio, examples=3200)
    if ratio == 1.02:
        assert found == stages  # near enough to be the same training
        return
    for old, new in zip(stages, found):
        whole = recipe.steps_of_epoch(old, 3200)
        wanted = max(1, old.epochs * whole / ratio)
        assert new.epochs * new.steps == pytest.approx(wanted, abs=new.epochs)
        assert 1 <= new.steps <= whole


def test_images_kept_at_a_size_are_what_decoding_gives(synthetic_dataset):
    small = comparison.resized(synthetic_dataset, (32, 48))
    pairs = zip(
        *(pipeline.load_split(data, "train", (32, 48)) for data in (synthetic_dataset, small))
    )
    for (image, mask), (its_image, its_mask) in pairs:
        assert np.array_equal(image, its_image) and np.array_equal(mask, its_mask)


def test_a_comparison_from_end_to_end(command, fits, monkeypatch, tmp_path):
    stages, small = (Stage(32, 1, 8, 1e-2),), {"classes": 3, "width": 2, "depth": 1}
    variants = {
        "both": Variant(CrossEntropy() + DiceLoss(), small, stages, "unet"),
        "wider": Variant(CrossEntropy(), {**small, "width": 6}, stages, "unet"),
    }
    compared = Comparison("losses", variants, ("both", "wider"), (EPOCHS, TIME))
    monkeypatch.setattr(losses, "COMPARISON", compared)
    slow = {"seconds": 0.1, "ratio": 2.0}
    monkeypatch.setattr(comparison, "timed_in_turns", lambda step, other: slow)
    monkeypatch.setattr(comparison, "SEEDS", (1,))
    monkeypatch.setattr(comparison, "RUNS", tmp_path / "runs")
    result = command(losses, "--seeds", 1, "--only", "wider")["losses"]
    assert list(result["budgets"][EPOCHS]) == ["wider"] and not result["complete"]
    assert "test" not in result

    result = command(losses)["losses"]
    assert result["complete"] and result["winner"] in variants
    assert result["variants"]["wider"]["parameters"] > result["variants"]["both"]["parameters"]
    assert set(result["test"]["variants"]) == set(variants)
    assert "5" in result["test"]["data_source"]
    for budget in (EPOCHS, TIME):
        assert list(result["budgets"][budget]["wider"]["by_seed"]) == ["1"]

    trained = []
    train = recipe.train
    monkeypatch.setattr(
        recipe, "train", lambda *args, **more: trained.append(args) or train(*args, **more)
    )
    again = command(losses)["losses"]
    assert not trained and again["budgets"] == result["budgets"]
    lost = tmp_path / "results/losses/both/validation_epochs_seed_1.npz"
    lost.write_bytes(lost.read_bytes()[:100])
    assert command(losses)["losses"]["budgets"] == result["budgets"] and len(trained) == 1

    changed = variants["wider"]._replace(loss=DiceLoss())
    other = compared._replace(variants={**variants, "wider": changed})
    monkeypatch.setattr(losses, "COMPARISON", other)
    trained.clear()
    command(losses)  # what was kept is of another loss
    assert trained and all(call[0].__self__ == changed for call in trained)
