"""Training on several devices by what Keras and TensorFlow have for it: each device takes its part
of every batch, and all take the same step. ``training.Run`` says how many.

- **Several devices of one machine**: ``Run(devices=2)``. With TensorFlow that is
  ``tf.distribute.MirroredStrategy``, with JAX ``keras.distribution.DataParallel``.
- **Several processes, on one host or many**: with JAX. Each runs the same command with Keras's
  own variables ``KERAS_DISTRIBUTION_JOB_ADDRESSES`` (of the first process, host:port),
  ``KERAS_DISTRIBUTION_NUM_PROCESSES`` and ``KERAS_DISTRIBUTION_PROCESS_ID``; ``devices`` is the
  number of all together. ``Run(shards=...)``, a multiple of the number of processes, makes each of
  them read and keep only its part of the data. The first process, the chief, alone reads and
  writes the run folder; if one is lost, the others end or wait: end them, and start all again.

Refused: the same with TensorFlow, since ``Model.fit`` of Keras 3.15 raises under
``MultiWorkerMirroredStrategy`` (https://github.com/keras-team/keras/issues/20585); and PyTorch,
which ``keras.distribution`` does not know. ``DataParallel`` on TensorFlow is a stub in Keras.

What is the same as on one device, but for the last digits: batches and their order, the augmented
images, the learning rate, losses, gradients, metrics (their counts are summed exactly), and the
statistics of batch normalization, which are of the whole batch: ``synchronized`` with TensorFlow,
always so with JAX. For that, devices must share every batch evenly: TensorFlow weighs devices, not
images, so that one in a smaller part would count for more, and JAX raises. ``check_batches`` says
so beforehand. With TensorFlow, Keras leaves XLA off. What is not the same: ``shards`` give
another order than none, the same on any number of processes; and with TensorFlow, Dropout draws
other numbers.
"""

import contextlib
import functools
import pickle

import keras
import numpy as np
import tensorflow as tf

from helpers import run_mode


def start():
    """Joins the other processes of a training, where Keras's variables say that there are some.
    To be called before anything is computed.

    Raises:
        ValueError: the backend is not JAX.
    """
    if run_mode.processes() == 1:
        return
    if keras.backend.backend() != "jax":
        raise ValueError(
            f"KERAS_DISTRIBUTION_NUM_PROCESSES={run_mode.processes()} with the backend "
            f"{keras.backend.backend()}: Keras trains in several processes with JAX alone. Set "
            f"KERAS_BACKEND=jax, or unset the variable."
        )
    run_mode.set_seed(1)  # else Keras would have the processes agree on one
    keras.distribution.initialize()


def processes():
    """int, how many processes train together."""
    return _jax().process_count() if keras.backend.backend() == "jax" else 1


def process():
    """int, the number of this one; 0 is the chief."""
    return _jax().process_index() if keras.backend.backend() == "jax" else 0


def own_shards(shards):
    """range, the numbers of the shards that this process reads.

    Raises:
        ValueError: they cannot be shared evenly.
    """
    if shards % processes():
        raise ValueError(
            f"{processes()} processes cannot share {shards} shards evenly: set shards to a "
            f"multiple of {processes()}. The order of the images depends on it."
        )
    each = shards // processes()
    return range(process() * each, (process() + 1) * each)


def check_devices(devices):
    """Raises a ValueError where there are not so many, or where this backend cannot."""
    if devices == processes() == 1:
        return
    if keras.backend.backend() not in ("tensorflow", "jax"):
        raise ValueError(
            f"devices={devices}: on {keras.backend.backend()}, Keras trains on one. Set "
            f"KERAS_BACKEND to tensorflow or jax before Python starts."
        )
    found = len(keras.distribution.list_devices())
    if devices > found or (processes() > 1 and devices != found):
        raise ValueError(
            f"devices={devices}, but {found} are there, in {processes()} processes: expected "
            + (f"1 to {found}." if processes() == 1 else "all of them.")
        )


def check_batches(what, examples, batch_size, devices):
    """Raises a ValueError where devices cannot share each batch of an epoch evenly."""
    if examples > batch_size and batch_size % devices:
        raise ValueError(f"{devices} devices cannot share a batch of {batch_size} evenly.")
    if last := (examples % batch_size or batch_size) % devices:
        raise ValueError(
            f"{devices} devices cannot share the last {what} batch evenly: of {examples} images, "
            f"{last} would be left over. Take a number of images that {devices} divides"
            + (", or end the stage's epochs before, by steps." if what == "training" else ".")
        )


@contextlib.contextmanager
def replicated(model, build, devices):
    """The model itself where there is one device; else a copy on the devices, whose weights and
    random states the model takes over in the end.

    Args:
        model: Keras model.
        build: function that builds another like it, whose weights do not matter.
        devices: int.

    Raises:
        ValueError: see ``check_devices``; or within another strategy's scope.
    """
    if tf.distribute.has_strategy():
        raise ValueError(
            f"This is the scope of a {type(tf.distribute.get_strategy()).__name__}: leave it, and "
            f"set devices in training.Run instead."
        )
    check_devices(devices)
    if devices == 1:
        yield model
        return
    with _scope(devices):
        copy = build()  # one by ``clone_model`` may name its variables otherwise
        for layer, original in zip(_layers(copy), _layers(model), strict=True):
            layer.trainable = original.trainable
            if isinstance(layer, keras.layers.BatchNormalization) and tf.distribute.has_strategy():
                layer.synchronized = True  # with JAX it always is
        _assign(copy, model)
        yield copy
    _assign(model, copy)


def from_chief(function):
    """What a function returns in the chief, in each process; or its error. The others do not call
    it. To be called by all, with a function whose value can be pickled."""
    if processes() == 1:
        return function()
    from jax.experimental import multihost_utils

    content = b""
    if process() == 0:
        try:
            content = pickle.dumps((function(), None))
        except Exception as error:
            content = pickle.dumps((None, error))
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    content = np.frombuffer(content or bytes(size), np.uint8)
    value, error = pickle.loads(multihost_utils.broadcast_one_to_all(content).tobytes())
    if error is not None:
        raise error
    return value


def _scope(devices):
    names = keras.distribution.list_devices()[:devices]
    if keras.backend.backend() == "jax":
        parallel = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        return parallel.scope()
    return _mirrored(*names).scope()


@functools.cache  # a second one would take up the first one's exchange, of other shapes
def _mirrored(*names):
    return tf.distribute.MirroredStrategy([name.upper() for name in names])


def _assign(model, other):
    for variable, value in zip(model.variables, other.variables, strict=True):
        variable.assign(np.array(value))


def _layers(model):
    """The layers of a model and of the models in it, each before its own."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def _jax():
    import jax

    return jax
