"""Precision by device, and one way to fit a model: schedule, optimizer, callbacks."""

import shutil
from pathlib import Path

import IPython.display
import keras
import matplotlib.pyplot as plt

from helpers import evaluation, run_mode

# What a run folder may hold: fit's own files, and the note that helpers.recipe adds.
RUN_FILES = ("best.keras", "log.csv", "backup", "finished.json")


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


def fit(
    model,
    train,
    validation,
    *,
    epochs,
    loss,
    metric,
    learning_rate,
    run_dir,
    jit_compile="auto",
    keep_best=True,
    callbacks=(),
    verbose=2,
):
    """Compiles and trains a model, and leaves it with the weights of its best epoch, or its last.

    AdamW (weight decay 1e-4) under ``cosine_schedule``. Best means: highest validation value of
    ``metric``. The run folder is made afresh and gets ``best.keras``, ``log.csv`` (one line an
    epoch) and ``backup/``, which stays there if the loss becomes NaN.

    Args:
        model: a Keras model that gives logits.
        train, validation: datasets of (images, masks) batches; ``len(train)`` steps an epoch.
        epochs: int.
        loss: a Keras loss on logits.
        metric: a Keras metric on logits; higher is better.
        learning_rate: the schedule's peak.
        run_dir: folder of this run.
        jit_compile: as in ``model.compile``; "auto" is XLA on a GPU, none on a CPU.
        keep_best: False keeps the last epoch, for a validation of so few images that the best of
            many epochs is the luckiest. ``best.keras`` then holds the last one.
        callbacks: further Keras callbacks.
        verbose: as in ``model.fit``; 2 prints one line an epoch.

    Returns:
        dict: lists by epoch: ``loss``, ``val_loss``, the metric, and the pixel accuracy.

    Raises:
        RuntimeError: the loss became NaN or infinite.
        ValueError: ``run_dir`` holds something that is not of a run; nothing is deleted then.
        OSError: ``run_dir`` cannot be written to.
    """
    compile_model(
        model,
        steps=epochs * len(train),
        loss=loss,
        metric=metric,
        learning_rate=learning_rate,
        jit_compile=jit_compile,
    )
    run_dir = _fresh_folder(run_dir)
    best = run_dir / "best.keras"
    history = model.fit(
        train,
        validation_data=validation,
        epochs=epochs,
        shuffle=False,  # the dataset does that itself
        verbose=verbose,
        callbacks=[
            *callbacks,
            keras.callbacks.ModelCheckpoint(
                best, monitor=f"val_{metric.name}", mode="max", save_best_only=keep_best
            ),
            keras.callbacks.CSVLogger(run_dir / "log.csv"),
            keras.callbacks.BackupAndRestore(run_dir / "backup", double_checkpoint=True),
            # raise_error leaves the backup in place; without it Keras deletes it.
            keras.callbacks.TerminateOnNaN(raise_error=True),
        ],
    )
    model.load_weights(best)
    return history.history


def compile_model(model, *, steps, loss, metric, learning_rate, jit_compile="auto"):
    """What ``fit`` compiles with: AdamW (weight decay 1e-4) under a ``cosine_schedule`` of so many
    steps, and the pixel accuracy beside the metric. Weights of pixels, where the data holds any,
    go into loss and metrics alike."""
    if model.output_shape[-1] == 1:
        accuracy = keras.metrics.BinaryAccuracy(name="pixel_accuracy", threshold=0.0)  # logits
    else:
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="pixel_accuracy")
    model.compile(
        optimizer=keras.optimizers.AdamW(cosine_schedule(learning_rate, steps), weight_decay=1e-4),
        loss=loss,
        weighted_metrics=[metric, accuracy],
        jit_compile=jit_compile,
    )


class ShowPredictions(keras.callbacks.Callback):
    """Draws the predictions for a few images as a training goes on: one figure, drawn again in
    its place. Outside a notebook it does nothing.

    Args:
        images: (N, H, W, 3), 0..255.
        draw: function of N predicted masks (N, H, W) int64 that returns a matplotlib Figure, such
            as one that calls ``visualization.plot_predictions``.
        every: int, epochs between two drawings.
    """

    def __init__(self, images, draw, every=1):
        super().__init__()
        self.images, self.draw, self.every = images, draw, every
        self.shown = None

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every or IPython.get_ipython() is None:
            return
        figure = self.draw(evaluation.predict(self.model, self.images))
        if self.shown is None:
            self.shown = IPython.display.display(figure, display_id=True)
        else:
            self.shown.update(figure)
        plt.close(figure)  # else the cell would show it once more


def _fresh_folder(path):
    path = Path(path)
    try:
        entries = sorted(path.iterdir()) if path.is_dir() else []
        foreign = [entry.name for entry in entries if entry.name not in RUN_FILES]
        if foreign:
            raise ValueError(
                f"run_dir {str(path)!r} holds {', '.join(foreign[:3])}, which is not of a run, so "
                f"nothing in it is deleted: give a new folder, an empty one or an earlier run's."
            )
        for entry in entries:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"Cannot make the run folder {str(path)!r} afresh: {error}") from error
    return path


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
