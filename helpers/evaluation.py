"""One confusion matrix a split, and everything that follows from it."""

import datetime
import json
import os
import platform
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras
import numpy as np

from helpers import CLASS_NAMES

PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy")


def confusion_matrix(y_true, y_pred, classes):
    """Counts pixels by true and predicted class.

    Args:
        y_true, y_pred: integer class ids 0..classes-1, of the same shape.
        classes: int.

    Returns:
        (classes, classes) int64: rows truth, columns prediction.

    Raises:
        ValueError: the shapes differ, an id is out of range or not a whole number.
    """
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"Truth has shape {y_true.shape}, prediction {y_pred.shape}: they must be equal."
        )
    for name, ids in (("truth", y_true), ("prediction", y_pred)):
        if ids.dtype.kind not in "iub":  # a cast would cut probabilities down to class 0
            raise ValueError(f"The {name} is {ids.dtype}: expected integer class ids.")
        if ids.size and (ids.min() < 0 or ids.max() >= classes):
            raise ValueError(
                f"The {name} holds class ids {ids.min()}..{ids.max()}: expected 0..{classes - 1}."
            )
    pairs = y_true.astype(np.int64).ravel() * classes + y_pred.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def evaluate(model, batches, classes):
    """The confusion matrix of a model over a whole split, batch by batch.

    Args:
        model: gives logits (B, H, W, classes).
        batches: iterable of (images, masks), masks (B, H, W, 1) class ids.
        classes: int.

    Returns:
        (classes, classes) int64: rows truth, columns prediction.

    Raises:
        ValueError: no batch, another number of classes, or logits that are not finite.
    """
    matrix = np.zeros((classes, classes), np.int64)
    for images, masks in batches:
        masks = np.asarray(masks)
        matrix += confusion_matrix(masks[..., 0], predict(model, images, classes), classes)
    if not matrix.sum():
        raise ValueError("There is nothing to evaluate: the split is empty.")
    return matrix


def predict(model, images, classes=None):
    """Class ids (B, H, W) int64 for raw images (B, H, W, 3), 0..255.

    Raises:
        ValueError: another number of classes than expected, or logits that are not finite.
    """
    logits = np.asarray(model.predict_on_batch(images))
    if classes is not None and logits.shape[-1] != classes:
        raise ValueError(f"The model has {logits.shape[-1]} classes, the masks have {classes}.")
    if not np.isfinite(logits).all():
        raise ValueError("The model's output is not finite: its weights are damaged.")
    return logits.argmax(axis=-1)


def scores(matrix):
    """What a confusion matrix says, pooled over all its pixels.

    A class absent from both truth and prediction scores 1.

    Args:
        matrix: (C, C) pixel counts, rows truth, columns prediction.

    Returns:
        dict: ``pixel_accuracy``, ``mean_iou``, ``mean_dice`` (floats, 0..1), ``iou`` and ``dice``
        (lists by class).
    """
    matrix = np.asarray(matrix, np.float64)
    shared = np.diag(matrix)
    total = matrix.sum(axis=0) + matrix.sum(axis=1)
    present = total > 0
    dice = np.where(present, 2 * shared / np.where(present, total, 1), 1.0)
    iou = np.where(present, shared / np.where(present, total - shared, 1), 1.0)
    return {
        "pixel_accuracy": float(shared.sum() / matrix.sum()),
        "mean_iou": float(iou.mean()),
        "mean_dice": float(dice.mean()),
        "iou": iou.tolist(),
        "dice": dice.tolist(),
    }


def border_as_pet(matrix):
    """The 3x3 matrix (pet, background, border) as a 2x2 one (pet with border, background)."""
    matrix = np.asarray(matrix)
    rows = np.stack([matrix[0] + matrix[2], matrix[1]])
    return np.stack([rows[:, 0] + rows[:, 2], rows[:, 1]], axis=1)


def reported_scores(matrix):
    """``scores``, and ``dice_border_as_pet``."""
    return {**scores(matrix), "dice_border_as_pet": scores(border_as_pet(matrix))["dice"][0]}


def result(matrix, *, images, input_size, data_source, settings, seed, **more):
    """A run's result with the protocol beside it, ready for ``write_result``."""
    matrix = np.asarray(matrix)
    return {
        **reported_scores(matrix),
        "confusion_matrix": matrix.tolist(),
        "classes": list(CLASS_NAMES),
        "protocol": (
            "Every pixel of every image counts once, border included as a class of its own, at "
            "the network's input size; masks resized by nearest neighbour; scores pooled over "
            "the split."
        ),
        "images": images,
        "input_size": input_size,
        "data_source": data_source,
        "settings": settings,
        "seed": seed,
        **environment(),
        **more,
    }


def environment():
    """Where and when a result was obtained: versions, Keras's backend, device, date."""
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
        },
        "backend": keras.backend.backend(),
        "device": device_name(),
        "date": datetime.date.today().isoformat(),
    }


def write_result(path, values):
    """Writes a JSON file whole or not at all.

    Raises:
        OSError: the folder cannot be written to; an earlier file stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(values, file, indent=2, allow_nan=False)
            file.write("\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def device_name():
    """The device a run used, in words: the GPU's name, or the CPU's and its cores."""
    if keras.distribution.list_devices("gpu"):
        return _gpu_name()
    model = platform.processor() or platform.machine()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, no GPU"


def _version(package):
    # TensorFlow also comes as tensorflow-cpu; a finished training must not be lost over its name.
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"


def _gpu_name():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpu = tf.config.list_physical_devices("GPU")[0]
        return tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
    if keras.backend.backend() == "jax":
        import jax

        return jax.devices("gpu")[0].device_kind
    import torch

    return torch.cuda.get_device_name()
