"""Training in stages: which training is which, and that none is lost to another."""

import functools

import keras
import numpy as np
import pytest

from experiments import recipe
from helpers import checkpoints, datasets, losses, pipeline, training
from helpers.training import Run, Stage


def small(size, classes=3, width=2):
    height, width_px = size if isinstance(size, tuple) else (size, size)
    images = keras.Input((height, width_px, 3))
    x = keras.layers.Conv2D(width, 1, kernel_initializer="he_normal")(images)
    return keras.Model(
        images, keras.layers.Conv2D(classes, 1)(keras.layers.BatchNormalization()(x))
    )


def unchanged(images, masks, seed):
    return images, masks


STAGES = (Stage(16, 2, 6, 1e-2), Stage((32, 16), 1, 6, 1e-3))


@pytest.fixture
def pets(synthetic_dataset):
    return datasets.subset(synthetic_dataset, train=12, validation=1)


@pytest.fixture
def train(fits, pets, tmp_path, monkeypatch):
    """Trains; keywords of Run or of recipe.train, or its arguments, may be others."""
    load, loaded = pipeline.load_split, {}

    def load_once(dataset, split, size):
        key = (dataset.parts["train"], split, size)
        if key not in loaded:
            loaded[key] = load(dataset, split, size)
        return loaded[key]

    monkeypatch.setattr(pipeline, "load_split", load_once)

    def run(**changed):
        arguments = {"build": small, "dataset": pets, "stages": STAGES}
        arguments |= {"augmentation": unchanged, **changed}
        settings = {"folder": tmp_path / "run", "seed": 7, "verbose": 0}
        settings |= {name: arguments.pop(name) for name in Run._fields if name in arguments}
        return recipe.train(run=Run(**settings), **arguments)

    return run


def equal(model, other):
    return all(map(np.array_equal, model.get_weights(), other.get_weights()))


def test_a_stage_starts_from_the_best_weights_of_the_one_before(train, fits):
    model, history = train()
    assert all(map(np.array_equal, fits[0]["model"].get_weights(), fits[1]["start"]))
    assert model.input_shape[1:3] == (32, 16)
    assert len(history["loss"]) == len(history["val_mean_dice"]) == 3  # epochs of both stages
    assert len(history["seconds"]) == 2


def test_it_trains_and_validates_on_its_parts_of_the_data(train, fits, pets):
    train(stages=[STAGES[0]._replace(augmented=False)])
    (call,) = fits
    seen = [image.tobytes() for images, _ in call["batches"] for image in images.numpy()]
    stored = {image.numpy().tobytes() for image, _ in pipeline.load_split(pets, "train", 16)}
    assert set(seen) == stored and len(seen) == 2 * 12
    assert sum(len(images) for images, _ in call["validation_data"]) == 1
    one_logit = functools.partial(small, classes=1)
    train(build=one_logit, border="ignore", stages=STAGES[:1])
    _, targets, weights = next(iter(fits[1]["batches"]))
    assert set(np.unique(targets)) == set(np.unique(weights)) == {0, 1}


def test_a_frozen_stage_leaves_the_encoder_alone(train, fits):
    def build(size):
        images = keras.Input((size, size, 3))
        inner = keras.Model(images, keras.layers.Conv2D(2, 1)(images), name="encoder")
        return keras.Model(images, keras.layers.Conv2D(3, 1)(inner(images)))

    stages = [STAGES[0]._replace(train_encoder=False), STAGES[0]]
    model, _ = train(build=build, stages=stages)
    kernel, _, head, _ = range(4)
    start, tuned, end = fits[0]["start"], fits[1]["start"], model.get_weights()
    assert np.array_equal(start[kernel], tuned[kernel]) and not np.array_equal(
        start[head], tuned[head]
    )
    assert not np.array_equal(tuned[kernel], end[kernel])


def darker(images, masks, seed):
    return images // 2, masks


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


def test_each_training_has_a_folder_of_its_own_and_finds_it_again(train, fits, pets, tmp_path):
    start = small(16)
    start.set_weights([weight + 0.5 for weight in start.get_weights()])
    cases = [
        {},
        {"seed": 8},
        {"loss": losses.DiceLoss()},
        {"loss": losses.CrossEntropyDiceLoss(ignore=2)},
        {"augmentation": darker},
        {"augmentation": lambda images, masks, seed: (images // 3, masks)},
        {"stages": [STAGES[0]._replace(learning_rate=2e-2)]},
        {"build": functools.partial(small, width=3)},
        {"callbacks": (Stop(),)},
        {"keep_best": False},
        {"start": start},
        {"dataset": datasets.subset(pets, train=11)},
    ]
    first = [train(**{"stages": STAGES[:1], **case}) for case in cases]
    assert len(fits) == len(cases)
    again = [train(**{"stages": STAGES[:1], **case}) for case in cases]
    assert len(fits) == len(cases) == len(list((tmp_path / "run").glob("stage_1_*")))
    for (model, history), (same, its_history) in zip(first, again):
        assert equal(model, same) and history == its_history


def test_what_changes_the_last_digits_alone_is_the_same_training(train, fits, monkeypatch):
    train()
    del fits[:]
    watching = training.ShowPredictions(np.zeros((1, 8, 8, 3)), print)
    train(callbacks=(watching,))
    keras.config.set_dtype_policy("mixed_float16")
    try:
        train()
    finally:
        keras.config.set_dtype_policy("float32")
    config = keras.layers.BatchNormalization.get_config
    newer = lambda self: {**config(self), "of_a_newer_release": 1}  # noqa: E731
    monkeypatch.setattr(keras.layers.BatchNormalization, "get_config", newer)
    draw = keras.initializers.HeNormal.__call__
    on_a_gpu = lambda self, *args, **more: draw(self, *args, **more) * (1 + 1e-6)  # noqa: E731
    monkeypatch.setattr(keras.initializers.HeNormal, "__call__", on_a_gpu)
    train()
    assert not fits


def test_a_training_within_another_gets_its_own_or_is_refused(train, fits, tmp_path):
    class Other(keras.callbacks.Callback):
        only_watches = True

        def on_epoch_end(self, epoch, logs=None):
            if not other:
                other.append(train(seed=8)[0])
                with pytest.raises(RuntimeError, match="same training is running in .*stage_1_"):
                    train()

    other = []
    alone, _ = train(folder=tmp_path / "alone")
    model, _ = train(callbacks=(Other(),))
    assert equal(model, alone) and equal(train()[0], alone) and not equal(other[0], alone)
    assert equal(train(seed=8)[0], other[0])


def test_a_resumed_training_ends_as_one_that_was_not_interrupted(train, fits, tmp_path, capsys):
    class Interrupt(keras.callbacks.Callback):
        only_watches = True

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    whole, history = train(folder=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(callbacks=(Interrupt(),))
    resumed, same = train(verbose=2)
    assert equal(whole, resumed) and history["loss"] == same["loss"]
    assert "Resumes after epoch 1 of 2" in capsys.readouterr().out


def test_what_is_finished_is_read_where_nothing_can_be_written(train, fits, monkeypatch):
    first, _ = train()

    def refuse(*arguments, **settings):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert equal(train()[0], first)
    with pytest.raises(OSError, match="Read-only file system.*: the disk can only be read"):
        train(seed=8)


def test_without_resume_it_is_trained_anew_and_what_was_there_moved_aside(train, fits, tmp_path):
    first, _ = train(stages=STAGES[:1])
    assert equal(train(stages=STAGES[:1], resume=False)[0], first) and len(fits) == 2
    folders = list((tmp_path / "run").glob("stage_1_*"))
    assert len(folders) == 2 and all((folder / checkpoints.STATE).exists() for folder in folders)


def test_it_says_in_a_line_what_differs_and_what_it_cannot_tell(train, fits, tmp_path, capsys):
    class Random:
        numbers = np.random.default_rng(0)

        def __call__(self, images, masks, seed):
            return images, masks

    train(stages=STAGES[:1])
    train(stages=STAGES[:1], loss=losses.DiceLoss(), verbose=2)
    assert " differs from stage_1_" in (printed := capsys.readouterr().out)
    assert " in loss\n" in printed
    for _ in range(2):
        train(stages=STAGES[:1], augmentation=Random())
        assert capsys.readouterr().out == (
            "There is no telling a random Generator, which changes with its use, from another, "
            "so this is trained anew each time.\n"
        )
    assert len(list((tmp_path / "run").glob("stage_1_*"))) == 4
