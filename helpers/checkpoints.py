"""What a training leaves in its folder after each epoch, so that one that was killed resumes as if
it had not been: bit for bit the same on a CPU with TensorFlow or JAX. (With PyTorch, Dropout draws
from a random state that is not kept; on a GPU, no two trainings are the same.)

- ``state.safetensors``: all that the next epoch depends on, in one file: weights, optimizer (with
  its step), the random states of Dropout, the history, and the weights of the best epoch. Order and
  augmentation of the data are a function of seed and epoch, so they need none.
- ``best.keras``: the network at its best epoch, or its last, to take away; and ``log.csv``: the
  history, one line an epoch, to read. A training does not depend on them.

Each is written completely or not at all. The best weights stay in memory too: a disk that is full or
a mount that is gone costs the possibility to resume, and a printed line, but not the result.
"""

import contextlib
import csv
import hashlib
import io
import json
import tempfile
import time
from pathlib import Path

import filelock
import keras
import numpy as np
import safetensors
import safetensors.numpy

from helpers import files

BEST, STATE, LOG, LOCK = "best.keras", "state.safetensors", "log.csv", ".lock"


class Checkpoints(keras.callbacks.Callback):
    """Writes the files of a run folder after each epoch, and takes the state up again.

    Args:
        folder: path, of this training alone: no other one may have it, see ``locked``.
        monitor: str, the name of a value by epoch; higher is better.
        keep_best: False keeps the last epoch instead of the best.

    Raises:
        ValueError: the folder's state is damaged.
    """

    def __init__(self, folder, monitor, keep_best=True):
        super().__init__()
        self.folder, self.monitor, self.keep_best = Path(folder), monitor, keep_best
        self.tensors, known = read_state(folder) or ({}, {"history": {}, "seconds": 0.0})
        self.history, self.best = known["history"], _part(self.tensors, "best")
        self.began = time.monotonic() - known["seconds"]

    @property
    def epochs(self):
        """int, how many are done."""
        return len(next(iter(self.history.values()), []))

    @property
    def seconds(self):
        """float, of this training, interruptions left out."""
        return time.monotonic() - self.began

    def restore(self, model):
        """Gives a compiled model the state that was read: weights and optimizer.

        Raises:
            ValueError: the state is of another network.
        """
        if not self.tensors:
            return
        model.optimizer.build(model.trainable_variables)
        for part, variables in _variables(model).items():
            stored = _part(self.tensors, part)
            if part == "scaling" and not stored:
                continue  # the epochs before were trained in float32: loss scaling starts anew
            if [value.shape for value in stored] != [tuple(v.shape) for v in variables]:
                raise ValueError(
                    f"{self.folder / STATE} does not fit this {part}, perhaps because it was "
                    f"written by another release of Keras: run with that one, or move the folder "
                    f"away to train from the start. Nothing was changed."
                )
            for variable, value in zip(variables, stored):
                variable.assign(value)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        *before, latest = self.history[self.monitor]
        is_best = not self.keep_best or not self.best or latest > max(before)
        if is_best:
            self.best = [np.array(value) for value in self.model.get_weights()]
        self._try(STATE, lambda: files.write(self.folder / STATE, self._state()))
        if is_best:
            self._try(BEST, lambda: save_model(self.model, self.folder / BEST))
        self._try(LOG, lambda: files.write(self.folder / LOG, _table(self.history).encode()))

    def _state(self):
        known = {"history": self.history, "seconds": self.seconds}
        parts = {**_variables(self.model), "best": self.best}
        tensors = {
            f"{part}/{n}": np.array(value)
            for part, values in parts.items()
            for n, value in enumerate(values)
        }
        return safetensors.numpy.save(tensors, {"known": json.dumps(known)})

    def _try(self, name, write):
        try:
            write()
        except OSError as error:
            cost = "if it is killed now, it cannot resume from here" if name == STATE else ""
            print(f"{error.strerror}. The training goes on; {cost or 'nothing else needs it'}.")


def locked(folder):
    """A lock that makes a run folder one process's own, as a context manager. A process that dies
    lets go of it.

    Raises:
        RuntimeError: another process has it.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(Path(folder) / LOCK, timeout=0)
    try:
        return lock.acquire()
    except filelock.Timeout:
        raise RuntimeError(
            f"The same training runs in {folder} already, in another process: wait for its end, or "
            f"give another run folder."
        ) from None
    except NotImplementedError:  # mounts without locks
        print(f"{folder} is on a disk without locks: do not start this training twice at once.")
        return contextlib.nullcontext()


def read_state(folder):
    """The state that a training left in its folder, to resume from.

    Returns:
        tensors and what else is known; None where there is no state.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be read.
    """
    path = Path(folder) / STATE
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return tensors, json.loads(file.metadata()["known"])
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{path} is damaged ({error}), so the training cannot resume: move it away to train "
            f"from the start."
        ) from error


def save_model(model, path):
    """Writes a model as a .keras file, completely or not at all; returns the file's SHA-256."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / BEST)
        content = (Path(folder) / BEST).read_bytes()
    files.write(path, content)
    return hashlib.sha256(content).hexdigest()


def load_weights(model, path, sha256):
    """Gives a model the weights of a .keras file, which are read as numbers alone.

    Args:
        model: of the same network.
        path: of the file.
        sha256: noted when it was written, and checked before it is read.

    Raises:
        ValueError: no such file, another hash, or weights that do not fit.
        PermissionError: it must not be read.
    """
    try:
        if hashlib.sha256(Path(path).read_bytes()).hexdigest() != sha256:
            raise ValueError("its SHA-256 is not the one noted when it was written")
        model.load_weights(path)
    except PermissionError:
        raise
    except Exception as error:  # Keras's own: of many kinds
        raise ValueError(
            f"{path} is missing or damaged ({error}): move its folder away to train again."
        ) from error


def _variables(model):
    """All that training changes, by part. ``variables``, unlike ``weights``, holds the random
    states of Dropout too. Loss scaling has a part of its own: float32 does without."""
    optimizer, scaling = model.optimizer, []
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        inner = {id(variable) for variable in optimizer.inner_optimizer.variables}
        scaling = [v for v in optimizer.variables if id(v) not in inner]
        optimizer = optimizer.inner_optimizer
    return {"model": model.variables, "optimizer": optimizer.variables, "scaling": scaling}


def _part(tensors, part):
    count = sum(name.startswith(f"{part}/") for name in tensors)
    return [tensors[f"{part}/{number}"] for number in range(count)]


def _table(history):
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["epoch", *history])
    writer.writerows([number, *row] for number, row in enumerate(zip(*history.values())))
    return file.getvalue()
