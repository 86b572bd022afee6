"""What a training leaves in its folder after each epoch, so that one that was killed resumes as if
it had not been: bit for bit the same on a CPU with TensorFlow or JAX. (With PyTorch, Dropout draws
from a random state that is not kept; on a GPU, no two trainings are the same.)

- ``state.safetensors``: all that the next epoch depends on, in one file: weights, optimizer (with
  its step), the random states of Dropout, the history, and the weights of the best epoch. Order
  and augmentation of the data are a function of seed and epoch, so they need none. After the last
  epoch, the history and the best weights remain.
- ``best.keras``: the network at its best epoch, or its last, to take away; and ``log.csv``: the
  history, one line an epoch, to read. A training does not depend on them.

Each is written completely or not at all. The best weights stay in memory too: a disk that is full
or a mount that is gone costs the possibility to resume, and a printed line, but not the result.

Of several processes, the chief alone reads and writes, and tells the others: see
``helpers.distribution``.
"""

import contextlib
import csv
import hashlib
import io
import json
import math
import re
import tempfile
import time
import uuid
from pathlib import Path

import filelock
import keras
import numpy as np
import safetensors
import safetensors.numpy

from helpers import distribution, files

BEST, STATE, LOG = "best.keras", "state.safetensors", "log.csv"


class Checkpoints(keras.callbacks.Callback):
    """Writes the files of a run folder after each epoch, and takes the state up again.

    Args:
        folder: path, of this training alone, see ``locked``.
        monitor: str, the name of a value by epoch; higher is better.
        identity: JSON, which training this is.
        keep_best: False keeps the last epoch instead of the best.

    Raises:
        ValueError: the folder's state is damaged, or of another training.
        OSError: it cannot be read.
    """

    def __init__(self, folder, monitor, identity=None, keep_best=True):
        super().__init__()
        self.folder, self.monitor, self.keep_best = Path(folder), monitor, keep_best
        stored = distribution.from_chief(lambda: _read(self.folder / STATE))
        self.tensors, self.known = stored or ({}, None)
        if self.known is None:
            self.known = {"identity": identity, "history": {}, "seconds": 0.0, "finished": False}
        if self.known["identity"] != identity:
            raise ValueError(f"{self.folder / STATE} is of another training: move it away.")
        self.best = self._part("best")
        self.began = time.monotonic() - self.known["seconds"]

    @property
    def history(self):
        """dict of lists by epoch."""
        return self.known["history"]

    @property
    def epochs(self):
        """int, how many are done."""
        return len(next(iter(self.history.values()), []))

    @property
    def finished(self):
        """bool, whether there is no epoch left to train."""
        return self.known["finished"]

    @property
    def seconds(self):
        """float, of the epochs that are done, interruptions left out."""
        return self.known["seconds"]

    def restore(self, model):
        """Gives a compiled model the state that was read: weights and optimizer.

        Raises:
            ValueError: the state is of another network, or of another release of Keras.
        """
        if not self.tensors:
            return
        model.optimizer.build(model.trainable_variables)
        parts = _parts(model)
        stored = {part: self._part(part) for part in parts}
        if not (stored["scaling"] and parts["scaling"]):  # the precision was, or is now, float32
            del parts["scaling"]
        for part, variables in parts.items():
            self._check(stored[part], variables)
        for part, variables in parts.items():
            _assign(variables, stored[part])
        self.tensors = {}

    def restore_best(self, model):
        """Gives a model the weights of the best epoch, or the last. Errors as in ``restore``."""
        variables = _by_name(model.weights)
        self._check(self.best, variables)
        _assign(variables, self.best)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        self.known["seconds"] = time.monotonic() - self.began
        self.known["finished"] = self.model.stop_training or epoch + 1 == self.params["epochs"]
        *before, latest = self.history[self.monitor]
        before = [value for value in before if value == value]  # NaN is no score
        is_best = not self.keep_best or not self.best or latest > max(before, default=-math.inf)
        if is_best:
            self.best = _arrays(_by_name(self.model.weights))
        if distribution.process() != 0:
            return
        if is_best:
            self._try(BEST, lambda: save_network(self.model, self.folder / BEST))
        self._try(LOG, lambda: files.write(self.folder / LOG, _table(self.history)))
        self._try(STATE, self._write_state)  # the last: what it says is done is on disk

    def _write_state(self):
        parts = {} if self.finished else _parts(self.model)
        tensors = {
            f"{part}/{name}": value
            for part, values in {**parts, "best": self.best}.items()
            for name, value in _arrays(values).items()
        }
        known = json.dumps({**self.known, "sha256": _hash(tensors)})
        files.write(self.folder / STATE, safetensors.numpy.save(tensors, {"known": known}))

    def _try(self, name, write):
        try:
            write()
        except Exception as error:  # of many kinds, where Keras writes
            reason = getattr(error, "strerror", None) or f"{self.folder / name}: {error}"
            cost = "If it is killed now, it cannot resume from here." if name == STATE else ""
            print(f"{reason}. The training goes on. {cost}".strip())

    def _part(self, part):
        prefix = f"{part}/"
        stored = {name: value for name, value in self.tensors.items() if name.startswith(prefix)}
        return {name.removeprefix(prefix): value for name, value in stored.items()}

    def _check(self, stored, variables):
        expected = {name: tuple(variable.shape) for name, variable in variables.items()}
        if {name: value.shape for name, value in stored.items()} != expected:
            raise ValueError(
                f"{self.folder / STATE} does not fit this network, perhaps because another "
                f"release of Keras wrote it: run with that one, or move the folder away to train "
                f"from the start. Nothing was changed."
            )


@contextlib.contextmanager
def locked(folder):
    """Makes a run folder one process's own. A process that dies lets go of it.

    Raises:
        RuntimeError: another one has it.
        OSError: it cannot be written to.
    """
    folder = Path(folder)
    files.check_writable(folder / STATE)
    # beside the folder, so that it stays where that is moved or deleted
    lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RuntimeError(
            f"The same training is running in {folder} already: wait for its end, or give another "
            f"run folder."
        ) from None
    except (OSError, NotImplementedError):
        print(f"{folder} is on a disk without locks: do not start this training twice at once.")
    try:
        files.remove_partial(folder)
        yield
    finally:
        with contextlib.suppress(OSError):  # a mount that is gone must not cost the result
            lock.release()


def move_aside(folder):
    """Gives what is in a run folder another name, so that a training can begin anew there."""
    if any(folder.iterdir()):
        aside = folder.with_name(f"{folder.name}_{uuid.uuid4().hex[:8]}")
        folder.rename(aside)
        print(f"Trains anew; what {folder} held is now in {aside}")


def save_network(model, path):
    """Writes a functional model as a .keras file, completely or not at all, without what it was
    compiled with: a loss of one's own may have no form on disk."""
    network = keras.Model(model.inputs, model.outputs, name=model.name)
    with tempfile.TemporaryDirectory() as folder:
        network.save(Path(folder) / BEST)
        files.write(path, (Path(folder) / BEST).read_bytes())


def read_identity(folder):
    """The ``identity`` of the training that left its state in a folder; None where none is to be
    read."""
    try:
        with safetensors.safe_open(Path(folder) / STATE, "numpy") as file:
            return json.loads(file.metadata()["known"])["identity"]
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError):
        return None


def _read(path):
    """Tensors by name, and what else is known; None where there is no state."""
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            known = json.loads(file.metadata()["known"])
        if known.pop("sha256") != _hash(tensors):
            raise ValueError("its SHA-256 is not that of what was written")
        return tensors, known
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{path} is damaged ({error}), so the training cannot resume: move it away to train "
            f"from the start."
        ) from error


def _parts(model):
    """All that training changes: name -> variable, by part. ``variables``, unlike ``weights``,
    holds the random states of Dropout too. Loss scaling has a part of its own: float32 does
    without."""
    optimizer, scaling = model.optimizer, []
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        inner = {id(variable) for variable in optimizer.inner_optimizer.variables}
        scaling = [v for v in optimizer.variables if id(v) not in inner]
        optimizer = optimizer.inner_optimizer
    parts = {"model": model.variables, "optimizer": optimizer.variables, "scaling": scaling}
    return {part: _by_name(variables) for part, variables in parts.items()}


def _by_name(variables):
    # without the numbers that Keras gives to layers in the order of their making
    names = (re.sub(r"_?\d+", "", variable.name) for variable in variables)
    return {f"{n}/{name}": variable for n, (name, variable) in enumerate(zip(names, variables))}


def _arrays(values):
    return {name: np.array(value) for name, value in values.items()}


def _assign(variables, values):
    for name, variable in variables.items():
        variable.assign(values[name])


def _hash(tensors):
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(name.encode() + value.tobytes())
    return digest.hexdigest()


def _table(history):
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["epoch", *history])
    writer.writerows([number, *row] for number, row in enumerate(zip(*history.values())))
    return file.getvalue().encode()
