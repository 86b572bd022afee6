"""Precision by device, and one way to fit a model: schedule, optimizer, callbacks."""

from pathlib import Path
from typing import NamedTuple

import IPython
import keras
import matplotlib.pyplot as plt
import tensorflow as tf

from helpers import evaluation, labels, run_mode


def set_precision():
    """Sets Keras's precision policy for the device at hand and returns its name.

    ``mixed_float16`` on NVIDIA GPUs with compute capability 7.0 or more (T4: 7.5), whose tensor
    cores it keeps busy; ``float32`` elsewhere: on a CPU float16 is emulated and several times
    slower. Loss scaling is Keras's own: ``compile`` adds it under ``mixed_float16``.
    """
    policy = "mixed_float16" if _has_tensor_cores() else "float32"
    keras.config.set_dtype_policy(policy)
    return policy


def cosine_schedule(peak, steps):
    """Learning rate: linear warm-up over the first twentieth, then half a cosine to zero."""
    warmup = max(1, steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak / 10,
        decay_steps=max(1, steps - warmup),
        warmup_target=peak,
        warmup_steps=warmup,
    )


class Stage(NamedTuple):
    """One part of a training: some epochs at one image size.

    - ``size``: int or (height, width), pixels.
    - ``learning_rate``: the peak of the stage's own schedule.
    - ``augmented``: without, a training of a few epochs gets further; a long one overfits.
    - ``train_encoder``: as in ``models.train_encoder``, for networks that have one.
    - ``steps``: an epoch ends after so many batches; None: after all.
    """

    size: int | tuple
    epochs: int
    batch_size: int
    learning_rate: float
    augmented: bool = True
    train_encoder: bool | str = True
    steps: int | None = None


class Run(NamedTuple):
    """How a training is carried out.

    - ``folder``: what it keeps goes there. On Colab, one on Google Drive outlives the session.
    - ``seed``: of weights, order and augmentation.
    - ``keep_best``: False keeps the last epoch of each stage, for a validation of so few images
      that the best of many epochs is the luckiest.
    - ``resume``: False trains anew; what was finished before is moved aside.
    - ``callbacks``: further Keras callbacks. Those with an attribute ``only_watches`` that is True
      are taken to change nothing about what is learnt.
    - ``verbose``: as in ``model.fit``; 2 prints one line an epoch, 0 only what goes wrong.
    - ``devices``: on how many ``recipe.train`` trains, see ``helpers.distribution``; callbacks see
      a copy of the model there. The number may change where a training resumes.
    - ``shards``: of how many parts of the data each batch takes as many images, see
      ``pipeline.sharded_batches``. 1: the order is one over all of the data.
    """

    folder: str | Path
    seed: int = 42
    keep_best: bool = True
    resume: bool = True
    callbacks: tuple = ()
    verbose: int = 2
    devices: int = 1
    shards: int = 1


def fit(model, train, validation, *, stage, loss, metric, keeper, run):
    """Compiles and trains a model, and leaves it with the weights of its best epoch, or its last.

    See ``make_optimizer``. Best means: highest validation value of ``metric``.

    A training whose folder holds a state resumes after its last complete epoch, and ends as if it
    had not been interrupted: the same weights and history, bit for bit on a CPU, see
    ``helpers.checkpoints``. That takes a ``train`` that gives each epoch the same batches every
    time, as ``pipeline.training_batches`` does after the same ``run_mode.set_seed``. Callbacks
    with a memory of their own lose it.

    Args:
        model: a Keras model that gives logits.
        train: function of an epoch's number, a scalar int64 tensor, that returns the epoch's
            (images, masks) batches, a tf.data.Dataset of known length. Of several processes, each
            gives its part of every batch.
        validation: dataset of (images, masks) batches, likewise.
        stage: Stage.
        loss: a Keras loss on logits.
        metric: a Keras metric on logits; higher is better.
        keeper: checkpoints.Checkpoints of this stage, not finished. Has the history afterwards:
            ``loss``, ``val_loss``, the metric, and the pixel accuracy.
        run: Run.

    Raises:
        RuntimeError: the loss became NaN or infinite. The epochs before stay in the folder.
        ValueError: the folder's state does not fit.
    """
    steps = len(train(tf.constant(0, tf.int64)))
    compile_model(
        model,
        steps=stage.epochs * steps,
        loss=loss,
        metric=metric,
        learning_rate=stage.learning_rate,
    )
    if keeper.epochs and run.verbose:
        print(f"Resumes after epoch {keeper.epochs} of {stage.epochs}, from {keeper.folder}")
    keeper.restore(model)
    epochs = tf.data.Dataset.range(keeper.epochs, stage.epochs)
    model.fit(
        epochs.flat_map(train).prefetch(tf.data.AUTOTUNE),
        validation_data=validation,
        initial_epoch=keeper.epochs,
        epochs=stage.epochs,
        steps_per_epoch=steps,
        shuffle=False,  # the dataset does that itself
        verbose=run.verbose,
        callbacks=[*run.callbacks, keeper, keras.callbacks.TerminateOnNaN(raise_error=True)],
    )
    keeper.restore_best(model)


def make_optimizer(peak, steps):
    """AdamW (weight decay 1e-4) under ``cosine_schedule``."""
    return keras.optimizers.AdamW(cosine_schedule(peak, steps), weight_decay=1e-4)


def compile_model(model, *, steps, loss, metric, learning_rate):
    """What ``fit`` compiles with: ``make_optimizer``, and the pixel accuracy beside the metric.
    Weights of pixels, where the data holds any, go into loss and metrics alike."""
    if model.output_shape[-1] == 1:
        accuracy = keras.metrics.BinaryAccuracy(name="pixel_accuracy", threshold=0.0)  # logits
    else:
        accuracy = _PixelAccuracy(getattr(metric, "ignore", None), name="pixel_accuracy")
    model.compile(
        optimizer=make_optimizer(learning_rate, steps),
        loss=loss,
        weighted_metrics=[metric, accuracy],
    )


class _PixelAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Keras's own, without the pixels whose id is ``ignore``."""

    def __init__(self, ignore, **kwargs):
        super().__init__(**kwargs)
        self.ignore = ignore

    def update_state(self, y_true, y_pred, sample_weight=None):
        kept = labels.not_ignored(y_true, self.ignore)
        if kept is not None:
            sample_weight = kept if sample_weight is None else sample_weight * kept
        super().update_state(y_true, y_pred, sample_weight)


class ShowPredictions(keras.callbacks.Callback):
    """Draws the predictions for a few images while a network trains: one figure, drawn again in
    its place. Outside a notebook it does nothing.

    Args:
        images: (N, H, W, 3), 0..255.
        draw: function of N predicted masks (N, H, W) int64 that returns a matplotlib Figure, such
            as one that calls ``visualization.plot_predictions``.
    """

    only_watches = True  # see Run

    def __init__(self, images, draw):
        super().__init__()
        self.images, self.draw = images, draw
        self.shown = None

    def on_epoch_end(self, epoch, logs=None):
        if IPython.get_ipython() is None:
            return
        figure = self.draw(evaluation.predict(self.model, self.images))
        if self.shown is None:
            self.shown = IPython.display.display(figure, display_id=True)
        else:
            self.shown.update(figure)
        plt.close(figure)  # else the cell would show it once more


def _has_tensor_cores():
    if not run_mode.has_gpu():
        return False
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpu = tf.config.list_physical_devices("GPU")[0]
        major, _ = tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        return major >= 7
    if keras.backend.backend() == "jax":
        import jax

        return float(getattr(jax.devices("gpu")[0], "compute_capability", 0)) >= 7.0
    import torch

    return torch.cuda.get_device_capability()[0] >= 7
