"""The confusion matrix and what follows from it, by hand and against scikit-learn."""

import json

import keras
import numpy as np
import pytest
import sklearn.metrics

from helpers import evaluation, models

# Rows truth, columns prediction. Pet 2 of 3 found, background 1 of 2, border 0 of 1.
TRUTH, GUESS = np.array([[0, 0, 0, 1, 1, 2]]), np.array([[0, 0, 1, 1, 2, 0]])
MATRIX = [[2, 1, 0], [0, 1, 1], [1, 0, 0]]


class Fixed:
    """A model whose logits are the images themselves."""

    def predict_on_batch(self, images):
        return images


# Confusion matrix


def test_confusion_matrix_by_hand():
    matrix = evaluation.confusion_matrix(TRUTH, GUESS, 3)
    assert matrix.tolist() == MATRIX and matrix.dtype == np.int64
    assert evaluation.confusion_matrix(TRUTH, GUESS, 4)[:3, :3].tolist() == MATRIX
    assert evaluation.confusion_matrix([[0]], [[1]], 2).tolist() == [[0, 1], [0, 0]]


def test_small_integer_types_do_not_overflow():
    truth = np.full((20, 20), 19, np.uint8)  # 19 x 20 + 19 = 399 does not fit into uint8
    assert evaluation.confusion_matrix(truth, truth.astype(np.int8), 20)[19, 19] == 400


@pytest.mark.parametrize(
    "truth, guess, message",
    [
        (TRUTH, GUESS[0], r"Truth has shape \(1, 6\), prediction \(6,\)"),
        (TRUTH[..., None], GUESS, r"Truth has shape \(1, 6, 1\), prediction \(1, 6\)"),
        (TRUTH[:, :1], GUESS, "must be equal"),
        (TRUTH + 1, GUESS, r"truth holds class ids 1\.\.3: expected 0\.\.2"),
        (TRUTH, GUESS - 1, r"prediction holds class ids -1\.\.1: expected 0\.\.2"),
        (TRUTH, GUESS * 0.3, "prediction is float64: expected integer class ids"),
        (TRUTH.astype("float32"), GUESS, "truth is float32"),
    ],
)
def test_wrong_class_ids_raise(truth, guess, message):
    with pytest.raises(ValueError, match=message):
        evaluation.confusion_matrix(truth, guess, 3)


@pytest.mark.parametrize("classes, used", [(2, 2), (3, 3), (3, 2)])
def test_scores_equal_scikit_learn(classes, used):
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, used, (4, 32, 32))
    guess = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, used, truth.shape))
    flat, labels = (truth.ravel(), guess.ravel()), list(range(classes))
    matrix = evaluation.confusion_matrix(truth, guess, classes)
    assert np.array_equal(matrix, sklearn.metrics.confusion_matrix(*flat, labels=labels))
    found = evaluation.scores(matrix)
    options = {"labels": labels, "average": None, "zero_division": 1}
    dice = sklearn.metrics.f1_score(*flat, **options)
    iou = sklearn.metrics.jaccard_score(*flat, **options)
    assert np.allclose(found["dice"], dice) and np.allclose(found["iou"], iou)
    assert found["mean_dice"] == pytest.approx(dice.mean())
    assert found["mean_iou"] == pytest.approx(iou.mean())
    assert found["pixel_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(*flat))


# Over a split


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (9, 16, 16, 3), np.uint8), rng.integers(0, 3, (9, 16, 16, 1))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return models.unet(16, width=4, depth=2)


def batches(split, *sizes):
    ends = np.cumsum(sizes)
    return [tuple(part[end - size : end] for part in split) for size, end in zip(sizes, ends)]


def test_uneven_batches_give_what_the_whole_gives(split, model):
    whole = evaluation.evaluate(model, batches(split, 9), 3)
    assert whole.sum() == 9 * 256 and (whole.sum(axis=0) > 0).sum() > 1
    assert np.array_equal(evaluation.evaluate(model, iter(batches(split, 4, 4, 1)), 3), whole)
    guesses = model.predict(split[0], verbose=0).argmax(-1)
    assert np.array_equal(whole, evaluation.confusion_matrix(split[1][..., 0], guesses, 3))


def test_predict_gives_class_ids(split, model):
    ids = evaluation.predict(model, split[0])
    assert ids.shape == (9, 16, 16) and ids.dtype == np.int64
    assert evaluation.predict(Fixed(), np.array([[[[1, 3, 2], [0, -1, -2]]]])).tolist() == [
        [[1, 0]]
    ]


def test_evaluate_explains_what_it_cannot_use(split):
    images = np.zeros((2, 4, 4, 3))
    masks = np.zeros((2, 4, 4, 1), int)
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluation.evaluate(Fixed(), [], 3)
    with pytest.raises(ValueError, match="model has 3 classes, the masks have 2"):
        evaluation.evaluate(Fixed(), [(images, masks)], 2)
    with pytest.raises(ValueError, match="must be equal"):
        evaluation.evaluate(Fixed(), [(images[:, :2, :2], masks)], 3)
    with pytest.raises(ValueError, match="must be equal"):
        evaluation.evaluate(Fixed(), [(images, masks[..., 0])], 3)
    for bad in (np.nan, np.inf):
        images[1, 2, 3, 0] = bad
        with pytest.raises(ValueError, match="not finite"):
            evaluation.evaluate(Fixed(), [(images, masks)], 3)


# Scores


def test_scores_by_hand():
    found = evaluation.scores(MATRIX)
    assert found == {
        "pixel_accuracy": pytest.approx(3 / 6),
        "iou": pytest.approx([2 / 4, 1 / 3, 0]),
        "dice": pytest.approx([4 / 6, 2 / 4, 0]),
        "mean_iou": pytest.approx((2 / 4 + 1 / 3 + 0) / 3),
        "mean_dice": pytest.approx((4 / 6 + 2 / 4 + 0) / 3),
    }
    assert all(type(found[name]) is float for name in ("pixel_accuracy", "mean_iou", "mean_dice"))
    json.dumps(found)


def test_an_absent_class_scores_1_and_a_missed_one_0():
    found = evaluation.scores([[4, 0, 0], [0, 0, 0], [2, 0, 0]])
    assert found["dice"] == pytest.approx([8 / 10, 1, 0])
    assert found["iou"] == pytest.approx([4 / 6, 1, 0])


def test_border_as_pet_joins_rows_and_columns():
    matrix = np.array([[1, 2, 4], [8, 16, 32], [64, 128, 256]])
    assert evaluation.border_as_pet(matrix).tolist() == [[1 + 4 + 64 + 256, 2 + 128], [40, 16]]
    truth, guess = np.random.default_rng(0).integers(0, 3, (2, 500))
    joined = [np.where(ids == 2, 0, ids) for ids in (truth, guess)]
    expected = sklearn.metrics.confusion_matrix(*joined)
    matrix = evaluation.confusion_matrix(truth, guess, 3)
    assert np.array_equal(evaluation.border_as_pet(matrix), expected)
