"""Precision by device, and one way to fit a model: schedule, optimizer, callbacks."""

import time
from pathlib import Path

import IPython.display
import keras
import matplotlib.pyplot as plt
import tensorflow as tf

from helpers import checkpoints, evaluation, files, run_mode

# What a run folder may hold: fit's own files, and the note that helpers.recipe adds.
RUN_FILES = (checkpoints.BEST, checkpoints.STATE, checkpoints.LOG, checkpoints.FINISHED)


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
    identity=None,
    jit_compile="auto",
    keep_best=True,
    patience=None,
    callbacks=(),
    clock=time.monotonic,
    began=None,
    verbose=2,
):
    """Compiles and trains a model, and leaves it with the weights of its best epoch, or its last.

    AdamW (weight decay 1e-4) under ``cosine_schedule``. Best means: highest validation value of
    ``metric``. The run folder gets what ``helpers.checkpoints`` says.

    With an identity, a training that was killed goes on behind its last whole epoch when it is
    called again, and ends as if it had not been: the same weights and history, bit for bit on a
    CPU, see ``helpers.checkpoints``. (On a GPU, no two runs are: some of its sums depend on the
    order of threads.) Called again after its end, it trains no more. That takes a ``train`` that
    gives each epoch the same batches every time, as ``data.training_batches`` does after the same
    ``run_mode.set_seed``. Callbacks with a memory of their own lose it.

    Args:
        model: a Keras model that gives logits.
        train: function of an epoch's number, a scalar int64 tensor, that returns the epoch's
            (images, masks) batches, a tf.data.Dataset of known length.
        validation: dataset of (images, masks) batches.
        epochs: int.
        loss: a Keras loss on logits.
        metric: a Keras metric on logits; higher is better.
        learning_rate: the schedule's peak.
        run_dir: folder of this run. Made afresh, unless the training goes on.
        identity: JSON that says which training this is: whatever changes what it learns. A
            training of the same identity in the folder goes on; another one is replaced. None
            always begins anew.
        jit_compile: as in ``model.compile``; "auto" is XLA on a GPU, none on a CPU.
        keep_best: False keeps the last epoch, for a validation of so few images that the best of
            many epochs is the luckiest. ``best.keras`` then holds the last one.
        patience: stop after so many epochs without a better one; None trains them all.
        callbacks: further Keras callbacks.
        clock: function that gives the seconds since whenever, for ``seconds``.
        began: what it gave when this training began, or went on; None: now.
        verbose: as in ``model.fit``; 2 prints one line an epoch.

    Returns:
        dict: lists by epoch: ``loss``, ``val_loss``, the metric, and the pixel accuracy; and
        ``seconds``, a list of one, interruptions left out.

    Raises:
        RuntimeError: the loss became NaN or infinite. The epochs before stay in the folder.
        ValueError: ``run_dir`` holds something that is not of a run; nothing is deleted then. Or
            its state is damaged.
        OSError: ``run_dir`` cannot be written to.
    """
    state = None if identity is None else checkpoints.read_state(run_dir, identity)
    run_dir = Path(run_dir)
    if state is None:
        if verbose and (run_dir / checkpoints.STATE).exists():
            print(f"Replaces another training, in {run_dir}")
        _make_fresh(run_dir)
    else:
        checkpoints.remove_partial(run_dir)
        checkpoints.load_best(model, run_dir)  # damaged, it is told now and not after hours
    steps = len(train(tf.constant(0, tf.int64)))
    compile_model(
        model,
        steps=epochs * steps,
        loss=loss,
        metric=metric,
        learning_rate=learning_rate,
        jit_compile=jit_compile,
    )
    keeper = checkpoints.Checkpoints(
        run_dir,
        f"val_{metric.name}",
        identity=identity,
        state=state,
        keep_best=keep_best,
        patience=patience,
        clock=clock,
        began=began,
    )
    done = keeper.epochs
    if done and verbose:
        print(f"Goes on after epoch {done} of {epochs}, in {run_dir}")
    if done < epochs and not keeper.patience_is_over:
        model.fit(
            tf.data.Dataset.range(done, epochs).flat_map(train).prefetch(tf.data.AUTOTUNE),
            validation_data=validation,
            initial_epoch=done,
            epochs=epochs,
            steps_per_epoch=steps,
            shuffle=False,  # the dataset does that itself
            verbose=verbose,
            callbacks=[*callbacks, keeper, keras.callbacks.TerminateOnNaN(raise_error=True)],
        )
        checkpoints.load_best(model, run_dir)
    return {**keeper.history, "seconds": [round(keeper.seconds)]}


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


def _make_fresh(path):
    try:
        entries = sorted(path.iterdir()) if path.is_dir() else []
        foreign = [
            entry.name
            for entry in entries
            if entry.name not in RUN_FILES and not files.is_partial(entry.name)
        ]
        if foreign:
            raise ValueError(
                f"run_dir {str(path)!r} holds {', '.join(foreign[:3])}, which is not of a run, so "
                f"nothing in it is deleted: give a new folder, an empty one or an earlier run's."
            )
        for entry in entries:
            entry.unlink()
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"Cannot make the run folder {str(path)!r} afresh: {error}") from error


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
