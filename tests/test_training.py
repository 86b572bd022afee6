"""One way to fit: precision, schedule, the run folder, and the best epoch at the end."""

import csv
import pathlib

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from helpers import dice, models, run_mode, training

FRESH = ("best.keras", "log.csv")


@pytest.fixture(autouse=True)
def policy_stays():
    yield
    keras.config.set_dtype_policy("float32")


def pixelwise():
    """A network without any space to differ in: starts at equal chances for all classes."""
    images = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    logits = keras.layers.Conv2D(3, 1, kernel_initializer="zeros", dtype="float32")(x)
    return keras.Model(images, logits)


def batches(label, count=2):
    """Batches of noise in which every pixel is of one class."""
    images = np.random.default_rng(0).integers(0, 256, (4 * count, 8, 8, 3), np.uint8)
    masks = np.full((4 * count, 8, 8, 1), label, np.uint8)
    return tf.data.Dataset.from_tensor_slices((images, masks)).batch(4)


def always(data):
    return lambda epoch: data


def likelihood():
    """A metric that moves with every step, unlike one on the predicted classes."""
    return keras.metrics.MeanMetricWrapper(log_likelihood, "likelihood")


def log_likelihood(labels, logits):
    return -dice.cross_entropy(labels, logits)


def fit(run_dir, train=None, validation=None, model=None, **options):
    options = {
        "epochs": 3,
        "loss": dice.CrossEntropyDiceLoss(),
        "metric": likelihood(),
        "learning_rate": 0.1,
        "verbose": 0,
        **options,
    }
    train, validation = train or always(batches(0)), validation or batches(0)
    model = model or pixelwise()
    return model, training.fit(model, train, validation, run_dir=run_dir, **options)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


# Precision


def naive_dice_loss(labels, logits):
    """The loss as one would write it first: in the precision that comes, pooled."""
    truth = ops.cast(ops.one_hot(labels[..., 0], 3), logits.dtype)
    chances = ops.softmax(logits)
    return 1 - 2 * ops.sum(truth * chances) / (ops.sum(truth) + ops.sum(chances))


def test_a_step_in_mixed_float16_is_finite(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 128, 128, 3), np.uint8)
    masks = rng.choice(3, (16, 128, 128, 1), p=[0.3, 0.6, 0.1])
    data = tf.data.Dataset.from_tensor_slices((images, masks)).batch(16)
    keras.config.set_dtype_policy("mixed_float16")
    keras.utils.set_random_seed(0)
    model = models.unet(128, width=4, depth=2)
    before = model.get_weights()[0].copy()
    half = ops.cast(model(images[:16]), "float16")
    assert not np.isfinite(float(naive_dice_loss(masks, half)))  # what float32 inside is for
    assert np.isfinite(float(dice.DiceLoss()(masks, half)))

    metric, held_out = dice.MeanDice(3), data.unbatch().take(2).batch(2)
    model, history = fit(
        tmp_path, always(data), held_out, model, epochs=1, metric=metric, learning_rate=1e-3
    )
    assert model.compute_dtype == "float16"
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert history.pop("seconds")
    assert set(history) == {
        f"{part}{name}"
        for part in ("", "val_")
        for name in ("loss", "mean_dice", "pixel_accuracy")
    }
    assert all(np.isfinite(values).all() and len(values) == 1 for values in history.values())
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    # Loss scaling skips a step whose gradients overflow: this one was taken.
    assert not np.array_equal(model.get_weights()[0], before)


def test_float32_without_a_gpu(monkeypatch):
    monkeypatch.setattr(run_mode, "has_gpu", lambda: False)
    keras.config.set_dtype_policy("mixed_float16")  # which must not stay
    assert training.set_precision() == "float32"
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    "details, policy",
    [
        ({"compute_capability": (7, 5)}, "mixed_float16"),  # T4
        ({"compute_capability": (7, 0)}, "mixed_float16"),
        ({"compute_capability": (9, 0)}, "mixed_float16"),
        ({"compute_capability": (6, 1)}, "float32"),
        ({}, "float32"),  # not NVIDIA's
    ],
)
def test_precision_depends_on_the_gpu(monkeypatch, details, policy):
    monkeypatch.setattr(run_mode, "has_gpu", lambda: True)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}:0"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    assert training.set_precision() == policy
    assert keras.config.dtype_policy().name == policy


# Schedule


def test_schedule_warms_up_and_comes_down_to_zero():
    rates = [float(training.cosine_schedule(2e-3, 100)(step)) for step in range(101)]
    assert rates[0] == pytest.approx(2e-4)
    assert rates[5] == pytest.approx(2e-3) == max(rates)
    assert np.allclose(np.diff(rates[:6]), 1.8e-3 / 5)  # straight
    assert np.all(np.diff(rates[5:]) < 0)
    half_cosine = 1e-3 * (1 + np.cos(np.pi * np.arange(96) / 95))
    assert np.allclose(rates[5:], half_cosine, atol=1e-8)
    assert rates[100] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 19, 20])
def test_short_schedules_stay_in_range(steps):
    rates = [float(training.cosine_schedule(1.0, steps)(step)) for step in range(steps + 1)]
    assert all(0 <= rate <= 1 for rate in rates) and rates[0] == pytest.approx(0.1)


def test_optimizer_is_adamw_over_all_steps(tmp_path):
    model, _ = fit(tmp_path, always(batches(0, 5)), epochs=2, learning_rate=0.25)
    assert type(model.optimizer) is keras.optimizers.AdamW
    assert model.optimizer.weight_decay == 1e-4
    assert int(model.optimizer.iterations) == 10
    assert float(model.optimizer.learning_rate) == pytest.approx(0, abs=1e-8)  # at the end
    schedule = model.optimizer.get_config()["learning_rate"]["config"]
    assert schedule["warmup_target"] == 0.25


def test_weight_decay_shrinks_weights_without_a_gradient(tmp_path):
    model = pixelwise()
    model.set_weights([np.ones((1, 1, 3, 3)), np.ones(3)])
    peak = 100.0
    rates = [float(training.cosine_schedule(peak, 6)(step)) for step in range(6)]

    def flat(labels, logits):
        return 0.0 * ops.mean(logits, axis=(1, 2, 3))

    metric = keras.metrics.MeanMetricWrapper(flat, "flat")  # the first epoch remains the best
    fit(tmp_path, model=model, metric=metric, loss=flat, learning_rate=peak)
    left = (1 - 1e-4 * rates[0]) * (1 - 1e-4 * rates[1])  # its two steps
    assert left < 0.99
    for weight in model.get_weights():
        assert np.allclose(weight, left, rtol=1e-6)


# The best epoch


def test_model_is_left_with_its_best_epoch(tmp_path):
    # Trained towards class 0, validated on class 1: every epoch is worse than the one before.
    away = batches(1)
    model, history = fit(tmp_path, always(batches(0)), away)
    scores = history["val_likelihood"]
    assert scores[0] > scores[1] > scores[2]
    loss, score, _ = model.evaluate(away, verbose=0)
    assert score == pytest.approx(scores[0]) and loss == pytest.approx(history["val_loss"][0])
    saved = keras.saving.load_model(tmp_path / "best.keras", compile=False, safe_mode=True)
    for weight, expected in zip(saved.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(weight, expected)


def test_the_last_epoch_may_be_the_best(tmp_path):
    model, history = fit(tmp_path)
    scores = history["val_likelihood"]
    assert scores[0] < scores[1] < scores[2]
    assert model.evaluate(batches(0), verbose=0)[1] == pytest.approx(scores[2])


def test_without_keep_best_it_is_left_with_its_last_epoch(tmp_path):
    away = batches(1)  # every epoch is worse than the one before
    model, history = fit(tmp_path, always(batches(0)), away, keep_best=False)
    scores = history["val_likelihood"]
    assert scores[0] > scores[1] > scores[2]
    assert model.evaluate(away, verbose=0)[1] == pytest.approx(scores[2])


def test_best_is_by_the_metric_not_by_the_loss(tmp_path):
    # With its sign turned, the metric falls while the loss falls.
    metric = keras.metrics.MeanMetricWrapper(dice.cross_entropy, "score")
    model, history = fit(tmp_path, metric=metric)
    assert history["val_loss"][0] > history["val_loss"][2]
    assert model.evaluate(batches(0), verbose=0)[1] == pytest.approx(history["val_score"][0])


# The run folder


def test_run_folder_has_the_log_of_each_epoch(tmp_path):
    _, history = fit(tmp_path / "a" / "b", epochs=4)
    assert names(tmp_path / "a" / "b") == sorted(FRESH)
    with open(tmp_path / "a" / "b" / "log.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert len(history.pop("seconds")) == 1
    for name, values in history.items():
        assert [float(row[name]) for row in rows] == values


def spoilt(epoch):
    """Batches that hold a NaN from the second epoch on."""
    value = tf.where(epoch > 0, np.nan, 0.0)
    return batches(0).map(lambda images, masks: (tf.cast(images, tf.float32) + value, masks))


def test_nan_raises_and_keeps_the_epochs_before(tmp_path):
    with pytest.raises(RuntimeError, match="NaN or Inf loss"):
        fit(tmp_path, spoilt, identity="this one")
    assert names(tmp_path) == [*FRESH, "state.safetensors"]
    kept = pixelwise()
    kept.load_weights(tmp_path / "best.keras")  # of the one good epoch
    assert all(np.isfinite(weight).all() for weight in kept.get_weights())
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2


def test_infinite_loss_raises(tmp_path):
    def endless(labels, logits):
        return ops.mean(logits, axis=(1, 2, 3)) + float("inf")

    with pytest.raises(RuntimeError, match="NaN or Inf loss"):
        fit(tmp_path, loss=endless)


def test_every_run_starts_in_a_fresh_folder(tmp_path):
    with pytest.raises(RuntimeError):
        fit(tmp_path, spoilt, identity="this one")
    (tmp_path / "finished.json").write_text("{}")
    (tmp_path / ".log.csv.x.partial").write_text("of a kill")
    _, history = fit(tmp_path, epochs=2)
    assert len(history["loss"]) == 2
    assert names(tmp_path) == sorted(FRESH)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("precious", ["thesis.txt", "stage_1", ".git"])
@pytest.mark.parametrize("here", [True, False])
def test_a_folder_with_other_things_is_left_alone(tmp_path, monkeypatch, precious, here):
    (tmp_path / precious).mkdir()
    (tmp_path / precious / "draft").write_text("years of work")
    (tmp_path / "best.keras").write_text("an earlier run's")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"holds {precious}, which is not of a run"):
        fit("." if here else tmp_path)
    assert (tmp_path / precious / "draft").read_text() == "years of work"
    assert names(tmp_path) == sorted(["best.keras", precious])


def test_a_link_is_emptied_not_followed(tmp_path):
    target, run, elsewhere = (tmp_path / name for name in ("target", "run", "elsewhere"))
    target.mkdir(), elsewhere.mkdir()
    run.symlink_to(target)
    (elsewhere / "thesis.txt").write_text("years of work")
    (target / "log.csv").symlink_to(elsewhere)
    fit(run, epochs=1)
    assert names(target) == sorted(FRESH) and run.is_symlink()
    assert names(elsewhere) == ["thesis.txt"]


def test_a_run_folder_that_cannot_be_made_is_explained(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("no folder")
    for run_dir in (file, file / "below"):
        with pytest.raises(OSError, match=r"Cannot make the run folder '.*file"):
            fit(run_dir)
    assert file.read_text() == "no folder"

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
    with pytest.raises(OSError, match="Cannot make the run folder .*new.*Permission denied"):
        fit(tmp_path / "new")


def test_an_earlier_run_that_cannot_be_deleted_is_explained(tmp_path, monkeypatch):
    # An old best.keras that stayed would be taken for this run's.
    (tmp_path / "best.keras").write_text("old")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "unlink", refuse)
    with pytest.raises(OSError, match="Cannot make the run folder .*Permission denied"):
        fit(tmp_path)


# Predictions drawn while a training goes on


@pytest.fixture
def notebook(monkeypatch):
    """As in a notebook: what was displayed at first, and what then took its place."""
    shown = []
    handle = type("Handle", (), {"update": lambda self, figure: shown.append(("update", figure))})

    def display(figure, display_id):
        shown.append(("display", figure))
        return handle()

    plt.close(plt.figure())  # its first figure asks IPython for more than this stand-in has
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    monkeypatch.setattr("IPython.display.display", display)
    return shown


def test_predictions_are_drawn_in_the_same_place(notebook, tmp_path):
    images = np.zeros((2, 8, 8, 3), np.uint8)
    drawn = []

    def draw(predictions):
        drawn.append(predictions)
        return plt.figure()

    watch = training.ShowPredictions(images, draw, every=2)
    model, _ = fit(tmp_path, epochs=5, callbacks=[watch], learning_rate=1e-2)
    assert [kind for kind, _ in notebook] == ["display", "update"]  # after epochs 2 and 4
    assert all(masks.shape == (2, 8, 8) and masks.dtype == np.int64 for masks in drawn)
    assert not plt.get_fignums()  # closed: the cell's end would show them again


def test_predictions_are_drawn_only_in_a_notebook(tmp_path):
    watch = training.ShowPredictions(np.zeros((1, 8, 8, 3)), lambda predictions: 1 / 0)
    fit(tmp_path, epochs=1, callbacks=[watch])
