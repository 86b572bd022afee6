"""A training that is killed, at any moment and again and again, ends as one that never was."""

import collections
import multiprocessing
import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers import checkpoints, data, dice, files, run_mode, training

EPOCHS = 6


def network():
    """Small, with all that has a state: batch norm, Dropout, and by float16 the loss scale."""
    images = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(keras.layers.ReLU()(x))
    return keras.Model(images, keras.layers.Conv2D(3, 1, dtype="float32")(x))


def examples(count):
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, (count, 16, 16, 1), np.uint8)
    images = np.repeat(masks * 80, 3, axis=-1) + rng.integers(0, 90, (count, 16, 16, 3), np.uint8)
    return tf.data.Dataset.from_tensor_slices((images.astype(np.uint8), masks))


def train(folder, callbacks=(), **settings):
    run_mode.set_seed(3)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network()
        history = training.fit(
            model,
            lambda epoch: data.training_batches(examples(12), 4, seed=3, epoch=epoch),
            data.evaluation_batches(examples(4), 4),
            run_dir=folder,
            callbacks=callbacks,
            **{
                "epochs": EPOCHS,
                "loss": dice.CrossEntropyDiceLoss(),
                "metric": dice.MeanDice(3),
                "learning_rate": 3e-2,
                "identity": "this one",
                "verbose": 0,
                **settings,
            },
        )
    finally:
        keras.config.set_dtype_policy("float32")
    del history["seconds"]
    return model, history


def as_arrays(model, history):
    return [*model.get_weights(), *map(np.array, history.values())], list(history)


EVENTS = (
    "step",
    "best.keras half written",
    "best.keras in its place",
    "log.csv not in its place yet",
    "log.csv in its place",
    "state.safetensors not in its place yet",
    "state.safetensors in its place",
)


def live(folder, fatal, report):
    """In a process of its own: trains until it is killed at an event, or to the end.

    Args:
        folder: path.
        fatal: one of EVENTS and the how manieth of its kind kills; None: none does.
        report: a multiprocessing connection, gets the trained network and its history.
    """
    counts = collections.Counter()

    def event(name):
        counts[name] += 1
        if fatal == (name, counts[name]):
            os.kill(os.getpid(), signal.SIGKILL)

    save, replace = keras.Model.save, os.replace

    def half_save(model, path):
        save(model, path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        event("best.keras half written")
        path.write_bytes(content)

    def event_replace(source, target):
        event(f"{target.name} not in its place yet")
        replace(source, target)
        event(f"{target.name} in its place")

    keras.Model.save = half_save
    os.replace = event_replace
    step = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: event("step"))
    report.send(as_arrays(*train(folder, [step])))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a system without SIGKILL")
def test_killed_ten_times_it_ends_bit_for_bit_as_if_it_had_not_been(tmp_path):
    processes = multiprocessing.get_context("forkserver")
    # else each life begins with TensorFlow's import
    processes.set_forkserver_preload(["helpers.data", "helpers.training"])

    def life(folder, fatal=None):
        receive, send = processes.Pipe(duplex=False)
        process = processes.Process(target=live, args=(folder, fatal, send))
        process.start()
        send.close()
        trained = None if fatal else receive.recv()
        process.join()
        assert process.exitcode == (-signal.SIGKILL if fatal else 0), fatal
        return trained

    whole, names = life(tmp_path / "whole")
    rng = np.random.default_rng(1)
    for name in rng.permutation([*EVENTS, "step", "step", "step"]):
        life(tmp_path / "killed", (str(name), int(rng.integers(1, 6) if name == "step" else 1)))
    killed, same_names = life(tmp_path / "killed")
    assert same_names == names and len(killed) == len(whole)
    assert all(map(np.array_equal, killed, whole))
    logs = [(tmp_path / run / checkpoints.LOG).read_text() for run in ("whole", "killed")]
    assert logs[0] == logs[1]
    assert not list((tmp_path / "killed").glob(f".*{files.PARTIAL}*"))


def test_the_best_epoch_is_remembered(tmp_path):
    def stop(epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    settings = {"learning_rate": 1.0}  # so large that it gets worse from the start
    whole, history = train(tmp_path / "whole", **settings)
    assert np.argmax(history["val_mean_dice"]) == 0
    with pytest.raises(KeyboardInterrupt):
        stopping = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
        train(tmp_path / "stopped", [stopping], **settings)
    model, same = train(tmp_path / "stopped", **settings)
    assert same == history
    assert all(map(np.array_equal, model.get_weights(), whole.get_weights()))


@pytest.fixture
def finished(tmp_path):
    train(tmp_path, epochs=2)
    return tmp_path


def test_after_its_end_it_trains_no_more_and_after_its_patience_neither(finished, tmp_path):
    steps = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(1))
    model, history = train(finished, [count], epochs=2)
    assert not steps and len(history["loss"]) == 2
    kept = network()
    checkpoints.load_best(kept, finished)
    assert all(map(np.array_equal, kept.get_weights(), model.get_weights()))

    settings = {"patience": 1, "learning_rate": 0.0, "epochs": 5, "identity": "another one"}
    _, history = train(finished, [count], **settings)
    assert len(history["loss"]) == 2 and len(steps) == 6  # no better in the second
    _, history = train(finished, [count], **settings)
    assert len(history["loss"]) == 2 and len(steps) == 6


def test_another_identity_or_none_begins_anew(finished):
    for identity in ("another one", None):
        assert checkpoints.read_state(finished, "this one")
        _, history = train(finished, epochs=1, identity=identity)
        assert len(history["loss"]) == 1
        assert checkpoints.read_state(finished, "this one") is None
        train(finished, epochs=2)


def test_damaged_best_weights_are_told_before_the_training_goes_on(finished):
    (finished / checkpoints.BEST).write_bytes(b"cut")
    steps = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(1))
    with pytest.raises(ValueError, match=r"best\.keras is missing or damaged"):
        train(finished, [count], epochs=4, learning_rate=1e-9)
    assert not steps


def test_another_training_is_not_replaced_without_a_word(finished, capsys):
    train(finished, epochs=1, identity="another one", verbose=2)
    assert f"Replaces another training, in {finished}" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no state", None], ids=["empty", "text", "cut"])
def test_a_damaged_state_is_explained(finished, content):
    path = finished / checkpoints.STATE
    path.write_bytes(path.read_bytes()[:-9] if content is None else content)
    with pytest.raises(ValueError, match=r"state\.safetensors is damaged .*delete it to train"):
        train(finished, epochs=2)


def test_best_weights_that_are_not_those_that_were_written_are_explained(finished):
    model = network()
    noted = checkpoints.hash_of_best(finished)
    checkpoints.load_best(model, finished, noted)
    with pytest.raises(ValueError, match=r"best\.keras is missing or damaged .*SHA-256 is not"):
        checkpoints.load_best(model, finished, "0" * 64)
    path = finished / checkpoints.BEST
    path.write_bytes(path.read_bytes()[:-9])
    for expected in (noted, None):
        with pytest.raises(ValueError, match=r"best\.keras is missing or damaged .*delete its"):
            checkpoints.load_best(model, finished, expected)
