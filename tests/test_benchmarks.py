"""What the benchmarks measure with. The measurements themselves are no tests."""

import itertools
import textwrap

import numpy as np
import pytest
from keras import layers

from benchmarks import rounds, time_to_accuracy, tutorial
from helpers import data, mobilenetv2_unet
from helpers.recipe import Stage


def test_the_tutorials_batches_are_scaled_and_repeat(drawn_pets, monkeypatch):
    monkeypatch.setattr(tutorial, "BATCH", 10)
    batches = list(itertools.islice(tutorial.batches(drawn_pets, "train", training=True), 4))
    assert len(batches) == 4  # of 18 images: it goes round
    for images, masks in batches[:1]:
        assert images.shape == (10, 128, 128, 3) and masks.shape == (10, 128, 128, 1)
        assert 0 <= np.min(images) and 0.5 < np.max(images) <= 1
        assert set(np.unique(masks)) <= {0, 1, 2}


def test_the_tutorials_flip_moves_image_and_mask_together():
    images = np.random.default_rng(0).random((16, 4, 4, 1)).astype("float32")
    flipped = np.asarray(tutorial.Flip()(images, images * 2))
    assert np.allclose(flipped[0] * 2, flipped[1])
    assert not np.allclose(flipped[0], images)


def test_the_tutorials_network_trains_its_decoder_alone():
    model = tutorial.model(weights=None)
    assert not model.get_layer("encoder").trainable_weights
    enlarged = [layer for layer in model.layers if isinstance(layer, layers.Concatenate)]
    assert [layer.output.shape[1] for layer in enlarged] == [8, 16, 32, 64]
    assert model.output_shape == (None, 128, 128, 3)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    head = model.layers[-1].kernel
    before = head.numpy().copy()
    pixels = np.random.default_rng(0).random((2, 128, 128, 3), np.float32)
    model.train_on_batch(pixels, np.ones((2, 128, 128, 1), np.uint8))
    assert not np.array_equal(before, head.numpy())


def test_a_race_lets_train_who_has_used_the_least_time(monkeypatch):
    clock, turns = [0.0], []
    monkeypatch.setattr(time_to_accuracy.time, "monotonic", lambda: clock[0])

    def contestant(name, seconds, epochs):
        for epoch in range(epochs):
            clock[0] += seconds
            turns.append(name)
            yield f"{name} after {epoch + 1}"

    def evaluate(name, model):
        clock[0] += 100  # is nobody's training time
        return np.eye(3)

    contestants = {"slow": contestant("slow", 5.0, 2), "fast": contestant("fast", 2.0, 4)}
    models, curves = time_to_accuracy.race(contestants, evaluate)
    assert turns == ["slow", "fast", "fast", "fast", "slow", "fast"]
    assert models == {"slow": "slow after 2", "fast": "fast after 4"}
    assert curves["slow"] == {"seconds": [5, 10], "validation_mean_iou": [1, 1]}
    assert curves["fast"]["seconds"] == [2, 4, 6, 8]


def test_ours_races_as_it_is_published(drawn_pets, monkeypatch):
    build = mobilenetv2_unet.mobilenetv2_unet
    options = {"alpha": 0.35, "weights": None, "widths": (8, 6, 4, 2)}

    def small(size, classes, decoder):
        return build(size, classes, decoder=decoder, **options)

    monkeypatch.setattr(time_to_accuracy.models, "mobilenetv2_unet", small)
    stages = [Stage(32, 2, 9, 1e-2, freeze_encoder=True), Stage(32, 1, 9, 1e-3)]
    starts = []
    for model in time_to_accuracy.ours(drawn_pets, stages):
        encoder = model.get_layer("encoder")
        starts.append((int(model.optimizer.iterations), bool(encoder.trainable_weights)))
    steps = data.count_examples(drawn_pets, "train") // 9
    assert starts == [(steps, False), (2 * steps, False), (steps, True)]


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
