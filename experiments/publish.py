"""A run's numbers with their protocol, and the files they are kept in."""

import datetime
import json
import platform
from importlib.metadata import PackageNotFoundError, version

import keras

from helpers import CLASS_NAMES, files, run_mode

PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy")


PIXELS = (
    "Every pixel of every image counts once, border included as a class of its own, at the "
    "network's input size; masks resized by nearest neighbour; scores pooled over the split "
    "unless it says per image; 95 % bootstrap intervals over images."
)
PET_AGAINST_BACKGROUND = (
    "Pet against background; trained with the border as {border}, scored under each border rule, "
    "at the network's input size; masks resized by nearest neighbour; pooled over the split "
    "unless it says per image; threshold {threshold}; 95 % bootstrap intervals over images."
)


def result(scores, *, protocol, images, input_size, data_source, settings, seed, **more):
    """A run's scores with the protocol beside them, ready for ``write_result``.

    Args:
        scores: dict, such as ``report.report`` gives.
        protocol: what the scores count, in words.
        images, input_size, data_source, settings, seed: of the run.
        more: what else belongs to it.
    """
    return {
        **scores,
        "classes": list(CLASS_NAMES),
        "protocol": protocol,
        "images": images,
        "input_size": input_size,
        "data_source": data_source,
        "settings": settings,
        "seed": seed,
        **environment(),
        **more,
    }


def environment():
    """Where and when a result was obtained: versions, Keras's backend, device, date. Those of the
    process that writes it: a training that went on elsewhere began with others."""
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
    content = json.dumps(values, indent=2, allow_nan=False) + "\n"
    files.write(path, content.encode())


def _version(package):
    # TensorFlow also comes as tensorflow-cpu; a finished training must not be lost over its name.
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
