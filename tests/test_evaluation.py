"""The confusion matrix and what follows from it, by hand and against scikit-learn."""

import datetime
import json
import os
import stat
import sys
from importlib.metadata import PackageNotFoundError

import keras
import numpy as np
import pytest
import sklearn.metrics

from helpers import evaluation, models

# Rows truth, columns prediction. Pet 2 of 3 found, background 1 of 2, border 0 of 1.
TRUTH, GUESS = np.array([[0, 0, 0, 1, 1, 2]]), np.array([[0, 0, 1, 1, 2, 0]])
MATRIX = [[2, 1, 0], [0, 1, 1], [1, 0, 0]]
PROTOCOL = {
    "images": 7,
    "input_size": 16,
    "data_source": "drawn pets, test split (7)",
    "settings": {"width": 4},
    "seed": 42,
}


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


# Result


def test_result_has_the_protocol_beside_the_scores():
    values = evaluation.result(np.array(MATRIX), **PROTOCOL)
    assert values["confusion_matrix"] == MATRIX
    assert {name: values[name] for name in PROTOCOL} == PROTOCOL
    assert {name: values[name] for name in evaluation.scores(MATRIX)} == evaluation.scores(MATRIX)
    assert values["dice_border_as_pet"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert values["classes"] == ["pet", "background", "border"]
    assert values["versions"]["keras"] == keras.__version__
    assert values["versions"]["numpy"] == np.__version__
    assert values["versions"]["python"].split(".")[:2] == [str(v) for v in sys.version_info[:2]]
    assert {"tensorflow", "tensorflow-datasets"} < set(values["versions"])
    assert values["backend"] == keras.backend.backend()
    assert values["device"] == evaluation.device_name()
    assert abs(datetime.date.fromisoformat(values["date"]) - datetime.date.today()).days <= 1
    assert "class of its own" in values["protocol"] and "pooled" in values["protocol"]


def test_result_passes_more_through():
    more = {"train_seconds": 12.5, "validation": {"mean_iou": 0.5}, "command": "make run"}
    values = evaluation.result(MATRIX, **PROTOCOL, **more)
    assert {name: values[name] for name in more} == more


def test_result_needs_the_whole_protocol():
    for name in PROTOCOL:
        with pytest.raises(TypeError, match=name):
            evaluation.result(MATRIX, **{k: v for k, v in PROTOCOL.items() if k != name})


@pytest.mark.parametrize("installed, expected", [("tensorflow-cpu", "2.21.0"), (None, "unknown")])
def test_a_package_of_another_name_does_not_cost_the_result(monkeypatch, installed, expected):
    def version(name):
        if name != installed:
            raise PackageNotFoundError(name)
        return "2.21.0"

    monkeypatch.setattr(evaluation, "version", version)
    assert evaluation.result(MATRIX, **PROTOCOL)["versions"]["tensorflow"] == expected


def test_device_name_says_cpu_or_gpu(monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: [])
    name, cores = evaluation.device_name().split(", ", 1)
    assert name.strip() and cores == f"{os.cpu_count()} cores, no GPU"
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: [f"{kind}:0"])
    monkeypatch.setattr(evaluation, "_gpu_name", lambda: "Tesla T4")
    assert evaluation.device_name() == "Tesla T4"


# Files


def test_write_result_can_be_read_again(tmp_path):
    path = tmp_path / "deep" / "er" / "result.json"
    values = evaluation.result(np.array(MATRIX), **PROTOCOL)
    evaluation.write_result(path, {"old": True})
    evaluation.write_result(path, values)
    assert json.loads(path.read_text()) == values
    assert path.read_text().endswith("}\n")
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o644  # mkstemp's own is 0600


BAD_VALUES = {
    "NaN": (float("nan"), ValueError),
    "infinity": (float("inf"), ValueError),
    "array": (np.zeros(2), TypeError),
    "NumPy float": (np.float32(1), TypeError),
}


@pytest.mark.parametrize("case", BAD_VALUES)
@pytest.mark.parametrize("existing", [True, False])
def test_values_json_cannot_hold_leave_the_old_file(tmp_path, case, existing):
    value, error = BAD_VALUES[case]
    path = tmp_path / "result.json"
    if existing:
        path.write_text("old")
    with pytest.raises(error):
        evaluation.write_result(path, {"first": 1, "bad": value})
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"] * existing


@pytest.mark.parametrize("step", ["json.dump", "os.replace", "os.chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_broken_off_write_leaves_the_old_file(tmp_path, monkeypatch, step, error):
    path = tmp_path / "result.json"
    path.write_text("old")

    def fail(*args, **kwargs):
        if step == "json.dump":
            args[1].write('{"half')
        raise error

    monkeypatch.setattr(step, fail)
    with pytest.raises(type(error)):
        evaluation.write_result(path, {"new": 1})
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]


def test_write_result_into_a_file_raises(tmp_path):
    (tmp_path / "results").write_text("a file, no folder")
    with pytest.raises(OSError, match="results"):
        evaluation.write_result(tmp_path / "results" / "result.json", {})
