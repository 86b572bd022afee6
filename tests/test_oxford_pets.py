"""The data pipeline, mostly on the real TFDS builder fed with small made-up archives."""

import atexit
import contextlib
import errno
import io
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import requests
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.download import downloader

from helpers import data, network, synthetic_pets
from helpers.albumentations_augmentation import albumentations_augment
from helpers.augmentation import augment

REPOSITORY = pathlib.Path(__file__).parents[1]
OXFORD = tfds.builder_cls("oxford_iiit_pet")
ARCHIVES = ("images.tar.gz", "annotations.tar.gz")
SIZES = [(40, 60), (64, 48), (50, 50), (33, 71)]  # height, width
BREEDS = ["Abyssinian", "beagle", "Birman", "pug"]
VERSION = pathlib.Path("oxford_iiit_pet", "4.0.0")


# ------------------------------------------------------------------------------ made-up data


def encoded(array, form):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form)
    return buffer.getvalue()


def picture(number, size):
    """A noisy photograph and a noisy mask (1..3), as arrays."""
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(1, 4, size, np.uint8)


def put_archives(data_dir, train=20, test=10, sizes=SIZES, faults=None):
    """Fills ``downloads/manual`` with made-up archives.

    ``faults`` maps an example's name to its image and mask as (bytes, bytes). Returns the
    ``url_infos`` that make TFDS take these archives for the real ones.
    """
    manual = pathlib.Path(data_dir, "downloads", "manual")
    manual.mkdir(parents=True)
    images, annotations = {}, {}
    for split, count in (("trainval", train), ("test", test)):
        lines = []
        for i in range(count):
            number = i + (train if split == "test" else 0)
            name = f"{BREEDS[i % 4]}_{number + 200}"
            lines.append(f"{name} {i % 4 + 1} {i % 2 + 1} 1\n")
            photo, mask = picture(number, sizes[i % len(sizes)])
            photo, mask = (faults or {}).get(name) or (
                encoded(photo, "JPEG"),
                encoded(mask, "PNG"),
            )
            images[f"images/{name}.jpg"] = photo
            annotations[f"annotations/trimaps/{name}.png"] = mask
            annotations[f"annotations/xmls/{name}.xml"] = (
                b"<a><size><width>60</width><height>40</height></size><object><bndbox>"
                b"<xmax>30</xmax><xmin>6</xmin><ymax>20</ymax><ymin>4</ymin></bndbox></object></a>"
            )
        annotations[f"annotations/{split}.txt"] = "".join(lines).encode()
    for archive, files in zip(ARCHIVES, (images, annotations), strict=True):
        with tarfile.open(manual / archive, "w") as tar:
            for path, content in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    paths = {url: manual / info.filename for url, info in OXFORD.url_infos.items()}
    return {url: tfds.core.download.checksums.compute_url_info(p) for url, p in paths.items()}


def open_as(choice, data_dir, url_infos=None):
    """``open_pets`` with PETS_DATA set; for as long, ``url_infos`` stand for the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PETS_DATA", choice)
        if url_infos:
            patch.setattr(OXFORD, "url_infos", url_infos)
        return data.open_pets(data_dir)


@pytest.fixture(scope="module")
def oxford(tmp_path_factory):
    """20 train and 10 test examples, prepared by the real builder from made-up archives."""
    folder = tmp_path_factory.mktemp("oxford")
    return open_as("oxford", folder, put_archives(folder))


@pytest.fixture(scope="module")
def root(oxford):
    """The data folder of ``oxford``."""
    return pathlib.Path(oxford.builder.data_dir_root)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A data folder with drawn pets, few of them: a fallback then takes no time."""
    folder = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_pets, "SPLIT_SIZES", {"train": 4, "test": 2})
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


@pytest.fixture
def copy(root, tmp_path):
    """A copy of the prepared data that a test may damage."""
    shutil.copytree(root / VERSION, tmp_path / VERSION)
    return open_as("oxford", tmp_path)


def in_a_process(script, *arguments):
    """A Python process with drawn pets; the same hashes in each."""
    environment = {"PETS_DATA": "synthetic", "CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, **environment},
        cwd=REPOSITORY,
        text=True,
        **pipes,
    )


def file_names(pets, split):
    return [bytes(r["file_name"].numpy()).decode() for r in data.read_records(pets, split)]


def arrays(dataset):
    images, masks = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(images), np.stack(masks)


def records_file(pets, split):
    return next(pathlib.Path(pets.builder.data_dir).glob(f"*-{split}.tfrecord*"))


# ------------------------------------------------------------------------- where it comes from


@pytest.mark.parametrize("choice", ["oxford", "auto"])
def test_archives_in_the_manual_folder_need_no_network(choice, tmp_path, asked, capsys):
    pets = open_as(choice, tmp_path, put_archives(tmp_path))
    assert asked == []
    assert (pets.builder.info.full_name, data.count_examples(pets, "test")) == (
        "oxford_iiit_pet/4.0.0",
        10,
    )
    assert f"Data: {pets.name}, from {tmp_path / VERSION}" in capsys.readouterr().out


@pytest.mark.parametrize("choice", ["oxford", "auto"])
def test_prepared_data_is_taken_without_asking_the_network(choice, root, asked, capsys):
    assert open_as(choice, root).name.startswith("Oxford-IIIT Pet")
    assert asked == []
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_without_a_network_auto_takes_drawn_pets_and_says_so(drawn, asked, capsys):
    pets = open_as("auto", drawn)
    assert asked  # so the network was worth a try
    assert pets.name == "drawn pets (synthetic)"
    (line,) = capsys.readouterr().out.splitlines()
    assert "drawn pets (synthetic)" in line and "Oxford-IIIT Pet is not here" in line


def test_a_hanging_name_look_up_is_given_up_within_5_seconds(drawn, oxford, monkeypatch, capsys):
    assert network.PATIENCE < 5
    end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: end.wait(30) and [])
    start = time.monotonic()
    pets = open_as("auto", drawn)
    elapsed = time.monotonic() - start
    end.set()
    assert 0.9 * network.PATIENCE < elapsed < 5  # shorter: nobody waited for the look-up
    assert pets.name == "drawn pets (synthetic)"
    assert "does not answer" in capsys.readouterr().out


def test_a_host_that_answers_with_an_error_counts_as_silent(drawn, monkeypatch):
    response = requests.Response()
    response.status_code = 503
    monkeypatch.setattr(requests, "head", lambda *a, **k: response)
    monkeypatch.delattr(downloader._Downloader, "_sync_download")
    assert open_as("auto", drawn).name == "drawn pets (synthetic)"


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


def test_synthetic_asks_no_network_and_passes_over_real_data(root, drawn, tmp_path, asked, capsys):
    shutil.copytree(root / VERSION, tmp_path / VERSION)
    shutil.copytree(drawn / "synthetic_pets", tmp_path / "synthetic_pets")
    assert open_as("synthetic", tmp_path).name == "drawn pets (synthetic)"
    assert asked == []
    assert "as PETS_DATA asks" in capsys.readouterr().out


def test_unknown_choice_of_data_is_refused(tmp_path):
    with pytest.raises(ValueError, match="PETS_DATA='pets' is unknown: set it to auto"):
        open_as("pets", tmp_path)


@pytest.mark.parametrize("choice", ["oxford", "auto"])
@pytest.mark.parametrize(
    "error",
    [
        tfds.download.DownloadError("HTTP code: 404"),
        requests.ConnectionError("reset by peer"),
        requests.exceptions.ChunkedEncodingError("broke off"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failed_download_is_an_error_that_names_the_other_ways(
    choice, error, tmp_path, monkeypatch
):
    def fail(*args, **kwargs):
        raise error

    response = requests.Response()
    response.status_code = 200
    monkeypatch.setattr(requests, "head", lambda *a, **k: response)
    monkeypatch.setattr(downloader._Downloader, "_sync_download", fail)
    with pytest.raises(RuntimeError) as caught:
        open_as(choice, tmp_path)
    message = str(caught.value)
    assert str(error) in message and "PETS_DATA=synthetic" in message
    assert all(archive in message for archive in ARCHIVES)
    assert f"{tmp_path}/downloads/manual" in message and "Free some space" not in message


def test_a_wrong_archive_is_named(tmp_path):
    url_infos = put_archives(tmp_path)
    wrong = tmp_path / "downloads" / "manual" / "images.tar.gz"
    wrong.write_bytes(wrong.read_bytes() + b"0")
    with pytest.raises(
        RuntimeError, match=f"(?s){wrong}, has wrong checksum.* Put .*images.tar.gz"
    ):
        open_as("oxford", tmp_path, url_infos)


# ------------------------------------------------------------------- interrupted and full disks


def test_what_a_killed_preparation_leaves_disturbs_nothing(tmp_path):
    left = tmp_path / VERSION.parent / "incomplete.AB12CD_4.0.0"
    left.mkdir(parents=True)
    (left / "oxford_iiit_pet-train.tfrecord-00000-of-00001").write_bytes(b"half a rec")
    pets = open_as("oxford", tmp_path, put_archives(tmp_path))
    assert len(file_names(pets, "test")) == 10


@pytest.mark.parametrize("data_is", ["drawn", "oxford"])
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EROFS, "Read-only file system"),
        tf.errors.ResourceExhaustedError(None, None, "No space left on device"),
    ],
    ids=["full", "read-only", "full, says TensorFlow"],
)
def test_a_full_disk_is_one_clear_error_and_leaves_nothing_half_done(
    data_is, error, tmp_path, monkeypatch
):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(synthetic_pets, "SPLIT_SIZES", {"train": 2, "test": 2})
    drawn = data_is == "drawn"
    how = ("synthetic", tmp_path) if drawn else ("oxford", tmp_path, put_archives(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(tfds.core.writer.Writer, "finalize", fail)
        with pytest.raises(RuntimeError, match=f"in {tmp_path}.*TFDS_DATA_DIR") as caught:
            open_as(*how)
    assert str(getattr(error, "strerror", None) or error.message) in str(caught.value)
    name = "synthetic_pets" if drawn else "oxford_iiit_pet"
    assert list((tmp_path / name).iterdir()) == []
    assert data.count_examples(open_as(*how), "test") == (2 if drawn else 10)


@pytest.mark.parametrize("below", [".", "folder"])
def test_a_data_folder_that_cannot_be_is_one_clear_error(below, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="Not a directory.*set TFDS_DATA_DIR to a folder"):
        open_as("auto", tmp_path / "file" / below)


# What stands in the folder of a prepared data set beside its records.
DESCRIPTIONS = {
    "none": (lambda text: None, "describes no train and test"),
    "empty": (lambda text: "", "JSON"),
    "cut": (lambda text: text[:300], "JSON"),
    "another version": (lambda text: text.replace('"4.0.0"', '"3.2.0"'), "3.2.0"),
    "no test split": (lambda text: text.replace('"name": "test"', '"name": "tset"'), "and test"),
}


@pytest.mark.parametrize("choice", ["oxford", "auto"])
@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_prepared_data_without_its_description_is_not_taken(case, choice, root, tmp_path):
    change, why = DESCRIPTIONS[case]
    shutil.copytree(root / VERSION, tmp_path / VERSION)
    file = tmp_path / VERSION / "dataset_info.json"
    text = change(file.read_text())
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(
        RuntimeError, match=f"{tmp_path / VERSION} is there but .*{why}.*: delete it and run again"
    ):
        open_as(choice, tmp_path)


@pytest.mark.parametrize(
    "name, version", [("oxford_iiit_pet", "3.2.0"), ("synthetic_pets", "0.9.0")]
)
def test_another_version_beside_it_is_not_taken(name, version, root, drawn, tmp_path):
    source = next(((root if name == "oxford_iiit_pet" else drawn) / name).iterdir())
    shutil.copytree(source, tmp_path / name / version)
    if name == "oxford_iiit_pet":
        with pytest.raises(RuntimeError, match="is not prepared in .*4.0.0 and its host"):
            open_as("oxford", tmp_path)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_pets, "SPLIT_SIZES", {"train": 3, "test": 1})
        assert data.count_examples(open_as("synthetic", tmp_path), "test") == 1


# Runs in a process of its own, where from "limit" on no file may become larger.
ON_A_FULL_DISK = """
import resource, sys, tempfile, types
import psutil
from helpers import data, synthetic_pets
synthetic_pets.SPLIT_SIZES = {"train": 20, "test": 2}

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

limit(2000)
try:
    data.open_pets(sys.argv[1])
except RuntimeError as error:
    print("FIRST", error, flush=True)
limit(resource.RLIM_INFINITY)
pets = data.open_pets(sys.argv[1])
tempfile.tempdir = sys.argv[1]
psutil.virtual_memory = lambda: types.SimpleNamespace(available=0)
limit(2000)
try:
    data.load_split(pets, "train", 32)
except RuntimeError as error:
    print("SECOND", error, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_on_a_full_disk_neither_data_nor_cache_are_half_written(tmp_path):
    process = in_a_process(ON_A_FULL_DISK, tmp_path)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    first = "FIRST synthetic_pets could not be prepared in .*File too large.*TFDS_DATA_DIR"
    assert re.search(first, said), said
    second = "SECOND The train part could not be cached .*File too large.*TMPDIR"
    assert re.search(second, said), said
    assert [entry.name for entry in (tmp_path / "synthetic_pets").iterdir()] == ["1.0.0"]
    assert not list(tmp_path.glob("pets_cache_*"))


READ_ONLY = """
import os, sys
import tensorflow as tf
from helpers import data
if os.geteuid() == 0:  # root may write anywhere
    os.seteuid(65534)
data.open_pets(sys.argv[1])
"""


@pytest.mark.skipif(os.name != "posix", reason="needs the rights of POSIX")
def test_a_read_only_folder_is_one_clear_error(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o555)
    for above in tmp_path.parents[:2]:
        above.chmod(0o755)  # pytest's own are closed to others
    tmp_path.chmod(0o755)
    message = in_a_process(READ_ONLY, folder).communicate()[1]
    expected = f"RuntimeError: synthetic_pets could not be prepared in {folder}.*TFDS_DATA_DIR"
    assert re.search(expected, message), message
    assert "Permission denied" in message and list(folder.iterdir()) == []


# ------------------------------------------------------------------------ two processes at once

PREPARE = """
import sys
from helpers import data, synthetic_pets
synthetic_pets.SPLIT_SIZES = {"train": 20, "test": 2}
print("ready", flush=True)
sys.stdin.readline()
pets = data.open_pets(sys.argv[1])
for split in data.SPLITS:
    images = data.load_split(pets, split, 16)
    print(split, hash(tuple(x.tobytes() + y.tobytes() for x, y in images.as_numpy_iterator())))
"""


def test_two_processes_that_prepare_at_once_get_the_same_whole_data(tmp_path):
    processes = [in_a_process(PREPARE, tmp_path) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    first, second = (out.splitlines()[-3:] for out, _ in said)
    assert first == second and [line.split()[0] for line in first] == list(data.SPLITS)
    assert [entry.name for entry in (tmp_path / "synthetic_pets").iterdir()] == ["1.0.0"]


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
    pets = open_as("oxford", tmp_path, url_infos)
    assert len(arrays(data.load_split(pets, "test", 16))[0]) == 10
    assert [entry.name for entry in (tmp_path / VERSION).parent.iterdir()] == ["4.0.0"]


# ------------------------------------------------------------------------------------ downloads


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Archives that the host sends: name -> bytes, which a test may change; and what makes TFDS
    take them for the real ones."""
    elsewhere = tmp_path / "host"
    url_infos = put_archives(elsewhere)
    files = {p.name: p.read_bytes() for p in (elsewhere / "downloads/manual").iterdir()}

    @contextlib.contextmanager
    def send(url, **options):
        response = requests.Response()
        response.url = url
        yield response, [files[url.rsplit("/", 1)[-1]]]

    monkeypatch.setattr(downloader, "_open_url", send)
    monkeypatch.setattr(network, "answers", lambda url: True)
    return files, url_infos


@pytest.mark.parametrize("cut", [0.5, 0])
def test_a_truncated_download_is_not_taken_and_the_next_one_is(cut, served, tmp_path):
    files, url_infos = served
    whole = files["images.tar.gz"]
    files["images.tar.gz"] = whole[: int(cut * len(whole))]
    with pytest.raises(
        RuntimeError, match="(?s)images.tar.gz.* has wrong checksum.* Put .*images"
    ):
        open_as("auto", tmp_path, url_infos)
    assert list((tmp_path / VERSION).parent.iterdir()) == []
    files["images.tar.gz"] = whole
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
    archive.write_bytes(archive.read_bytes()[:end])
    with pytest.raises(RuntimeError, match="(?s)could not be prepared.* Put .*images.tar.gz"):
        open_as("oxford", tmp_path, url_infos)
    assert list((tmp_path / VERSION).parent.iterdir()) == []


def test_what_an_earlier_try_has_extracted_is_not_taken(tmp_path):
    url_infos = put_archives(tmp_path)
    old = tmp_path / "downloads/extracted/TAR_GZ.images.tar.gz/images"
    old.mkdir(parents=True)
    pets = open_as("oxford", tmp_path, url_infos)
    assert len(file_names(pets, "test")) == 10
    assert sorted(p.name for p in (tmp_path / "downloads").iterdir()) == ["extracted", "manual"]


# ------------------------------------------------------------------------------- splits, names


def test_validation_is_the_last_tenth_of_train(oxford):
    builder = oxford.builder
    whole = [bytes(r["file_name"]).decode() for r in tfds.as_numpy(builder.as_dataset("train"))]
    assert len(whole) == 20
    assert file_names(oxford, "train") == whole[:18]
    assert file_names(oxford, "validation") == whole[18:]


def test_splits_are_disjoint_and_together_all(oxford):
    names = [name for split in data.SPLITS for name in file_names(oxford, split)]
    assert len(set(names)) == len(names) == 30


def test_names_and_counts_in_words(oxford, drawn, capsys):
    name = "Oxford-IIIT Pet, 71-px copies"
    assert data.describe(oxford, "test") == f"{name}, official test split (10)"
    assert data.describe(oxford, "train", 5) == f"{name}, training part (5)"
    assert data.describe(oxford, "validation", 5) == f"{name}, validation part (2)"
    assert data.count_examples(oxford, "train") == 18
    assert data.count_examples(oxford, "train", 7) == 7
    pets = open_as("synthetic", drawn)
    assert data.describe(pets, "test") == "drawn pets (synthetic), test split (2)"
    info = SimpleNamespace(splits={"test": SimpleNamespace(num_examples=3669)})
    full = data.Pets(SimpleNamespace(info=info), "Oxford-IIIT Pet")
    assert data.describe(full, "test") == "Oxford-IIIT Pet, official test split (3,669)"


def test_photographs_of_full_size_get_no_note(tmp_path):
    url_infos = put_archives(tmp_path, 10, 1, sizes=[(40, 60), (400, 30)])
    assert open_as("oxford", tmp_path, url_infos).name == "Oxford-IIIT Pet"


# -------------------------------------------------------------------------------------- decode


def test_decode_resizes_the_image_smoothly_and_the_mask_by_nearest(oxford):
    for record in data.read_records(oxford, "test"):
        image, mask = data.decode(record, 16)
        photo = tf.io.decode_jpeg(record["image"])
        smooth = tf.image.resize(photo, (16, 16), method="bilinear", antialias=True)
        np.testing.assert_array_equal(image, np.round(smooth))
        stored = np.array(Image.open(io.BytesIO(record["segmentation_mask"].numpy())))
        rows, columns = (((np.arange(16) + 0.5) * side / 16).astype(int) for side in stored.shape)
        np.testing.assert_array_equal(mask[..., 0], stored[rows][:, columns] - 1)
        assert image.dtype == mask.dtype == tf.uint8 and mask.shape == (16, 16, 1)


NAME = "beagle_211"  # the first of two test examples
PHOTO, MASK = picture(0, (40, 60))
GOOD_PHOTO, GOOD_MASK = encoded(PHOTO, "JPEG"), encoded(MASK, "PNG")
FAULTS = {
    "value 0": (GOOD_PHOTO, encoded(MASK - 1, "PNG"), r"values \[0, 1, 2\], expected only 1"),
    "value 4": (GOOD_PHOTO, encoded(MASK + 1, "PNG"), r"values \[2, 3, 4\], expected only 1"),
    "other size": (GOOD_PHOTO, encoded(MASK[:, :30], "PNG"), "mask is 40x30, its image 40x60"),
    "turned": (GOOD_PHOTO, encoded(MASK.T, "PNG"), "mask is 60x40, its image 40x60"),
    "cut JPEG": (GOOD_PHOTO[: len(GOOD_PHOTO) // 2], GOOD_MASK, "image does not decode as JPEG"),
    "broken PNG": (GOOD_PHOTO, GOOD_MASK[:50] + GOOD_MASK[60:], "mask does not decode as PNG"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_faulty_record_is_named_with_its_fault(case, tmp_path):
    photo, mask, message = FAULTS[case]
    url_infos = put_archives(tmp_path, 10, 2, faults={NAME: (photo, mask)})
    with pytest.raises(ValueError, match=f"^{NAME}.jpg: .*{message}.*delete that folder"):
        data.load_split(open_as("oxford", tmp_path, url_infos), "test", 16)


def flip_bytes(file):
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = bytes(255 - b for b in content[middle : middle + 20])
    file.write_bytes(content)


def end_after_three_records(file):
    """Whole records, but not all of them: no checksum notices."""
    with tf.io.TFRecordWriter(f"{file}.new") as writer:
        for record in tf.data.TFRecordDataset(str(file)).take(3):
            writer.write(record.numpy())
    os.replace(f"{file}.new", file)


@pytest.mark.parametrize(
    "damage",
    [
        flip_bytes,
        lambda file: file.write_bytes(file.read_bytes()[:-100]),
        end_after_three_records,
        lambda file: file.unlink(),
    ],
    ids=["flipped bytes", "cut", "fewer records", "gone"],
)
def test_a_damaged_prepared_file_is_one_clear_error(damage, copy):
    damage(records_file(copy, "test"))
    folder = copy.builder.data_dir
    with pytest.raises(ValueError, match=f"'test' in {folder} is damaged .*delete that folder"):
        data.load_split(copy, "test", 16)


def test_no_fault_is_found_in_sound_splits(oxford):
    assert [data.find_fault(oxford, split) for split in data.SPLITS] == [None] * 3


# ---------------------------------------------------------------------------------- load_split


@pytest.fixture(params=["RAM", "file"])
def cache(request, monkeypatch, tmp_path):
    """Both kinds of cache; a file cache goes to tmp_path/cache_files."""
    if request.param == "file":
        (tmp_path / "cache_files").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "cache_files"))
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    return request.param


def test_all_examples_come_in_the_order_of_the_records(oxford, cache, tmp_path):
    records = list(data.read_records(oxford, "train"))
    dataset = data.load_split(oxford, "train", 16)
    images, masks = arrays(dataset)
    assert len(dataset) == len(images) == 18
    assert images.shape == (18, 16, 16, 3) and masks.shape == (18, 16, 16, 1)
    assert images.dtype == masks.dtype == np.uint8 and set(np.unique(masks)) == {0, 1, 2}
    for record, image, mask in zip(records, images, masks, strict=True):
        for expected, got in zip(data.decode(record, 16), (image, mask), strict=True):
            np.testing.assert_array_equal(expected, got)
    files = list(tmp_path.glob("cache_files/pets_cache_*"))
    assert len(files) == (1 if cache == "file" else 0)


def test_each_record_is_decoded_once_and_before_load_split_returns(copy, cache, monkeypatch):
    decoded, decode = [], data.decode

    def counting(record, size):
        image, mask = decode(record, size)
        count = tf.py_function(
            lambda name: decoded.append(name.numpy()), [record["file_name"]], []
        )
        with tf.control_dependencies([count]):
            return tf.identity(image), mask

    monkeypatch.setattr(data, "decode", counting)
    dataset = data.load_split(copy, "train", 16)
    records_file(copy, "train").unlink()
    first, second = arrays(dataset), arrays(dataset)
    np.testing.assert_array_equal(first[0], second[0])
    epochs = tf.data.Dataset.range(2)  # as training.fit has them
    for _ in epochs.flat_map(lambda number: data.training_batches(dataset, 4, 1, None, number)):
        pass
    assert len(decoded) == len(set(decoded)) == 18


def test_a_limit_takes_the_first_examples(oxford):
    some = data.load_split(oxford, "train", 16, limit=5)
    assert len(some) == 5
    np.testing.assert_array_equal(
        arrays(some)[0], arrays(data.load_split(oxford, "train", 16))[0][:5]
    )
    assert len(data.load_split(oxford, "test", 16, limit=99)) == 10


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("trian", 16), "split='trian' is unknown: expected one of train, validation, test"),
        (("test", 0), "size=0: expected"),
        (("test", -8), "size=-8: expected"),
        (("test", 16.0), r"size=16\.0: expected"),
        (("test", (16, 16)), r"size=\(16, 16\): expected"),
        (("test", 16, 0), "limit=0: expected 1 or more examples, or None"),
        (("test", 16, -1), "limit=-1: expected 1 or more examples, or None"),
    ],
)
def test_bad_arguments_are_explained(oxford, arguments, message):
    with pytest.raises(ValueError, match=message):
        data.load_split(oxford, *arguments)


def test_counting_refuses_an_empty_limit(oxford):
    with pytest.raises(ValueError, match="limit=0"):
        data.describe(oxford, "test", 0)


def test_the_file_cache_is_removed_at_exit(oxford, monkeypatch, tmp_path):
    at_exit = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    monkeypatch.setattr(atexit, "register", lambda *a, **options: at_exit.append((a, options)))
    data.load_split(oxford, "test", 16)
    assert len(list(tmp_path.iterdir())) == 1
    for (function, *arguments), options in at_exit:
        function(*arguments, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_is_not_blamed_on_the_data(oxford, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    with pytest.raises(RuntimeError, match="test part could not be cached .*Not a dir.*TMPDIR"):
        data.load_split(oxford, "test", 16)


def test_no_cache_is_taken_from_another_size_or_another_run(oxford, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    first = data.load_split(oxford, "test", 24)
    second = data.load_split(oxford, "test", 16)  # what is there is as a killed run leaves it
    assert arrays(first)[0].shape[1:3] == (24, 24) and arrays(second)[0].shape[1:3] == (16, 16)
    assert len(list(tmp_path.glob("pets_cache_*"))) == 2


@pytest.mark.parametrize("damage", ["flipped bytes", "cut"])
def test_a_cache_file_damaged_later_gives_no_wrong_images(damage, oxford, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    dataset = data.load_split(oxford, "test", 16)
    largest = max(tmp_path.rglob("*.snapshot"), key=lambda file: file.stat().st_size)
    if damage == "cut":
        largest.write_bytes(largest.read_bytes()[:-1000])
    else:
        flip_bytes(largest)
    with pytest.raises(tf.errors.OpError):
        arrays(dataset)


def test_tensorflow_has_no_truncated_cache_to_warn_of(root, tmp_path):
    """In a process of its own: only there TensorFlow's warnings can be switched on."""
    script = (
        "import sys, psutil, types; from helpers import data; pets = data.open_pets(sys.argv[1])\n"
        "for free in (psutil.virtual_memory().available, 0):\n"
        "    psutil.virtual_memory = lambda: types.SimpleNamespace(available=free)\n"
        "    dataset = data.load_split(pets, 'train', 16, limit=8)\n"
        "    for batches in data.evaluation_batches(dataset, 3), dataset:\n"
        "        print(len(next(iter(batches))))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, root],
        env={
            **os.environ,
            "PETS_DATA": "oxford",
            "TF_CPP_MIN_LOG_LEVEL": "0",
            "TMPDIR": str(tmp_path),
            "CUDA_VISIBLE_DEVICES": "",
        },
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split()[-4:] == ["2"] * 4
    assert "truncat" not in result.stderr and "fully read" not in result.stderr
    assert not list(tmp_path.glob("pets_cache_*"))  # atexit really ran


# ------------------------------------------------------------------------------------- batches


COUNT = 200


@pytest.fixture(scope="module")
def examples():
    """200 noisy images; the mask's value is the example's number, which no augmentation hides."""
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), np.uint8)
    masks = np.broadcast_to(
        np.arange(COUNT, dtype=np.uint8)[:, None, None, None], (COUNT, 8, 8, 1)
    )
    return tf.data.Dataset.from_tensor_slices((images, masks))


def epoch(batches):
    """One epoch as images and example numbers, in the order in which they came."""
    images, masks = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(masks)[:, 0, 0, 0]


@pytest.mark.parametrize("augmentation", [augment, albumentations_augment, None])
def test_an_epoch_has_each_example_once_and_keeps_the_last_small_batch(examples, augmentation):
    batches = data.training_batches(examples, 32, seed=1, augmentation=augmentation)
    sizes = [len(masks) for _, masks in batches]
    assert len(batches) == len(sizes) == 7 and sizes == [32] * 6 + [8]
    assert sorted(epoch(batches)[1]) == list(range(COUNT))
    (images, masks), shape = batches.element_spec, (None, 8, 8)
    assert (images.shape, masks.shape) == ((*shape, 3), (*shape, 1))
    assert images.dtype == masks.dtype == tf.uint8


def test_the_shuffle_spans_the_whole_dataset(examples):
    epochs = [data.training_batches(examples, 4, 1, None, number) for number in range(10)]
    firsts = np.concatenate([next(iter(e))[1].numpy()[:, 0, 0, 0] for e in epochs])
    assert firsts.min() < COUNT / 10 and firsts.max() > COUNT * 9 / 10


def test_epochs_differ_in_order_and_in_views(examples):
    first, order = epoch(data.training_batches(examples, 32, seed=1))
    second, other_order = epoch(data.training_batches(examples, 32, seed=1, epoch=1))
    assert (order != other_order).mean() > 0.9
    views = first[np.argsort(order)] == second[np.argsort(other_order)]
    assert not views.all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize("augmentation", [augment, albumentations_augment])
def test_an_epoch_follows_from_its_seed_and_number_alone(examples, augmentation):
    def run(seed, number):
        return epoch(data.training_batches(examples, 32, seed, augmentation, number))[0]

    last = run(1, 3)
    np.testing.assert_array_equal(run(1, 3), last)
    assert (run(2, 3) != last).any(axis=(1, 2, 3)).mean() > 0.9
    # one after the other in a graph, as fit has them
    numbers = tf.data.Dataset.range(2, 4)
    batches = numbers.flat_map(
        lambda number: data.training_batches(examples, 32, 1, augmentation, number)
    )
    np.testing.assert_array_equal(epoch(batches)[0], np.concatenate([run(1, 2), last]))


def test_memory_does_not_grow_with_epochs():
    count, size = 1000, 64  # 16 MB an epoch
    images = np.zeros((count, size, size, 3), np.uint8)
    dataset = tf.data.Dataset.from_tensor_slices((images, images[..., :1])).cache()
    epochs = tf.data.Dataset.range(12)
    batches = epochs.flat_map(lambda number: data.training_batches(dataset, 50, 1, epoch=number))
    held = []
    for number, _ in enumerate(batches):
        if number % (count // 50) == 0:
            held.append(psutil.Process().memory_info().rss / 1e6)
    assert len(held) == 12
    assert max(held[2:]) - held[1] < 60  # MB; ten epochs that stayed would be 160


def test_without_augmentation_the_images_stay_as_they_are(examples):
    images, order = epoch(data.training_batches(examples, 32, seed=1, augmentation=None))
    np.testing.assert_array_equal(images[np.argsort(order)], arrays(examples)[0])


def test_evaluation_keeps_the_order_and_drops_nothing(examples):
    batches = data.evaluation_batches(examples, 32)
    images, order = epoch(batches)
    assert len(batches) == 7 and order.tolist() == list(range(COUNT))
    np.testing.assert_array_equal(images, arrays(examples)[0])


# ----------------------------------------------------------------------------------- real data


@pytest.fixture(scope="module")
def real():
    if not tfds.builder(data.OXFORD).info.splits:
        pytest.skip("Oxford-IIIT Pet is not prepared here")
    return open_as("oxford", None)


@pytest.mark.real_data
def test_the_real_splits_are_disjoint_and_of_the_official_sizes(real):
    names = {split: file_names(real, split) for split in data.SPLITS}
    assert [len(n) for n in names.values()] == [3312, 368, 3669]
    assert len(set().union(*names.values())) == 7349


@pytest.mark.real_data
def test_the_real_masks_hold_three_classes_in_the_known_shares(real):
    counts = np.zeros(256, np.int64)
    for split in data.SPLITS:
        for _, masks in data.load_split(real, split, 64).batch(256):
            counts += np.bincount(masks.numpy().ravel(), minlength=256)
    assert counts[3:].sum() == 0
    # Counted once with PIL on the prepared masks at their stored size.
    np.testing.assert_allclose(counts[:3] / counts.sum(), [0.301, 0.580, 0.118], atol=0.003)
