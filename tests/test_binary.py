"""Pet against background: masks, weights, losses, metric, scores under each border rule."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import f1_score

from helpers import data, dice, evaluation

RNG = np.random.default_rng(0)
MASKS = RNG.integers(0, 3, (4, 8, 6, 1)).astype(np.uint8)
LOGITS = RNG.normal(0, 2, (4, 8, 6, 1)).astype(np.float32)
LOSSES = [
    dice.DiceLoss(),
    dice.CrossEntropyDiceLoss(),
    keras.losses.BinaryCrossentropy(from_logits=True, reduction="mean_with_sample_weight"),
]


# ---------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize(
    "border, targets, weights",
    [
        ("pet", [1, 0, 1], [1, 1, 1]),
        ("background", [1, 0, 0], [1, 1, 1]),
        ("ignore", [1, 0, 0], [1, 1, 0]),
    ],
)
def test_each_rule_by_hand(border, targets, weights):
    given = data.to_binary(np.array([[[0], [1], [2]]], np.uint8), border)
    assert given[0].dtype == tf.uint8 and given[1].dtype == tf.float32
    assert given[0].numpy().ravel().tolist() == targets
    assert given[1].numpy().ravel().tolist() == weights


@pytest.mark.parametrize("value", [3, 255, -1])
def test_a_mask_with_another_value_is_an_error(value):
    with pytest.raises(ValueError, match=rf"holds the values \[.*{value}.*\]: expected only 0"):
        data.to_binary(np.array([0, 1, value]), "pet")
    faulty = tf.data.Dataset.from_tensors((np.zeros((1, 2, 2, 3)), np.full((1, 2, 2, 1), value)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="other values than 0"):
        list(data.binary_batches(faulty, "ignore"))


def test_an_unknown_rule_is_an_error():
    for call in (data.to_binary, data.binary_batches):
        with pytest.raises(ValueError, match="border='edge': expected one of pet, background"):
            call(MASKS, "edge")


def test_binary_batches_are_what_fit_takes(drawn_pets):
    batches = data.evaluation_batches(data.load_split(drawn_pets, "train", 16), 5)
    masks = next(iter(batches))[1]
    images, targets, weights = next(iter(data.binary_batches(batches, "ignore")))
    assert images.shape == (5, 16, 16, 3) and targets.shape == weights.shape == (5, 16, 16, 1)
    assert np.array_equal(targets == 1, masks == 0)
    assert np.array_equal(weights == 0, masks == 2)


# -------------------------------------------------------------------------------- losses, metric


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_what_is_ignored_changes_no_loss(loss):
    targets, weights = data.to_binary(MASKS, "ignore")
    ignored = weights.numpy() == 0
    assert 0.1 < ignored.mean() < 0.6
    other = np.where(ignored, -LOGITS + 3, LOGITS)
    value = float(loss(targets, LOGITS, sample_weight=weights))
    assert value == pytest.approx(float(loss(targets, other, sample_weight=weights)), rel=1e-6)
    assert value != pytest.approx(float(loss(targets, other)), rel=1e-3)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_weights_of_one_change_nothing(loss):
    targets, weights = data.to_binary(MASKS, "pet")
    value = float(loss(targets, LOGITS, sample_weight=weights))
    assert value == pytest.approx(float(loss(targets, LOGITS)), rel=1e-6)


def test_ignoring_is_the_same_as_cutting_away():
    targets, weights = np.zeros((1, 4, 6, 1)), np.ones((1, 4, 6, 1))
    targets[:, :, :2], weights[:, :, 3:] = 1, 0
    cut = targets[:, :, :3], LOGITS[:1, :4, :3]
    for loss in LOSSES:
        whole = float(loss(targets, LOGITS[:1, :4], sample_weight=weights))
        assert whole == pytest.approx(float(loss(*cut)), rel=1e-5), loss.name


def test_all_ignored_is_zero_cross_entropy_and_no_nan():
    nothing = np.zeros((4, 8, 6, 1), np.float32)
    targets = data.to_binary(MASKS, "pet")[0]
    assert float(dice.CrossEntropyDiceLoss()(targets, LOGITS, sample_weight=nothing)) == 0
    metric = dice.BinaryDice()
    metric.update_state(targets, LOGITS, sample_weight=nothing)
    assert float(metric.result()) == 1


def test_weights_of_another_shape_are_an_error():
    targets = data.to_binary(MASKS, "pet")[0]
    for weights in (np.ones((4, 8, 6, 3)), np.ones((4, 8, 6))):
        with pytest.raises(ValueError, match="nothing is broadcast"):
            dice.DiceLoss()(targets, LOGITS, sample_weight=weights)


@pytest.mark.parametrize("batch, side, scale", [(1, 8, 1), (3, 64, 60_000), (2, 512, 60_000)])
def test_float16_stays_finite(batch, side, scale):
    rng = np.random.default_rng(side)
    logits = (rng.uniform(-1, 1, (batch, side, side, 1)) * scale).astype(np.float16)
    targets, weights = data.to_binary(rng.integers(0, 3, logits.shape), "ignore")
    for loss in LOSSES:
        with tf.GradientTape() as tape:
            given = tf.Variable(logits)
            value = loss(targets, given, sample_weight=weights)
        assert np.isfinite(value), loss.name
        assert np.isfinite(tape.gradient(value, given)).all(), loss.name
    metric = dice.BinaryDice()
    metric.update_state(targets, logits, sample_weight=weights)
    assert 0 < float(metric.result()) < 1


def test_binary_dice_refuses_classes_and_thresholds_that_are_none():
    with pytest.raises(ValueError, match="has 3 channels: BinaryDice needs one"):
        dice.BinaryDice().update_state(MASKS, np.zeros((4, 8, 6, 3)))
    with pytest.raises(ValueError, match="threshold=1.0"):
        dice.BinaryDice(1.0).update_state(MASKS, LOGITS)


def test_binary_dice_is_saved_with_its_threshold():
    again = keras.metrics.deserialize(keras.metrics.serialize(dice.BinaryDice(0.3)))
    assert again.threshold == 0.3


# ---------------------------------------------------------------------------------------- scores


class Known:
    """A model whose logits are known: the image's first channel."""

    def predict_on_batch(self, images):
        return np.asarray(images, np.float32)[..., :1]


IMAGES = np.repeat(LOGITS, 3, axis=-1)
BATCHES = [(IMAGES[:3], MASKS[:3]), (IMAGES[3:], MASKS[3:])]


def test_matrices_count_each_image_by_true_class():
    matrices = evaluation.binary_matrices(Known(), BATCHES)
    assert matrices.shape == (4, 3, 2) and matrices.sum() == MASKS.size
    for matrix, logits, mask in zip(matrices, LOGITS, MASKS, strict=True):
        for row in range(3):
            assert matrix[row].tolist() == [
                np.sum((mask == row) & (logits > 0)),
                np.sum((mask == row) & (logits <= 0)),
            ]


@pytest.mark.parametrize("threshold", [0.3, 0.5])
@pytest.mark.parametrize("border", data.BORDER_RULES)
def test_scores_agree_with_the_metric_and_with_scikit_learn(border, threshold):
    matrices = evaluation.binary_matrices(Known(), BATCHES, threshold)
    scores = evaluation.binary_scores(matrices, border)
    targets, weights = (part.numpy() for part in data.to_binary(MASKS, border))
    metric = dice.BinaryDice(threshold)
    metric.update_state(targets, LOGITS, sample_weight=weights)
    assert scores["dice"] == pytest.approx(float(metric.result()))
    assert scores["iou"] == pytest.approx(scores["dice"] / (2 - scores["dice"]))
    each, right = [], []
    for target, weight, logits in zip(targets, weights, LOGITS, strict=True):
        kept = weight.ravel() > 0
        predicted = (1 / (1 + np.exp(-logits)) > threshold).ravel()[kept]
        each.append(f1_score(target.ravel()[kept], predicted))
        right.append(predicted == target.ravel()[kept])
    assert scores["dice_per_image"] == pytest.approx(np.mean(each))
    assert scores["pixel_accuracy"] == pytest.approx(np.mean(np.concatenate(right)))
    assert scores["pixel_accuracy_per_image"] == pytest.approx(np.mean([r.mean() for r in right]))


def test_an_image_without_pet_scores_one_only_if_none_is_predicted():
    empty = [[0, 0], [0, 9], [0, 0]]
    false = [[0, 0], [1, 8], [0, 0]]
    assert evaluation.binary_scores([empty], "pet")["dice"] == 1
    assert evaluation.binary_scores([false], "pet")["dice"] == 0
    assert evaluation.binary_scores([empty, false], "pet")["dice_per_image"] == 0.5


@pytest.mark.parametrize("border", data.BORDER_RULES)
def test_the_threshold_curve_is_that_of_the_matrices(border):
    thresholds = [0.1, 0.5, 0.77]
    curve = evaluation.threshold_curve(Known(), BATCHES, thresholds, border)
    for threshold, value in zip(thresholds, curve, strict=True):
        matrices = evaluation.binary_matrices(Known(), BATCHES, threshold)
        assert value == pytest.approx(evaluation.binary_scores(matrices, border)["dice"])


def test_a_probability_of_exactly_the_threshold_is_background_everywhere():
    images, masks = np.zeros((1, 2, 2, 3)), np.zeros((1, 2, 2, 1), int)
    assert evaluation.binary_matrices(Known(), [(images, masks)], 0.5)[0, 0].tolist() == [0, 4]
    assert evaluation.threshold_curve(Known(), [(images, masks)], [0.5], "pet") == [0]
    metric = dice.BinaryDice(0.5)
    metric.update_state(masks == 0, images[..., :1])
    assert float(metric.result()) == 0


def test_the_bootstrap_covers_what_it_should():
    rng, hits = np.random.default_rng(3), 0

    def mean(sums):
        return sums / 100

    for number in range(60):  # a mean of normal numbers: the truth is 0
        values = rng.normal(0, 1, 100)
        low, high = evaluation.bootstrap_interval(values, mean, rounds=400, seed=number)
        assert low < values.mean() < high
        hits += low < 0 < high
    assert 52 <= hits  # of 60; 57 expected
    again = evaluation.bootstrap_interval(values, mean, rounds=400, seed=number)
    assert again == (low, high)


def test_unfit_models_and_empty_splits_are_errors():
    class Three(Known):
        def predict_on_batch(self, images):
            return np.zeros((*images.shape[:3], 3))

    with pytest.raises(ValueError, match="has 3 classes: expected one logit"):
        evaluation.binary_matrices(Three(), BATCHES)
    with pytest.raises(ValueError, match="split is empty"):
        evaluation.binary_matrices(Known(), [])
    with pytest.raises(ValueError, match="not finite"):
        evaluation.binary_matrices(Known(), [(IMAGES * np.nan, MASKS)])


# --------------------------------------------------------------------------------- small subsets


def test_a_spread_takes_every_breed_before_a_second_of_one(drawn_pets):
    records = list(data.read_records(drawn_pets, "train").as_numpy_iterator())
    labels = {record["file_name"].decode(): int(record["label"]) for record in records}
    breeds = len(set(labels.values()))
    names = data.spread(drawn_pets, "train", breeds)
    assert len({labels[name] for name in names}) == breeds
    assert data.spread(drawn_pets, "train", 7) == names[:7] == data.spread(drawn_pets, "train", 7)
    assert sorted(data.spread(drawn_pets, "train", len(labels))) == sorted(labels)


def test_a_split_can_be_cut_to_files(drawn_pets):
    names = data.spread(drawn_pets, "train", 4)
    cut = data.load_split(drawn_pets, "train", 16, files=names)
    assert len(cut) == 4
    records = data.read_records(drawn_pets, "train", files=names).as_numpy_iterator()
    assert {record["file_name"].decode() for record in records} == set(names)
    with pytest.raises(ValueError, match="files names 1 examples, the train part of .* has 0"):
        data.load_split(drawn_pets, "train", 16, files=["cat.jpg"])


@pytest.mark.parametrize("count", [0, 19])
def test_a_spread_of_more_than_there_is_is_an_error(drawn_pets, count):
    with pytest.raises(ValueError, match=f"count={count}: expected 1 to 18"):
        data.spread(drawn_pets, "train", count)
