"""Trains a tiny network on synthetic pets in ways that have to come to the same, and prints what
came of each as JSON: test_distribution.py compares.

python -m tests.distribution_checks FOLDER tensorflow | jax | worker | resumed

Devices have to be set before TensorFlow starts, and several processes are several: so these run
in processes of their own.
"""

import json
import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from experiments import recipe
from helpers import datasets, distribution, evaluation, files, pipeline
from helpers.datasets import oxford_pets
from helpers.datasets.synthetic_pets import builder
from helpers.training import Run, Stage

STAGE = Stage(32, 2, 8, 1e-2)  # batches of 8, 8 and 2


def build(size):
    """Without biases before batch normalization: their gradient is noise, which Adam enlarges."""
    images = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(x)
    inside = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.BatchNormalization()])
    x = keras.layers.UpSampling2D(2)(keras.layers.ReLU()(inside(x)))
    return keras.Model(images, keras.layers.Conv2D(3, 1)(x))


class Steps(keras.callbacks.Callback):
    """Keeps the loss of each step, and what a callback that draws would see after each epoch;
    after so many steps, ends the process or the training."""

    only_watches = True

    def __init__(self, end=None, after=None):
        super().__init__()
        self.losses, self.end, self.after, self.seen = [], end, after, []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        if len(self.losses) == self.after:
            self.end()

    def on_epoch_end(self, epoch, logs=None):
        if distribution.processes() == 1:
            grey = np.full((3, 32, 32, 3), 128, np.uint8)
            chances = evaluation.predict_probabilities(self.model, grey)
            self.seen.append(chances.mean(axis=(0, 1, 2)))


class Stopped(Exception):
    pass


def stop():
    raise Stopped


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def open_pets(folder):
    builder.SPLIT_SIZES = {"train": 20, "test": 4}  # 18 to train on, 2 to validate
    return oxford_pets.open_pets(folder / "data")


def train(pets, folder, end=None, after=None, **settings):
    """What came of a training, and what it read, decoded and wrote."""
    read, decoded, written = [], [], []
    steps = Steps(end, after)
    run = Run(folder, 7, callbacks=(steps,), verbose=0, **settings)
    with counted(read, decoded, written):
        try:
            model, history = recipe.train(build, counting(pets, read), [STAGE], run)
        except Stopped:
            return {"steps": steps.losses}
    return {
        "steps": steps.losses,
        "history": {name: history[name] for name in ("loss", "val_loss", "val_mean_dice")},
        "seen": np.array(steps.seen).tolist(),
        "matrix": recipe.evaluate(model, pets, "test").sum(axis=0).tolist(),
        "weights": np.concatenate([w.ravel() for w in model.get_weights()]).tolist(),
        "read": sorted(read),
        "decoded": sorted(decoded),
        "written": sorted(set(written)),
    }


def counting(pets, read):
    """The data set, noting each record of the training split that leaves its files."""

    def noted(function):
        def reading(split, *part):
            records = function(split, *part)
            return records.map(lambda r: note(r, read)) if split == "train" else records

        return reading

    return datasets.dataclasses.replace(
        pets, read=noted(pets.read), read_part=noted(pets.read_part)
    )


def note(record, names):
    seen = tf.py_function(
        lambda name: names.append(name.numpy().decode()), [record["file_name"]], []
    )
    with tf.control_dependencies([seen]):
        return {**record, "file_name": tf.identity(record["file_name"])}


class counted:
    """Notes what is decoded and what is written."""

    def __init__(self, read, decoded, written):
        self.decoded, self.written = decoded, written

    def __enter__(self):
        self.before = decode, write = pipeline.decode, files.write

        def decoding(record, *arguments):
            return decode(note(record, self.decoded), *arguments)

        def writing(path, content):
            self.written.append(Path(path).name)
            write(path, content)

        pipeline.decode, files.write = decoding, writing

    def __exit__(self, *error):
        pipeline.decode, files.write = self.before


def refused(**arguments):
    try:
        train(**arguments)
    except ValueError as error:
        return str(error)


def on_tensorflow(pets, folder):
    found = {
        "one": train(pets, folder / "one"),
        "two": train(pets, folder / "two", devices=2),
        "stopped": train(pets, folder / "resumed", stop, 4, devices=2),
        "resumed": train(pets, folder / "resumed"),
    }
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        found["in a scope"] = refused(pets=pets, folder=folder / "scope")
    found["too many"] = refused(pets=pets, folder=folder / "no", devices=3)
    odd = datasets.subset(pets, train=17)
    found["uneven"] = refused(pets=odd, folder=folder / "no", devices=2)
    distribution._layers = lambda model: []
    found["not synchronized"] = train(pets, folder / "other", devices=2)
    return found


def on_jax(pets, folder):
    odd = datasets.subset(pets, validation=1)
    return {
        "one": train(pets, folder / "one"),
        "two": train(pets, folder / "two", devices=2),
        "one, sharded": train(pets, folder / "sharded", shards=2),
        "uneven": refused(pets=odd, folder=folder / "no", devices=2),
    }


def worker(pets, folder):
    """One of two processes. In the first round each has a disk of its own, and the second one is
    killed in the second epoch; in the second round both have the first one's."""
    number = distribution.process()
    if (folder / "left").exists():
        return {"whole": train(pets, folder / "disk_0", shards=2, devices=2)}
    train(pets, folder / f"disk_{number}", kill if number else None, 5, shards=2, devices=2)


def resumed(pets, folder):
    """What the two left, continued by one."""
    return {"one": train(pets, folder / "left", shards=2)}


def main(folder, case):
    if case == "tensorflow":
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
    distribution.start()
    cases = {"tensorflow": on_tensorflow, "jax": on_jax, "worker": worker, "resumed": resumed}
    folder = Path(folder)
    print(json.dumps(cases[case](open_pets(folder), folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
