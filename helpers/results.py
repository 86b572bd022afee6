"""A run's numbers with their protocol, and the files they are kept in."""

import datetime
import json
import os
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras
import numpy as np

from helpers import CLASS_NAMES, evaluation, run_mode

PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy")


def binary_result(
    matrices, *, border, threshold, images, input_size, data_source, settings, seed, **more
):
    """As ``result``, of a network that tells pet from background."""
    scores_by_rule = {
        rule: {
            **evaluation.binary_scores(matrices, rule),
            "dice_interval": evaluation.bootstrap_interval(
                matrices, lambda some, rule=rule: evaluation.binary_scores(some, rule)["dice"]
            ),
        }
        for rule in ("pet", "background", "ignore")
    }
    return {
        "border": border,
        "scores": scores_by_rule,
        "confusion_matrix": np.sum(matrices, axis=0).tolist(),
        "rows": list(CLASS_NAMES),
        "columns": ["pet", "background"],
        "protocol": (
            f"Pet against background; trained with the border as {border}, scored under each "
            f"border rule, at the network's input size; masks resized by nearest neighbour; "
            f"pooled over the split unless it says per image; threshold chosen on validation; "
            f"95 % bootstrap interval over images."
        ),
        "threshold": threshold,
        "images": images,
        "input_size": input_size,
        "data_source": data_source,
        "settings": settings,
        "seed": seed,
        **environment(),
        **more,
    }


def result(matrix, *, images, input_size, data_source, settings, seed, **more):
    """A run's result with the protocol beside it, ready for ``write_result``."""
    matrix = np.asarray(matrix)
    return {
        **evaluation.reported_scores(matrix),
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
        "device": run_mode.device_name(),
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


def _version(package):
    # TensorFlow also comes as tensorflow-cpu; a finished training must not be lost over its name.
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
