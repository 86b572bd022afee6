"""Oxford-IIIT Pet: taken, prepared or replaced. The real TFDS builder, fed with small archives."""

import io
import os
import pathlib
import shutil
import socket
import tarfile
import threading
import time

import numpy as np
import pytest
import requests
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader

from helpers import datasets, downloads, pipeline
from helpers.datasets import oxford_pets
from helpers.datasets.synthetic_pets import builder as synthetic_pets
from tests.tiny import encoded, picture

OXFORD = tfds.builder_cls("oxford_iiit_pet")
SIZES = [(40, 60), (64, 48), (50, 50), (33, 71)]  # height, width
VERSION = pathlib.Path("oxford_iiit_pet", "4.0.0")
BOX = b"""<a><size><width>60</width><height>40</height></size><object><bndbox><xmax>30</xmax>
<xmin>6</xmin><ymax>20</ymax><ymin>4</ymin></bndbox></object></a>"""


def put_archives(data_dir, sizes=SIZES):
    """Fills ``downloads/manual`` with archives of 20 train and 10 test examples. Returns the
    ``url_infos`` that make TFDS take these for the real ones."""
    manual = pathlib.Path(data_dir, "downloads", "manual")
    manual.mkdir(parents=True)
    images, annotations = {}, {}
    for number in range(30):
        name, split = f"pet_{number + 200}", "trainval" if number < 20 else "test"
        photo, mask = picture(number, sizes[number % len(sizes)], [1, 2, 3])
        images[f"images/{name}.jpg"] = encoded(photo, "JPEG")
        annotations[f"annotations/trimaps/{name}.png"] = encoded(mask)
        annotations[f"annotations/xmls/{name}.xml"] = BOX
        listed = annotations.get(f"annotations/{split}.txt", b"")
        listed += f"{name} {number % 4 + 1} {number % 2 + 1} 1\n".encode()
        annotations[f"annotations/{split}.txt"] = listed
    infos = {}
    for url, info in OXFORD.url_infos.items():
        with tarfile.open(manual / info.filename, "w") as tar:
            for path, content in (images if "images" in url else annotations).items():
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        infos[url] = tfds.core.download.checksums.compute_url_info(manual / info.filename)
    return infos


def open_as(choice, data_dir, url_infos=None):
    """``open_pets`` with PETS_DATA set; for as long, ``url_infos`` stand for the real ones, and
    few synthetic pets are drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PETS_DATA", choice)
        patch.setattr(synthetic_pets, "SPLIT_SIZES", {"train": 4, "test": 2})
        if url_infos:
            patch.setattr(OXFORD, "url_infos", url_infos)
        return oxford_pets.open_pets(data_dir)


def file_names(pets, split):
    return [r["file_name"].numpy().decode() for r in datasets.read_records(pets, split)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data folder with prepared archives and a few synthetic pets."""
    folder = tmp_path_factory.mktemp("data")
    open_as("oxford", folder, put_archives(folder))
    open_as("synthetic", folder)
    return folder


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """What was asked of the network, which no test reaches."""
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise OSError("the network is shut")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return attempts


def answer(monkeypatch, status):
    response = requests.Response()
    response.status_code = status
    monkeypatch.setattr(requests, "head", lambda *a, **k: response)


# Where it comes from


@pytest.mark.parametrize("choice", ["oxford", "auto"])
def test_archives_in_the_manual_folder_need_no_network(choice, tmp_path, asked, capsys):
    pets = open_as(choice, tmp_path, put_archives(tmp_path))
    assert asked == [] and datasets.count_examples(pets, "test") == 10
    assert f"Data: {pets.name}, from {tmp_path / VERSION}" in capsys.readouterr().out


@pytest.mark.parametrize("choice, name", [("oxford", "Ox"), ("auto", "Ox"), ("synthetic", "syn")])
def test_prepared_data_is_taken_without_asking_the_network(choice, name, root, asked, capsys):
    assert open_as(choice, root).name.startswith(name)
    assert asked == [] and len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize("network", ["shut", "hangs", "answers with an error"])
def test_without_a_network_auto_takes_synthetic_pets(network, root, tmp_path, monkeypatch, capsys):
    shutil.copytree(root / "synthetic_pets", tmp_path / "synthetic_pets")
    assert downloads.PATIENCE < 5
    if network == "hangs":
        monkeypatch.setattr(downloads, "PATIENCE", 0.5)
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda *a, **k: threading.Event().wait(30) or []
        )
    elif network != "shut":
        answer(monkeypatch, 503)
    start = time.monotonic()
    assert open_as("auto", tmp_path).name == "synthetic pets" and time.monotonic() - start < 5
    (line,) = capsys.readouterr().out.splitlines()
    assert "synthetic pets" in line and "its host does not answer" in line


def test_oxford_without_data_and_network_says_what_to_put_where(tmp_path):
    with pytest.raises(RuntimeError) as error:
        open_as("oxford", tmp_path)
    for words in (
        "images.tar.gz (792 MB, https://",
        "annotations.tar.gz (19 MB, https://",
        f"into {tmp_path}/downloads/manual",
        "PETS_DATA=synthetic",
    ):
        assert words in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("choice", ["oxford", "auto"])
def test_a_failed_download_is_an_error_that_names_the_other_ways(choice, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise requests.ConnectionError("reset by peer")

    answer(monkeypatch, 200)
    monkeypatch.setattr(downloader._Downloader, "_sync_download", fail)
    with pytest.raises(RuntimeError, match="reset by peer.* Put .*images.tar.gz.*=synthetic"):
        open_as(choice, tmp_path)


# What is interrupted, incomplete or cannot be written


FULL = tf.errors.ResourceExhaustedError(None, None, "No space left"), OSError(28, "No space left")


@pytest.mark.parametrize("choice", ["oxford", "synthetic"])
@pytest.mark.parametrize("error", FULL, ids=["TensorFlow's", "Python's"])
def test_what_cannot_be_written_is_one_clear_error_and_not_half_done(choice, error, tmp_path):
    def fail(*args, **kwargs):
        raise error

    url_infos = put_archives(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.writer.Writer, "finalize", fail)
        with pytest.raises(RuntimeError, match=f"in {tmp_path}.*No space left.*TFDS_DATA_DIR"):
            open_as(choice, tmp_path, url_infos)
    assert not list(tmp_path.glob("*_pet*/*"))
    assert datasets.count_examples(open_as(choice, tmp_path, url_infos), "train") > 0


def test_a_data_folder_that_cannot_be_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="Not a directory.*set TFDS_DATA_DIR to a folder"):
        open_as("auto", tmp_path / "file")


def test_what_a_killed_preparation_leaves_disturbs_nothing(tmp_path):
    left = tmp_path / VERSION.parent / "incomplete.AB12CD_4.0.0"
    left.mkdir(parents=True)
    (left / "oxford_iiit_pet-train.tfrecord-00000-of-00001").write_bytes(b"half a rec")
    (tmp_path / "downloads/extracted/TAR_GZ.images.tar.gz/images").mkdir(parents=True)
    pets = open_as("oxford", tmp_path, put_archives(tmp_path))
    assert len(file_names(pets, "test")) == 10
    assert sorted(p.name for p in (tmp_path / "downloads").iterdir()) == ["extracted", "manual"]


@pytest.mark.parametrize(
    "old, new, why",
    [
        (None, None, "describes no train and test"),
        ("{", "", "JSON"),
        ('"4.0.0"', '"3.2.0"', "3.2.0"),
        ('"name": "test"', '"name": "tset"', "and test"),
    ],
)
def test_prepared_data_without_its_description_is_not_taken(old, new, why, root, tmp_path):
    folder = shutil.copytree(root / VERSION, tmp_path / VERSION)
    file = folder / "dataset_info.json"
    file.write_text(file.read_text().replace(old, new)) if old else file.unlink()
    with pytest.raises(RuntimeError, match=f"{folder} is there but .*{why}.*: delete it and run"):
        open_as("auto", tmp_path)
    folder.rename(folder.with_name("3.2.0"))  # another version beside it
    with pytest.raises(RuntimeError, match="is not prepared in .*4.0.0 and its host"):
        open_as("oxford", tmp_path)


@pytest.mark.parametrize("moment", ["download_and_prepare", "_download_and_prepare"])
def test_what_another_process_prepared_in_the_meantime_is_taken(moment, tmp_path, monkeypatch):
    """Before TFDS looks at the folder, or while it prepares the same."""
    url_infos = put_archives(tmp_path)
    kind = tfds.core.DatasetBuilder if moment[0] == "d" else tfds.core.GeneratorBasedBuilder
    prepare = getattr(kind, moment)

    def second(builder, *arguments, **options):
        monkeypatch.setattr(kind, moment, prepare)
        open_as("oxford", tmp_path, url_infos)
        return prepare(builder, *arguments, **options)

    monkeypatch.setattr(kind, moment, second)
    assert len(file_names(open_as("oxford", tmp_path, url_infos), "test")) == 10
    assert [entry.name for entry in (tmp_path / VERSION).parent.iterdir()] == ["4.0.0"]


# What is prepared


def test_validation_is_the_last_tenth_of_train_and_nothing_is_in_two_splits(root):
    train = tfds.builder("oxford_iiit_pet", data_dir=root).as_dataset(split="train")
    names = [record["file_name"].numpy().decode() for record in train]
    pets = open_as("oxford", root)
    assert file_names(pets, "train") == names[:18] and file_names(pets, "validation") == names[18:]
    assert len({*names, *file_names(pets, "test")}) == 30


def test_small_photographs_are_called_copies(root, tmp_path):
    name = "Oxford-IIIT Pet, 71-px copies, official test split (10)"
    assert datasets.describe(open_as("oxford", root), "test") == name
    full_size = open_as("oxford", tmp_path, put_archives(tmp_path, [(40, 60), (400, 30)]))
    assert full_size.name == "Oxford-IIIT Pet"


def keep_three_records(file):  # no checksum notices
    records = list(tf.data.TFRecordDataset(str(file)).take(3).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)


@pytest.mark.parametrize(
    "damage", [lambda file: os.truncate(file, 9999), keep_three_records, os.unlink]
)
def test_a_damaged_prepared_file_is_one_clear_error(damage, root, tmp_path):
    folder = shutil.copytree(root / VERSION, tmp_path / VERSION)
    pets = open_as("oxford", tmp_path)
    damage(next(folder.glob("*-test.tfrecord*")))
    with pytest.raises(ValueError, match=f"test split is damaged .*{folder}.*delete that folder"):
        pipeline.load_split(pets, "test", 16)


@pytest.mark.real_data
def test_the_real_splits_and_masks_are_what_they_are_known_to_be():
    if not tfds.builder(oxford_pets.OXFORD).info.splits:
        pytest.skip("Oxford-IIIT Pet is not prepared here")
    pets = open_as("oxford", None)
    names = [file_names(pets, split) for split in datasets.SPLITS]
    assert [len(split) for split in names] == [3312, 368, 3669] and len({*sum(names, [])}) == 7349
    masks = [mask.numpy() for _, mask in pipeline.load_split(pets, "validation", 64)]
    # Counted once with PIL on all prepared masks at their stored size.
    shares = np.bincount(np.ravel(masks)) / np.size(masks)
    np.testing.assert_allclose(shares, [0.301, 0.580, 0.118], atol=0.02)
