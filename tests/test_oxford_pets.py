"""Oxford-IIIT Pet: taken, prepared or replaced. The real TFDS builder, fed with small archives."""

import contextlib
import errno
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
ARCHIVES = ("images.tar.gz", "annotations.tar.gz")
SIZES = [(40, 60), (64, 48), (50, 50), (33, 71)]  # height, width
BREEDS = ["Abyssinian", "beagle", "Birman", "pug"]
VERSION = pathlib.Path("oxford_iiit_pet", "4.0.0")


def put_archives(data_dir, sizes=SIZES):
    """Fills ``downloads/manual`` with archives of 20 train and 10 test examples. Returns the
    ``url_infos`` that make TFDS take these for the real ones."""
    manual = pathlib.Path(data_dir, "downloads", "manual")
    manual.mkdir(parents=True)
    images, annotations = {}, {"trainval": "", "test": ""}
    for number in range(30):
        split, name = "trainval" if number < 20 else "test", f"{BREEDS[number % 4]}_{number + 200}"
        photo, mask = picture(number, sizes[number % len(sizes)], [1, 2, 3])
        images[f"images/{name}.jpg"] = encoded(photo, "JPEG")
        annotations[f"trimaps/{name}.png"] = encoded(mask)
        annotations[f"xmls/{name}.xml"] = (
            "<a><size><width>60</width><height>40</height></size><object><bndbox><xmax>30</xmax>"
            "<xmin>6</xmin><ymax>20</ymax><ymin>4</ymin></bndbox></object></a>"
        )
        annotations[split] += f"{name} {number % 4 + 1} {number % 2 + 1} 1\n"
    for split in ("trainval", "test"):
        annotations[f"{split}.txt"] = annotations.pop(split)
    annotations = {f"annotations/{path}": content for path, content in annotations.items()}
    for archive, files in zip(ARCHIVES, (images, annotations)):
        with tarfile.open(manual / archive, "w") as tar:
            for path, content in files.items():
                source = manual / "file"
                source.write_bytes(content.encode() if isinstance(content, str) else content)
                tar.add(source, path)
    source.unlink()
    paths = {url: manual / info.filename for url, info in OXFORD.url_infos.items()}
    return {url: tfds.core.download.checksums.compute_url_info(p) for url, p in paths.items()}


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


@pytest.fixture
def without_oxford(root, tmp_path):
    shutil.copytree(root / "synthetic_pets", tmp_path / "synthetic_pets")
    return tmp_path


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


def answers(monkeypatch, status):
    response = requests.Response()
    response.status_code = status
    monkeypatch.setattr(requests, "head", lambda *a, **k: response)


# ------------------------------------------------------------------------- where it comes from


@pytest.mark.parametrize("choice", ["oxford", "auto"])
def test_archives_in_the_manual_folder_need_no_network(choice, tmp_path, asked, capsys):
    pets = open_as(choice, tmp_path, put_archives(tmp_path))
    assert asked == [] and datasets.count_examples(pets, "test") == 10
    assert f"Data: {pets.name}, from {tmp_path / VERSION}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "choice, name", [("oxford", "Oxford"), ("auto", "Oxford"), ("synthetic", "synthetic")]
)
def test_prepared_data_is_taken_without_asking_the_network(choice, name, root, asked, capsys):
    assert open_as(choice, root).name.startswith(name)
    assert asked == [] and len(capsys.readouterr().out.splitlines()) == 1


def hang(monkeypatch):
    monkeypatch.setattr(downloads, "PATIENCE", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: threading.Event().wait(30))


@pytest.mark.parametrize("network", ["shut", "hangs", "answers with an error"])
def test_without_a_network_auto_takes_synthetic_pets_and_says_so(
    network, without_oxford, monkeypatch, capsys
):
    if network == "hangs":
        hang(monkeypatch)
    elif network != "shut":
        answers(monkeypatch, 503)
    start = time.monotonic()
    assert open_as("auto", without_oxford).name == "synthetic pets"
    assert downloads.PATIENCE < 5 and time.monotonic() - start < 5
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

    answers(monkeypatch, 200)
    monkeypatch.setattr(downloader._Downloader, "_sync_download", fail)
    with pytest.raises(RuntimeError, match="reset by peer.* Put .*images.tar.gz") as error:
        open_as(choice, tmp_path)
    assert "PETS_DATA=synthetic" in str(error.value) and "Free some space" not in str(error.value)


# ------------------------------------------------------------------- interrupted and full disks


@contextlib.contextmanager
def full_disk(folder):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.writer.Writer, "finalize", fail)
        yield "No space left"


@contextlib.contextmanager
def read_only(folder):
    root, mode = os.geteuid() == 0, folder.stat().st_mode  # root may write anywhere
    for above in (folder, *folder.parents[:3]):
        above.chmod(0o755)  # pytest's own are closed to others
    folder.chmod(0o555)
    if root:
        os.seteuid(65534)
    try:
        yield "Permission denied"
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(mode)


@pytest.mark.skipif(os.name != "posix", reason="needs the rights and limits of POSIX")
@pytest.mark.parametrize("choice", ["oxford", "synthetic"])
@pytest.mark.parametrize("fault", [full_disk, read_only])
def test_what_cannot_be_written_is_one_clear_error_and_nothing_half_done(choice, fault, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    url_infos = put_archives(folder)
    with fault(folder) as why:
        with pytest.raises(RuntimeError, match=rf"(?s)in {folder}.*{why}.*TFDS_DATA_DIR"):
            open_as(choice, folder, url_infos)
    assert not list(folder.glob("*_pet*/*"))
    assert datasets.count_examples(open_as(choice, folder, url_infos), "train") > 0


def test_a_data_folder_that_cannot_be_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="Not a directory.*set TFDS_DATA_DIR to a folder"):
        open_as("auto", tmp_path / "file")


def test_what_a_killed_preparation_leaves_disturbs_nothing(tmp_path):
    left = tmp_path / VERSION.parent / "incomplete.AB12CD_4.0.0"
    left.mkdir(parents=True)
    (left / "oxford_iiit_pet-train.tfrecord-00000-of-00001").write_bytes(b"half a rec")
    (tmp_path / "downloads/extracted/TAR_GZ.images.tar.gz/images").mkdir(parents=True)
    url_infos = put_archives(tmp_path)
    assert len(file_names(open_as("oxford", tmp_path, url_infos), "test")) == 10
    assert sorted(p.name for p in (tmp_path / "downloads").iterdir()) == ["extracted", "manual"]


# What stands in the folder of a prepared data set beside its records.
DESCRIPTIONS = {
    "none": (None, None, "describes no train and test"),
    "cut": (300, "", "JSON"),
    "another version": ('"4.0.0"', '"3.2.0"', "3.2.0"),
    "no test split": ('"name": "test"', '"name": "tset"', "and test"),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_prepared_data_without_its_description_is_not_taken(case, root, tmp_path):
    old, new, why = DESCRIPTIONS[case]
    file = shutil.copytree(root / VERSION, tmp_path / VERSION) / "dataset_info.json"
    text = file.read_text()
    file.write_text(text[:old] if case == "cut" else text.replace(old or "", new or ""))
    if case == "none":
        file.unlink()
    with pytest.raises(
        RuntimeError, match=f"{tmp_path / VERSION} is there but .*{why}.*: delete it and run again"
    ):
        open_as("auto", tmp_path)


def test_another_version_beside_it_is_not_taken(root, tmp_path):
    shutil.copytree(root / VERSION, tmp_path / "oxford_iiit_pet" / "3.2.0")
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


# ------------------------------------------------------------------------------------ downloads


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Archives that the host sends: name -> bytes, which a test may change; and what makes TFDS
    take them for the real ones."""
    url_infos = put_archives(tmp_path / "host")
    files = {p.name: p.read_bytes() for p in (tmp_path / "host/downloads/manual").iterdir()}

    @contextlib.contextmanager
    def send(url, **options):
        response = requests.Response()
        response.url = url
        yield response, [files[url.rsplit("/", 1)[-1]]]

    monkeypatch.setattr(downloader, "_open_url", send)
    answers(monkeypatch, 200)
    return files, url_infos


def test_a_truncated_download_is_not_taken_and_the_next_one_is(served, tmp_path):
    files, url_infos = served
    all_of_it = files["images.tar.gz"]
    files["images.tar.gz"] = all_of_it[: len(all_of_it) // 2]
    with pytest.raises(RuntimeError, match="(?s)images.tar.gz.* has wrong checksum.* Put .*ima"):
        open_as("auto", tmp_path, url_infos)
    assert list((tmp_path / VERSION).parent.iterdir()) == []
    files["images.tar.gz"] = all_of_it
    assert len(file_names(open_as("auto", tmp_path, url_infos), "test")) == 10


@pytest.mark.parametrize("where", ["inside a file", "between two files"])
def test_a_download_cut_on_the_disk_is_not_taken(where, served, tmp_path):
    _, url_infos = served
    open_as("oxford", tmp_path, url_infos)
    shutil.rmtree(tmp_path / VERSION)
    archive = max((tmp_path / "downloads").rglob("*.gz"), key=lambda file: file.stat().st_size)
    with tarfile.open(archive) as tar:
        last = tar.getmembers()[-1]
    end = last.offset if where == "between two files" else last.offset_data + last.size // 2
    os.truncate(archive, end)
    with pytest.raises(RuntimeError, match="(?s)could not be prepared.* Put .*images.tar.gz"):
        open_as("oxford", tmp_path, url_infos)
    assert list((tmp_path / VERSION).parent.iterdir()) == []


# ------------------------------------------------------------------------------ what is prepared


def test_validation_is_the_last_tenth_of_train_and_nothing_is_in_two_splits(root):
    pets = open_as("oxford", root)
    train = tfds.builder("oxford_iiit_pet", data_dir=root).as_dataset(split="train")
    names = [name.decode() for name in train.map(lambda r: r["file_name"]).as_numpy_iterator()]
    assert [file_names(pets, split) for split in ("train", "validation")] == [
        names[:18],
        names[18:],
    ]
    assert len({*names, *file_names(pets, "test")}) == 30


def test_small_photographs_are_called_copies(root, tmp_path):
    name = "Oxford-IIIT Pet, 71-px copies, official test split (10)"
    assert datasets.describe(open_as("oxford", root), "test") == name
    assert (
        datasets.describe(open_as("synthetic", root), "test") == "synthetic pets, test split (2)"
    )
    full_size = open_as("oxford", tmp_path, put_archives(tmp_path, [(40, 60), (400, 30)]))
    assert full_size.name == "Oxford-IIIT Pet"


def flip_bytes(file):
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = bytes(255 - b for b in content[middle : middle + 20])
    file.write_bytes(content)


def keep_three_records(file):  # no checksum notices
    records = list(tf.data.TFRecordDataset(str(file)).take(3).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)


@pytest.mark.parametrize(
    "damage",
    [flip_bytes, keep_three_records, lambda file: os.truncate(file, 9999), os.unlink],
    ids=["flipped bytes", "fewer records", "cut", "gone"],
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
    names = {split: file_names(pets, split) for split in datasets.SPLITS}
    assert [len(n) for n in names.values()] == [3312, 368, 3669]
    assert len(set().union(*names.values())) == 7349
    masks = pipeline.load_split(pets, "validation", 64).map(lambda image, mask: mask)
    counts = np.bincount(np.ravel(list(masks)), minlength=3)
    # Counted once with PIL on all prepared masks at their stored size.
    np.testing.assert_allclose(counts / counts.sum(), [0.301, 0.580, 0.118], atol=0.02)
