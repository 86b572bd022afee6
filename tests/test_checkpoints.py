"""A training that is killed, at any moment and again and again, ends as one that never was; and
what its folder is needed for never costs the result."""

import errno
import os
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers import checkpoints, dice, files, losses, pipeline, run_mode, training

STAGE = training.Stage(8, epochs=4, batch_size=4, learning_rate=3e-2)


def network(width=4):
    """Small, with all that has a state. Keras numbers its layers: another build, other names."""
    images = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    x = keras.layers.Conv2D(width, 1, use_bias=False)(x)
    x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(x))
    return keras.Model(images, keras.layers.Conv2D(3, 1, dtype="float32")(x))


def examples(count):
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, (count, 8, 8, 1), np.uint8)
    images = np.repeat(masks * 80, 3, axis=-1) + rng.integers(0, 90, (count, 8, 8, 3), np.uint8)
    return tf.data.Dataset.from_tensor_slices((images.astype(np.uint8), masks))


def train(folder, *callbacks, loss=None, model=None, identity="this one"):
    """Weights and history at the end of a training, resumed if there is a state."""
    run_mode.set_seed(3)
    model = model or network()
    with checkpoints.locked(folder):
        keeper = checkpoints.Checkpoints(folder, "val_mean_dice", identity)
        if not keeper.finished:
            training.fit(
                model,
                lambda epoch: pipeline.training_batches(examples(8), 4, 3, None, epoch),
                pipeline.evaluation_batches(examples(4), 4),
                stage=STAGE,
                loss=loss or losses.CrossEntropyDiceLoss(),
                metric=dice.MeanDice(3),
                keeper=keeper,
                run=training.Run(folder, callbacks=callbacks, verbose=0),
            )
        keeper.restore_best(model)
    return [*model.get_weights(), *map(np.array, keeper.history.values())]


def equal(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


class Killed(BaseException):
    pass


def at_batch(number):
    def die(batch, logs=None):
        batches.append(batch)
        if len(batches) == number:
            raise Killed

    batches = []
    return keras.callbacks.LambdaCallback(on_train_batch_end=die)


@pytest.mark.parametrize("name", [checkpoints.STATE, checkpoints.BEST, checkpoints.LOG])
def test_killed_at_every_moment_it_ends_bit_for_bit_the_same(fits, tmp_path, monkeypatch, name):
    whole, replace = train(tmp_path / "whole"), os.replace

    def killed_around(before):
        def die(source, target):
            if target.name == name and not before:
                replace(source, target)
            if target.name == name:
                raise Killed
            replace(source, target)

        return die

    for moment in (1, "before", 2, "after"):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            if isinstance(moment, str):
                patch.setattr(os, "replace", killed_around(moment == "before"))
            train(tmp_path / "killed", *([at_batch(moment)] if isinstance(moment, int) else []))
    assert equal(train(tmp_path / "killed"), whole)
    logs = [(tmp_path / run / checkpoints.LOG).read_text() for run in ("whole", "killed")]
    assert logs[0] == logs[1]


def live(folder):
    """In a process of its own: trains, and waits to be killed in the third epoch."""

    def wait(batch, logs=None):
        batches.append(batch)
        if len(batches) == 5:
            print("waiting", flush=True)
            sys.stdin.read()

    batches = []
    train(folder, keras.callbacks.LambdaCallback(on_train_batch_end=wait))


def test_a_process_has_its_folder_alone_until_it_is_killed(tmp_path):
    killed = tmp_path / "killed"
    command = f"from tests import test_checkpoints; test_checkpoints.live({str(killed)!r})"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", command], **pipes) as process:
        whole = train(tmp_path / "whole")
        assert process.stdout.readline() == b"waiting\n"
        with pytest.raises(RuntimeError, match="same training is running in .*killed already"):
            train(killed)
        (killed / f".1{files.PARTIAL}").write_bytes(b"of a write that was killed")
        process.kill()
    began = []
    begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: began.append(epoch))
    assert equal(train(killed, begin), whole) and began == [2, 3]
    assert {path.name for path in killed.iterdir()} == {"best.keras", "log.csv", checkpoints.STATE}


@pytest.mark.parametrize(
    "name, number, words",
    [
        (checkpoints.STATE, errno.ENOSPC, "free some space.*goes on. If .* cannot resume"),
        (checkpoints.BEST, errno.ENOSPC, "free some space.*The training goes on"),
        (checkpoints.LOG, errno.EACCES, "denied.*to a folder where you may.*goes on"),
    ],
)
def test_a_file_that_cannot_be_written_does_not_cost_the_result(
    fits, tmp_path, monkeypatch, capsys, name, number, words
):
    whole, replace = train(tmp_path / "whole"), os.replace

    def refuse(source, target):
        if target.name == name:
            raise OSError(number, os.strerror(number))
        replace(source, target)

    monkeypatch.setattr(files, "PATIENCE", ())
    monkeypatch.setattr(os, "replace", refuse)
    assert equal(train(tmp_path / "run"), whole)
    printed = capsys.readouterr().out.splitlines()
    assert printed and all(
        re.search(f"{name} was not written .*{words}", line) for line in printed
    )
    monkeypatch.setattr(os, "replace", replace)
    assert equal(train(tmp_path / "run"), whole)


def test_an_epoch_whose_score_is_no_number_is_not_the_best(tmp_path):
    model = network()
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    keeper = checkpoints.Checkpoints(tmp_path, "val_mean_dice")
    keeper.set_model(model)
    keeper.set_params({"epochs": 3})
    for epoch, score in enumerate((np.nan, 0.3, 0.2)):
        model.layers[-1].bias.assign(np.full(3, epoch))
        keeper.on_epoch_end(epoch, {"val_mean_dice": score})
    keeper.restore_best(model)
    assert model.layers[-1].bias.numpy().tolist() == [1, 1, 1]


def test_a_folder_that_is_deleted_meanwhile_does_not_cost_the_result(fits, tmp_path):
    def delete(epoch, logs=None):
        if epoch == 2:
            shutil.rmtree(tmp_path / "run")

    whole = train(tmp_path / "whole")
    assert equal(train(tmp_path / "run", keras.callbacks.LambdaCallback(delete)), whole)
    del fits[:]
    assert equal(train(tmp_path / "run"), whole) and not fits


def test_a_disk_without_locks_is_said_and_no_obstacle(fits, tmp_path, monkeypatch, capsys):
    def refuse(self):
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock._acquire", refuse)
    train(tmp_path / "run")
    assert "is on a disk without locks: do not start" in capsys.readouterr().out


def test_a_loss_that_has_no_form_on_disk_is_trained_with_and_the_best_network_kept(fits, tmp_path):
    class Loss:
        def __call__(self, y_true, y_pred):
            return keras.ops.mean(y_pred)

    *weights, _, _ = train(tmp_path / "run", loss=Loss())
    kept = keras.saving.load_model(tmp_path / "run" / checkpoints.BEST, safe_mode=True)
    assert equal(kept.get_weights(), weights)


def test_who_stopped_early_has_finished(fits, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    stopped = train(tmp_path / "run", Stop())
    del fits[:]
    assert equal(train(tmp_path / "run"), stopped) and not fits and len(stopped[-1]) == 1


@pytest.fixture
def halfway(fits, tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, at_batch(5))
    return tmp_path


@pytest.mark.parametrize("policies", [("mixed_float16", "float32"), ("float32", "mixed_float16")])
def test_it_resumes_in_another_precision(fits, tmp_path, policies):
    whole = train(tmp_path / "whole")
    try:
        keras.config.set_dtype_policy(policies[0])
        with pytest.raises(Killed):
            train(tmp_path / "run", at_batch(5))
        keras.config.set_dtype_policy(policies[1])
        resumed = train(tmp_path / "run")
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(resumed, whole, strict=True))


def test_a_state_that_is_damaged_or_not_its_own_is_not_believed(halfway):
    path = halfway / checkpoints.STATE
    content = path.read_bytes()
    for changed in (b"", b"no state", content[:-9], content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"state\.safetensors is damaged .*: move it away"):
            train(halfway)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is of another training: move it away"):
        train(halfway, identity="another one")
    with pytest.raises(ValueError, match="another release of Keras wrote it: .*Nothing was chang"):
        train(halfway, model=network(width=5))
    assert path.read_bytes() == content
