"""Several devices and several processes come to what one comes to, step by step."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from backend_checks import LOSSES

from helpers import datasets, distribution, losses, pipeline
from helpers.datasets import folder, oxford_pets, synthetic_cells
from tests.test_pipeline import EXAMPLES

ROOT = Path(__file__).parents[1]
CLOSE = {"rtol": 0, "atol": 2e-6}  # float32, added up in another order


def begin(place, case, **variables):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.distribution_checks", str(place), case],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def on_tensorflow(tmp_path_factory):
    return end(begin(tmp_path_factory.mktemp("tensorflow"), "tensorflow"))


@pytest.fixture(autouse=True)
def synthetic(monkeypatch):
    monkeypatch.setenv("PETS_DATA", "synthetic")


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: experiments/distribution-requirements.txt")
    two = "--xla_force_host_platform_device_count=2"
    place = tmp_path_factory.mktemp("jax")
    return end(begin(place, "jax", KERAS_BACKEND="jax", XLA_FLAGS=two)), place


def check_same(one, other):
    np.testing.assert_allclose(one["steps"], other["steps"], **CLOSE)
    for name, values in one["history"].items():
        np.testing.assert_allclose(values, other["history"][name], **CLOSE)
    np.testing.assert_allclose(one["weights"], other["weights"], rtol=0, atol=2e-5)
    assert one["matrix"] == other["matrix"]
    # counts are summed exactly
    assert one["history"]["val_mean_dice"] == other["history"]["val_mean_dice"]


def check_seen(one, other):
    np.testing.assert_allclose(one["seen"], other["seen"], rtol=0, atol=1e-5)


def test_two_devices_of_tensorflow_come_to_what_one_does(on_tensorflow):
    check_same(on_tensorflow["one"], on_tensorflow["two"])
    check_seen(on_tensorflow["one"], on_tensorflow["two"])


def test_without_synchronized_batch_normalization_they_would_not(on_tensorflow):
    one, other = on_tensorflow["one"], on_tensorflow["not synchronized"]
    assert np.abs(np.subtract(one["steps"], other["steps"])).max() > 50 * CLOSE["atol"]


def test_a_training_resumes_on_another_number_of_devices(on_tensorflow):
    stopped, resumed = on_tensorflow["stopped"], on_tensorflow["resumed"]
    assert len(stopped["steps"]) == 4  # the last one in the second epoch
    resumed["steps"] = stopped["steps"][:3] + resumed["steps"]
    check_same(on_tensorflow["one"], resumed)


def test_what_cannot_be_right_is_refused_in_a_sentence(on_tensorflow):
    assert "scope of a MirroredStrategy: leave it" in on_tensorflow["in a scope"]
    assert "devices=3, but 2 are there" in on_tensorflow["too many"]
    assert "share the last training batch evenly: of 17 images" in on_tensorflow["uneven"]


def test_two_devices_of_jax_come_to_what_one_does(on_jax):
    found, _ = on_jax
    check_same(found["one"], found["two"])
    check_seen(found["one"], found["two"])
    assert "share the last validation batch evenly: of 1 images" in found["uneven"]


def test_two_processes_come_to_what_one_does_though_one_was_killed(on_jax, tmp_path):
    found, place = on_jax
    shutil.copytree(place / "data", tmp_path / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def both():
        known = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "KERAS_BACKEND": "jax"}
        known |= {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
        return [
            begin(tmp_path, "worker", KERAS_DISTRIBUTION_PROCESS_ID=str(number), **known)
            for number in range(2)
        ]

    chief, second = both()
    assert second.wait(timeout=600) == -9  # by itself, in the second epoch
    time.sleep(1)
    chief.kill()
    chief.communicate()
    second.communicate()
    shutil.copytree(tmp_path / "disk_0", tmp_path / "left")

    one, two = found["one, sharded"], [end(process) for process in both()]
    (alone,) = end(begin(tmp_path, "resumed", KERAS_BACKEND="jax")).values()
    parts = [worker["whole"] for worker in two]
    for resumed in (*parts, alone):  # by the same number of processes, and by another
        assert len(resumed["steps"]) == 3  # the second epoch alone
        check_same({**one, "steps": one["steps"][3:]}, resumed)
    # each read its own half; only the chief wrote, also where the other has a disk of its own
    for key, all_of_them in (("read", 18), ("decoded", 18 + 2)):
        names = [set(part[key]) for part in parts]
        assert len(names[0]) == len(names[1]) == all_of_them / 2
        assert names[0] | names[1] == set(one[key]) and not names[0] & names[1]
    assert "state.safetensors" in parts[0]["written"] and parts[1]["written"] == []
    assert not (tmp_path / "disk_1").exists()


def test_every_loss_is_a_mean_over_images():
    """So that devices may take an image each: none depends on two images at once."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 3, (4, 6, 6, 1)) * np.arange(1, 5).reshape(-1, 1, 1, 1) // 4
    logits = rng.normal(size=(4, 6, 6, 3)).astype("float32")
    kinds = [loss for loss, *_ in LOSSES.values()] + [losses.BoundaryLoss()]
    for loss in (*kinds, losses.CrossEntropy(class_weights="balanced")):
        each = [float(loss(ids[i : i + 1], logits[i : i + 1])) for i in range(4)]
        np.testing.assert_allclose(float(loss(ids, logits)), np.mean(each), rtol=1e-5)


# Shards


def images(batches):
    return [part[0].numpy() for part in batches]


@pytest.mark.parametrize("augmentation", [pipeline.augment, None])
def test_batches_are_the_same_whoever_makes_their_parts(augmentation):
    shards = {number: EXAMPLES.shard(4, number) for number in range(4)}

    def made(numbers, each, epoch=1):
        own = {number: shards[number] for number in numbers}
        return images(pipeline.sharded_batches(own, each, 3, augmentation, epoch))

    whole = made(range(4), 32)
    assert [len(batch) for batch in whole] == [32] * 6 + [8]
    halves = zip(made([0, 1], 16), made([2, 3], 16))
    for batch, parts in zip(whole, halves, strict=True):
        np.testing.assert_array_equal(batch, np.concatenate(parts))
    assert (made(range(4), 32, epoch=2)[0] != whole[0]).any()
    numbers = [n for _, masks in pipeline.sharded_batches(shards, 32, 3, None) for n in masks]
    assert sorted(int(mask[0, 0, 0]) for mask in numbers) == list(range(200))


def test_a_shard_reads_its_own_records_and_no_others(synthetic_dataset):
    parts = [datasets.shard(synthetic_dataset, "train", number, 3) for number in range(3)]
    names = [
        [r["file_name"].numpy().decode() for r in datasets.read_records(part, "train")]
        for part in (synthetic_dataset, *parts)
    ]
    assert [len(own) for own in names] == [18, 6, 6, 6] and names[0] == sum(names[1:], [])
    assert datasets.count_examples(parts[0], "train") == 6
    assert datasets.count_examples(parts[0], "validation") == 2
    assert len(list(datasets.read_records(parts[0], "validation"))) == 2


@pytest.mark.parametrize("number", range(2))
def test_what_is_not_in_a_shard_is_not_even_looked_at(synthetic_dataset, tmp_path, number):
    (builder,) = synthetic_dataset.read.args
    shutil.copytree(builder.data_dir_root, tmp_path, dirs_exist_ok=True)
    (file,) = tmp_path.rglob("*train.tfrecord*")
    content, place = bytearray(file.read_bytes()), 0
    for record in range(18):  # length, its checksum, content, its checksum
        size = int.from_bytes(content[place : place + 8], "little")
        if record // 9 != number:
            content[place + 12 + size // 2] ^= 255
        place += 16 + size
    file.write_bytes(content)
    pets = oxford_pets.open_pets(tmp_path)
    assert len(list(datasets.shard(pets, "train", number, 2).read("train"))) == 9
    for damaged in (pets, datasets.shard(pets, "train", 1 - number, 2)):
        with pytest.raises(tf.errors.DataLossError):
            list(damaged.read("train"))


def test_a_folder_is_read_in_parts_too(tmp_path, monkeypatch):
    synthetic_cells.write_folder(tmp_path, 12)
    found = folder.look(tmp_path / "images", tmp_path / "masks")
    cells, read, record = folder.dataset_of(found).dataset, [], folder._record
    monkeypatch.setattr(folder, "_record", lambda *a: read.append(a[1].pair.name) or record(*a))
    count = cells.sizes["train"]
    for number in range(2):
        list(datasets.shard(cells, "train", number, 2).read("train"))
        assert len(set(read)) == len(read) == (number + 1) * count / 2


@pytest.mark.parametrize(
    "subset, count, message",
    [
        ({}, 4, "4 shards cannot share the 18 examples"),
        ({"train": 8}, 2, "only be read as a whole"),
    ],
)
def test_what_cannot_be_shared_is_refused(synthetic_dataset, subset, count, message):
    with pytest.raises(ValueError, match=message):
        datasets.shard(datasets.subset(synthetic_dataset, **subset), "train", 0, count)


def test_processes_are_refused_where_keras_cannot(monkeypatch):
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    with pytest.raises(ValueError, match="backend tensorflow: Keras trains in several processes"):
        distribution.start()


def test_a_copy_has_what_the_network_had_frozen():
    import keras

    def build():
        inside = keras.Sequential(
            [keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 1), keras.layers.BatchNormalization()]
        )
        inputs = keras.Input((4, 4, 3))
        return keras.Model(inputs, keras.layers.Conv2D(1, 1)(inside(inputs)))

    model = build()
    model.layers[1].layers[0].trainable = False
    before = [weight + 1 for weight in model.get_weights()]
    model.set_weights(before)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "check_devices", lambda devices: None)
        patch.setattr(
            distribution, "_scope", lambda devices: distribution._mirrored("CPU:0").scope()
        )
        with distribution.replicated(model, build, 2) as copy:
            assert copy is not model and copy.layers[1].layers[1].synchronized
            assert len(copy.trainable_variables) == len(model.trainable_variables) == 4
            np.testing.assert_array_equal(copy.get_weights()[0], before[0])
            copy.trainable_variables[0].assign_add(tf.ones(2))
    assert not model.layers[1].layers[1].synchronized  # the copy's alone
    np.testing.assert_array_equal(model.trainable_variables[0].numpy(), before[2] + 1)
