"""What the benchmarks measure with. The measurements themselves are no tests."""

import functools
import itertools
import textwrap
import time
import types

import keras
import numpy as np
import pytest
from keras import layers

from experiments import mobilenetv2_unet, recipe
from experiments.benchmarks import rounds, time_to_accuracy, tutorial
from helpers.training import Run, Stage


def test_the_tutorials_batches_are_scaled_and_repeat(synthetic_dataset, monkeypatch):
    monkeypatch.setattr(tutorial, "BATCH", 10)
    batches = tutorial.batches(synthetic_dataset, "train", training=True)
    (images, masks), *more = itertools.islice(batches, 3)
    assert len(more) == 2  # of 18 images: it goes round
    assert images.shape == (10, 128, 128, 3) and masks.shape == (10, 128, 128, 1)
    assert 0 <= np.min(images) and 0.5 < np.max(images) <= 1
    assert set(np.unique(masks)) <= {0, 1, 2}
    pixels = np.random.default_rng(0).random((16, 4, 4, 1)).astype("float32")
    flipped = np.asarray(tutorial.Flip()(pixels, pixels * 2))
    assert np.allclose(flipped[0] * 2, flipped[1]) and not np.allclose(flipped[0], pixels)


def test_the_tutorials_network_trains_its_decoder_alone():
    model = tutorial.model(weights=None)
    assert not model.get_layer("encoder").trainable_weights and model.trainable_weights
    assert model.output_shape == (None, 128, 128, 3)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where a test says so."""
    now = [0.0]
    fake = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(time_to_accuracy, "time", fake)
    return now


def test_a_race_lets_train_who_has_used_the_least_time(clock):
    order = []

    def contestant(name, seconds, epochs):
        def train(turn):
            for epoch in range(epochs):
                clock[0] += seconds
                order.append(name)
                turn.set_model(f"{name} after {epoch + 1}")
                turn.on_test_begin()
                clock[0] += 50  # validation is no training time
                turn.on_test_end()
                turn.on_epoch_end(epoch)
            return turn.model

        return train

    def evaluate(name, model):
        clock[0] += 100  # nor is this
        assert model.startswith(name)
        return np.eye(3)

    contestants = {"slow": contestant("slow", 5.0, 2), "fast": contestant("fast", 2.0, 4)}
    models, curves = time_to_accuracy.race(contestants, evaluate)
    assert order == ["slow", "fast", "fast", "fast", "slow", "fast"]
    assert models == {"slow": "slow after 2", "fast": "fast after 4"}
    assert curves["slow"] == {"seconds": [5, 10], "validation_mean_iou": [1, 1]}
    assert curves["fast"]["seconds"] == [2, 4, 6, 8]


def test_a_contestant_that_fails_ends_the_race(clock):
    def steady(turn):
        for epoch in range(3):
            clock[0] += 1
            turn.on_epoch_end(epoch)

    def failing(turn):
        raise ValueError("out of memory")

    with pytest.raises(ValueError, match="out of memory"):
        contestants = {"steady": steady, "failing": failing}
        time_to_accuracy.race(contestants, lambda name, model: np.eye(3))


def test_ours_ends_in_the_race_as_it_does_alone(fits, synthetic_dataset, monkeypatch, tmp_path):
    def build(size):
        images = keras.Input((size, size, 3))
        return keras.Model(images, layers.Conv2D(3, 1)(layers.Dropout(0.5)(images)))

    monkeypatch.setattr(mobilenetv2_unet, "build", build)
    stages = [Stage(16, 2, 9, 1e-2)]
    run = Run(tmp_path / "alone", mobilenetv2_unet.RUN.seed, verbose=0)
    alone, _ = recipe.train(build, synthetic_dataset, stages, run)
    contestants = {
        name: functools.partial(time_to_accuracy.ours, synthetic_dataset, stages, tmp_path / name)
        for name in ("one", "two")
    }
    start = time.monotonic()
    models, curves = time_to_accuracy.race(contestants, lambda name, model: np.eye(3))
    took = time.monotonic() - start
    assert sum(curve["seconds"][-1] for curve in curves.values()) <= took  # who waits: not counted
    for model in models.values():
        assert all(map(np.array_equal, model.get_weights(), alone.get_weights()))
    assert [len(curve["seconds"]) for curve in curves.values()] == [2, 2]
    del fits[:]
    run = run._replace(folder=tmp_path / "one")
    reported, _ = recipe.train(build, synthetic_dataset, stages, run)
    assert all(map(np.array_equal, reported.get_weights(), alone.get_weights())) and not fits


def test_rounds_take_turns_and_give_medians(tmp_path, monkeypatch):
    (tmp_path / "fake.py").write_text(
        textwrap.dedent("""
            import json, pathlib, sys
            log = pathlib.Path(__file__).with_name("log")
            turn = log.read_text().split() if log.exists() else []
            log.write_text(" ".join([*turn, sys.argv[1]]))
            print("chatter")
            print(json.dumps({"speed": [1, 10, 5, 50, 3, 30][len(turn)]}))
        """)
    )
    monkeypatch.chdir(tmp_path)
    assert rounds.measure("fake", ["a", "b"], 3) == {"a": {"speed": 3}, "b": {"speed": 30}}
    assert (tmp_path / "log").read_text() == "a b a b a b"
    (tmp_path / "fake.py").write_text("raise SystemExit('no such contestant')")
    with pytest.raises(RuntimeError, match="fake a failed:\nno such contestant"):
        rounds.measure("fake", ["a"], 1)
