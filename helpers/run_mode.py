"""How long a run is, which data it takes and what it is seeded with.

The only module that reads the environment. Three variables, all optional:

- ``PETS_PROFILE``: ``full`` (what the README reports), ``quick`` (minutes on a laptop) or
  ``smoke`` (seconds, for tests). Default: ``full`` where there is a GPU, else ``quick``.
- ``PETS_DATA``: ``auto`` (default), ``oxford`` or ``synthetic``; see ``oxford_pets.open_pets`` in
  ``helpers.datasets``.
- ``KERAS_DISTRIBUTION_NUM_PROCESSES``: Keras's own, see ``helpers.distribution``.
"""

import logging
import os
import platform
import sys
import tempfile
from pathlib import Path

import keras

logging.getLogger("tensorflow").setLevel(logging.ERROR)  # warnings about its own tracing

ROOT = Path(__file__).parents[1]  # of the repository
PROFILES = ("full", "quick", "smoke")
DATA_CHOICES = ("auto", "oxford", "synthetic")


def profile():
    """The run's length, ``"full"``, ``"quick"`` or ``"smoke"``.

    Raises:
        ValueError: ``PETS_PROFILE`` is something else.
    """
    default = "full" if has_gpu() else "quick"
    return _read("PETS_PROFILE", default, PROFILES)


def data_choice():
    """Which data to take, ``"auto"``, ``"oxford"`` or ``"synthetic"``.

    Raises:
        ValueError: ``PETS_DATA`` is something else.
    """
    return _read("PETS_DATA", "auto", DATA_CHOICES)


def processes():
    """int, how many processes are to train together: 1 where Keras's variable is not set."""
    return int(os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES") or 1)


def pick(*, full, quick):
    """The value for this run's profile. Keeps the published value (``full``) in sight.

    ``smoke`` takes ``quick``, cut down to seconds: counts to at most 8, a training stage to one
    epoch at 32 pixels.

    Example:
        ``epochs = pick(full=60, quick=12)``
    """
    return {"full": full, "quick": quick, "smoke": _cut_down(quick)}[profile()]


def _cut_down(value):
    if isinstance(value, dict):
        return {name: _cut_down(part) for name, part in value.items()}
    if hasattr(value, "epochs"):  # a training.Stage
        return value._replace(size=32, epochs=1, batch_size=4)
    if isinstance(value, tuple):
        return tuple(map(_cut_down, value))
    return min(value, 8) if isinstance(value, int) else value


def run_folder(name):
    """Where a notebook's training keeps its state: ``runs/<name>_<profile>`` in the repository,
    whatever folder the notebook is run from. ``smoke`` gets a new temporary folder: a test trains
    every time."""
    if profile() == "smoke":
        return Path(tempfile.mkdtemp(prefix=f"{name}_"))
    return ROOT / f"runs/{name}_{profile()}"


def result_file(name):
    """Where a notebook writes a picture that the README shows: the repository, but for ``smoke``,
    which gets a new temporary folder."""
    return (run_folder(name) if profile() == "smoke" else ROOT) / name


def keras_homes():
    """The folders in which Keras keeps downloaded weights: ``KERAS_HOME``, else ``~/.keras``; then
    the one that ``keras.utils.get_file`` takes where it may not write into the first."""
    home = Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))
    temporary = "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()
    return home, Path(temporary, ".keras")


def has_gpu():
    """Whether Keras's backend has a GPU."""
    if keras.backend.backend() == "torch":  # keras.distribution is not there for it
        import torch

        return torch.cuda.is_available()
    if keras.backend.backend() == "jax":  # and raises here where there is none
        import jax

        return any(device.platform == "gpu" for device in jax.devices())
    return bool(keras.distribution.list_devices("gpu"))


def set_seed(seed):
    """Seeds Python, NumPy, Keras and its backend. Call it before each model is built."""
    # Under a global seed of 0, TensorFlow's shuffle cannot take a tensor as its own.
    keras.utils.set_random_seed(seed or 2**32 - 1)


def _read(variable, default, allowed):
    # An empty value means "not set": that is how shells and CI systems blank a variable.
    value = os.environ.get(variable) or default
    if value not in allowed:
        raise ValueError(
            f"{variable}={value!r} is unknown: set it to {', '.join(allowed[:-1])} or "
            f"{allowed[-1]}, or leave it unset."
        )
    return value


def device_name():
    """The device a run used, in words: the GPU's name, or the CPU's and its cores."""
    if has_gpu():
        return _gpu_name()
    model = platform.processor() or platform.machine()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, no GPU"


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
