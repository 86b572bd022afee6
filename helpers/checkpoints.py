"""What a training leaves in its folder after each epoch, so that one that was killed goes on as if
it had not been: bit for bit the same on a CPU with TensorFlow or JAX. (With PyTorch, Dropout draws
from a random state that is not kept; on a GPU, no two trainings are the same.)

- ``best.keras``: the network at its best epoch, or its last.
- ``state.safetensors``: all else that the next epoch depends on, in one file: weights, optimizer
  (with its step and, in mixed precision, its loss scale), the random states of Dropout, and the
  history. Order and augmentation of the data are a function of seed and epoch, so they need none.
- ``log.csv``: the history, one line an epoch, to read.

Each is written whole or not at all, the state last: whatever moment the training is killed at, the
folder holds the end of an epoch.
"""

import csv
import hashlib
import io
import json
import time
from pathlib import Path

import keras
import numpy as np
import safetensors
import safetensors.numpy

from helpers import files

BEST, STATE, LOG = "best.keras", "state.safetensors", "log.csv"
FINISHED = "finished.json"  # written by helpers.recipe
_PARTIAL_BEST = f".best{files.PARTIAL}.keras"  # Keras insists on the suffix


class Checkpoints(keras.callbacks.Callback):
    """Writes the files of the run folder after each epoch, and takes the state up again.

    Args:
        folder: path of the run folder.
        monitor: str, the name of a value by epoch; higher is better.
        identity: JSON, which training this is; see ``read_state``. None keeps no state.
        state: from ``read_state``; None begins anew.
        keep_best: False keeps the last epoch instead of the best.
        patience: stop after so many epochs without a better one; None never does.
        clock: function that gives the seconds since whenever.
        began: what it gave when the training began, or went on.
    """

    def __init__(
        self,
        folder,
        monitor,
        *,
        identity=None,
        state=None,
        keep_best=True,
        patience=None,
        clock=time.monotonic,
        began=None,
    ):
        super().__init__()
        self.folder, self.monitor, self.identity = Path(folder), monitor, identity
        self.keep_best, self.patience = keep_best, patience
        self.tensors, known = state or ({}, {"history": {}, "seconds": 0.0})
        self.history = known["history"]
        self.clock = clock
        self.began = (clock() if began is None else began) - known["seconds"]

    @property
    def epochs(self):
        """int, how many are done."""
        return len(next(iter(self.history.values()), []))

    @property
    def seconds(self):
        """float, of this training, interruptions left out."""
        return self.clock() - self.began

    @property
    def patience_is_over(self):
        values = self.history.get(self.monitor)
        if self.patience is None or not values:
            return False
        return len(values) - 1 - int(np.argmax(values)) >= self.patience

    def on_train_begin(self, logs=None):
        if self.tensors:
            self.model.optimizer.build(self.model.trainable_variables)
            for name, variable in _variables(self.model).items():
                variable.assign(self.tensors[name])

    def on_epoch_end(self, epoch, logs=None):
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        *before, latest = self.history[self.monitor]
        if not self.keep_best or latest > max(before, default=-np.inf):
            self.model.save(self.folder / _PARTIAL_BEST)
            files.put(self.folder / _PARTIAL_BEST, self.folder / BEST)
        files.write(self.folder / LOG, _table(self.history).encode())
        if self.identity is not None:
            known = {"history": self.history, "seconds": self.seconds, "identity": self.identity}
            tensors = {key: np.array(value) for key, value in _variables(self.model).items()}
            content = safetensors.numpy.save(tensors, {"known": json.dumps(known)})
            files.write(self.folder / STATE, content)
        if self.patience_is_over:
            self.model.stop_training = True


def read_state(folder, identity):
    """The state that a training left behind, to go on from.

    Args:
        folder: path of the run folder.
        identity: JSON, which training is to go on.

    Returns:
        tensors and what else is known, for ``Checkpoints``. None where there is no state, or that
        of another training.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be read.
    """
    path = Path(folder) / STATE
    if not path.exists():
        return None
    content = path.read_bytes()
    try:
        tensors = safetensors.numpy.load(content)
        length = int.from_bytes(content[:8], "little")
        known = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["known"])
    except (KeyError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{path} is damaged ({error}), so the training cannot go on: delete it to train from "
            f"the start."
        ) from error
    return (tensors, known) if known["identity"] == identity else None


def load_best(model, folder, sha256=None):
    """Gives a model the weights of ``best.keras``, which are read as numbers alone.

    Args:
        model: of the same network.
        folder: path of the run folder.
        sha256: of the file, checked before it is read; None: not checked.

    Raises:
        ValueError: no such file, another hash, or weights that do not fit.
        PermissionError: it must not be read.
    """
    path = Path(folder) / BEST
    try:
        if sha256 not in (None, hash_of_best(folder)):
            raise ValueError("its SHA-256 is not the one noted when it was written")
        model.load_weights(path)
    except PermissionError:
        raise
    except Exception as error:  # Keras's own: of many kinds
        raise ValueError(
            f"{path} is missing or damaged ({error}): delete its folder to train again."
        ) from error


def hash_of_best(folder):
    """The SHA-256 of ``best.keras``, a str."""
    return hashlib.sha256((Path(folder) / BEST).read_bytes()).hexdigest()


def remove_partial(folder):
    """Deletes what a kill in the middle of a write has left in a folder."""
    for path in Path(folder).iterdir():
        if files.is_partial(path.name):
            path.unlink()


def _variables(model):  # ``variables``, unlike ``weights``, holds the random states of Dropout too
    parts = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {f"{part}/{n}": v for part, values in parts.items() for n, v in enumerate(values)}


def _table(history):
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["epoch", *history])
    writer.writerows([number, *row] for number, row in enumerate(zip(*history.values())))
    return file.getvalue()
