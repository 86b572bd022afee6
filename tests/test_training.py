"""One way to fit: precision, schedule, optimizer, and the best epoch at the end."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from helpers import checkpoints, dice, losses, run_mode, training
from helpers.training import Run, Stage


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


def batches(label):
    """Two batches of noise in which every pixel is of one class."""
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
    masks = np.full((8, 8, 8, 1), label, np.uint8)
    return tf.data.Dataset.from_tensor_slices((images, masks)).batch(4)


def likelihood(labels, logits):
    """Moves with every step, unlike a measure of the predicted classes."""
    return -ops.mean(losses.CrossEntropyDiceLoss().call(labels, logits))


def fit(folder, train=lambda epoch: batches(0), validation=0, loss=None, **run):
    model = pixelwise()
    metric = keras.metrics.MeanMetricWrapper(likelihood, "likelihood")
    keeper = checkpoints.Checkpoints(folder, "val_likelihood", None, run.get("keep_best", True))
    training.fit(
        model,
        train,
        batches(validation),
        stage=Stage(8, epochs=3, batch_size=4, learning_rate=0.1),
        loss=loss or losses.CrossEntropyDiceLoss(),
        metric=metric,
        keeper=keeper,
        run=Run(folder, verbose=0, **run),
    )
    return model, keeper.history


def test_a_training_in_mixed_float16_is_finite_its_loss_scaled_its_schedule_done(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    model, history = fit(tmp_path)
    assert model.layers[1].compute_dtype == "float16"
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    optimizer = model.optimizer.inner_optimizer
    assert type(optimizer) is keras.optimizers.AdamW and optimizer.weight_decay == 1e-4
    assert int(optimizer.iterations) == 3 * 2
    assert float(optimizer.learning_rate) == pytest.approx(0, abs=1e-8)
    names = {f"{part}{name}" for part in ("", "val_") for name in ("loss", "pixel_accuracy")}
    assert set(history) == {*names, "likelihood", "val_likelihood"}
    assert all(np.isfinite(values).all() and len(values) == 3 for values in history.values())
    assert history["loss"][2] < history["loss"][0]  # a step whose gradients overflow is skipped


@pytest.mark.parametrize(
    "capability, policy",
    [((7, 5), "mixed_float16"), ((7, 0), "mixed_float16"), ((6, 1), "float32"), (None, "float32")],
)
def test_precision_depends_on_the_gpu(monkeypatch, capability, policy):
    details = {"compute_capability": capability} if capability else {}  # without: not NVIDIA's
    monkeypatch.setattr(run_mode, "has_gpu", lambda: True)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}:0"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    assert training.set_precision() == policy == keras.config.dtype_policy().name
    monkeypatch.setattr(run_mode, "has_gpu", lambda: False)
    assert training.set_precision() == "float32" == keras.config.dtype_policy().name


def test_schedule_warms_up_and_comes_down_to_zero():
    rates = [float(training.cosine_schedule(2e-3, 100)(step)) for step in range(101)]
    assert rates[0] == pytest.approx(2e-4)
    assert rates[5] == pytest.approx(2e-3) == max(rates)
    assert np.allclose(np.diff(rates[:6]), 1.8e-3 / 5)  # straight
    half_cosine = 1e-3 * (1 + np.cos(np.pi * np.arange(96) / 95))
    assert np.allclose(rates[5:], half_cosine, atol=1e-8)
    for steps in (1, 2, 19, 20):
        rates = [float(training.cosine_schedule(1.0, steps)(step)) for step in range(steps + 1)]
        assert all(0 <= rate <= 1 for rate in rates) and rates[0] == pytest.approx(0.1)


@pytest.mark.parametrize("keep_best", [True, False])
@pytest.mark.parametrize("validation, best", [(0, 2), (1, 0)])
def test_a_model_is_left_with_its_best_epoch_or_its_last(tmp_path, keep_best, validation, best):
    # Trained towards class 0: validated on class 1, every epoch is worse than the one before.
    model, history = fit(tmp_path, validation=validation, keep_best=keep_best)
    scores = history["val_likelihood"]
    assert np.argmax(scores) == best and len(set(scores)) == 3
    left = model.evaluate(batches(validation), verbose=0, return_dict=True)
    assert left["likelihood"] == pytest.approx(scores[best if keep_best else 2])


def test_a_loss_that_becomes_nan_ends_the_training_and_the_epochs_before_stay(tmp_path):
    def spoilt(epoch):
        value = tf.where(epoch > 0, np.nan, 0.0)
        return batches(0).map(lambda images, masks: (tf.cast(images, tf.float32) + value, masks))

    def loss(labels, logits):
        return ops.mean(logits**2, axis=(1, 2, 3))

    with pytest.raises(RuntimeError, match="NaN or Inf loss"):
        fit(tmp_path, spoilt, loss=loss)
    assert checkpoints.Checkpoints(tmp_path, "val_likelihood").epochs == 1


def test_pixels_that_count_for_nothing_are_not_in_the_accuracy():
    model = pixelwise()  # every class alike: the first one is predicted
    settings = {"loss": losses.CrossEntropyDiceLoss(ignore=255), "learning_rate": 1e-3}
    training.compile_model(model, steps=1, metric=dice.MeanDice(3, ignore=255), **settings)
    masks = np.full((1, 8, 8, 1), 255, np.uint8)
    masks[0, 0, :4, 0] = 0, 0, 0, 1
    found = model.test_on_batch(np.zeros((1, 8, 8, 3), np.uint8), masks, return_dict=True)
    assert found["pixel_accuracy"] == 0.75


def test_predictions_are_drawn_in_one_place_and_only_in_a_notebook(monkeypatch):
    shown, drawn = [], []
    handle = type("Handle", (), {"update": lambda self, figure: shown.append("update")})

    def display(figure, display_id):
        shown.append("display")
        return handle()

    def draw(masks):
        drawn.append((masks.shape, masks.dtype))
        return plt.figure()

    watch = training.ShowPredictions(np.zeros((2, 8, 8, 3), np.uint8), draw)
    watch.set_model(pixelwise())
    watch.on_epoch_end(0)
    plt.close(plt.figure())  # its first figure asks IPython for more than this stand-in has
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    monkeypatch.setattr("IPython.display.display", display)
    for epoch in range(1, 4):
        watch.on_epoch_end(epoch)
    assert shown == ["display", "update", "update"]
    assert drawn == 3 * [((2, 8, 8), np.int64)]
    assert not plt.get_fignums()  # closed: the cell's end would show them again
