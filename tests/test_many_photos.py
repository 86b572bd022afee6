"""Many photos by Apache Beam: what the plain command gives, each once, whatever ends a run."""

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import PIL.Image
import pytest

from tests import tiny

ROOT = Path(__file__).parents[1]
OWN = ROOT / ".venvs" / "many_photos" / "bin" / "python"  # by make many-photos
HERE = importlib.util.find_spec("apache_beam") is not None
PYTHON = sys.executable if HERE else str(OWN)
beam = pytest.mark.skipif(
    not HERE and not OWN.exists(), reason="Apache Beam is not installed: make many-photos"
)
TWO_WORKERS = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
BUCKET = """
import os
import shutil
from apache_beam.io.localfilesystem import LocalFileSystem
from experiments import many_photos

class Bucket(LocalFileSystem):  # its files lie in the folder of that name
    def __getattribute__(self, name):
        found = object.__getattribute__(self, name)
        if name not in ("_open", "_list", "create", "open", "rename", "exists"):
            return found
        return lambda *paths, **how: found(*map(here, paths), **how)

    def _list(self, folder):
        for found in LocalFileSystem._list(self, folder):
            found.path = "bucket://" + found.path
            yield found

    def metadata(self, path):
        files = self._list(path.rpartition("/")[0])
        return next(found for found in files if found.path.endswith(here(path)))

    scheme = classmethod(lambda cls: "bucket")
    has_dirs = lambda self: False
    mkdirs = lambda self, path: None
    join = lambda self, *parts: "/".join(part.rstrip("/") for part in parts)
    split = lambda self, path: tuple(path.rsplit("/", 1))

    def delete(self, paths):
        for path in here(paths):
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)

def here(path):
    return [*map(here, path)] if isinstance(path, list) else path.removeprefix("bucket://")

many_photos.main()
"""


def write_photos(folder, count):
    """Photos in a folder and in one in it."""
    for number in range(count):
        path = folder / ("more" if number % 3 else "") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels, _ = tiny.picture(number, (40 + number, 50), [0])
        PIL.Image.fromarray(pixels).save(path)
        os.utime(path, (1e9, 1e9))  # whole seconds, as a bucket may date it


def run(module, *options, start=("-m",), **how):
    command = [PYTHON, *start, module, *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **how)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def photos(tmp_path):
    """With a bad one, one whose results would be another one's, and a file that is no photo."""
    write_photos(tmp_path / "photos", 6)
    (tmp_path / "photos" / "0.png").write_bytes((tmp_path / "photos" / "0.jpg").read_bytes())
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"<html>")
    (tmp_path / "photos" / "notes.txt").write_text("no photo")
    return tmp_path / "photos"


@pytest.fixture
def plain(photos, tmp_path):
    """What the plain command writes of them, and what it says of each that fails."""
    out = tmp_path / "plain"
    said = run("helpers.prediction", photos, "--out", out, "--counts", out / "shares.csv")
    assert said.returncode == 1, said.stderr
    return contents(out), said.stderr.splitlines()[-2:]


def check(found, plain, photos):
    """They are the plain command's, byte for byte; of the table, the lines."""
    expected, (clash, bad) = {**plain[0]}, plain[1]
    tables = [files.pop("shares.csv").splitlines() for files in (found, expected)]
    assert sorted(tables[0]) == sorted(tables[1]) and tables[0][0] == tables[1][0]
    assert len(tables[0]) == 1 + 6 * 3
    failed = sorted(found.pop("failed.txt").decode().splitlines())
    assert failed[1] == bad and failed[0].startswith(clash.split(":")[0]) and len(failed) == 2
    assert found == expected and len(found) == 12


@beam
@pytest.mark.parametrize("workers", [(), TWO_WORKERS], ids=["one worker", "two workers"])
def test_results_are_those_of_the_plain_command(workers, photos, plain, tmp_path):
    out = tmp_path / "out"
    done = run("experiments.many_photos", photos, "--out", out, *workers)
    assert done.returncode == 1 and done.stderr.endswith(f"Why, says {out}/failed.txt.\n")
    said = "8 photos: 6 predicted, 0 done before, 0 made by this command, 2 failed.\n"
    assert done.stdout == said
    check(contents(out), plain, photos)


@beam
def test_a_bucket_gives_the_same(photos, plain, tmp_path):
    names = [f"bucket://{folder}/" for folder in (photos, tmp_path / "out")]
    for predicted in (6, 0):
        done = run(BUCKET, names[0], "--out", names[1], start=("-c",))
        assert f"8 photos: {predicted} predicted, {6 - predicted} done before" in done.stdout
        found = contents(tmp_path / "out")
        for name in ("shares.csv", "failed.txt"):
            found[name] = found[name].replace(b"bucket://", b"")
        check(found, plain, photos)


@beam
def test_a_run_that_was_killed_is_finished_and_predicts_nothing_twice(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_photos(photos, 30)
    command = [PYTHON, "-m", "experiments.many_photos", f"{photos}/**.jpg", "--out", out]
    killed = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while killed.poll() is None and len(list(out.rglob("*_overlay.png"))) < 5:
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -9
    (out / ".0123.partial").write_bytes(b"half")  # as a write that was killed leaves it
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*_overlay.png")}
    assert 5 <= len(before) < 30 and not (out / "shares.csv").exists()
    done = run("experiments.many_photos", f"{photos}/**.jpg", "--out", out)
    assert f"{30 - len(before)} predicted, {len(before)} done before" in done.stdout, done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    names = {name.rpartition("/")[2] for name in contents(out)}
    masks = {f"{number}_{kind}.png" for number in range(30) for kind in ("mask", "overlay")}
    assert names == masks | {"shares.csv", "failed.txt"} and not list(out.glob("beam-temp*"))
    assert len((out / "shares.csv").read_bytes().splitlines()) == 1 + 30 * 3
    assert (out / "failed.txt").read_bytes() == b""


@beam
def test_what_cannot_be_is_said_before_anything_is_written(photos, tmp_path):
    brackets = tmp_path / "photos [1]"
    brackets.mkdir()
    for options, words in (
        ([f"{photos}/*.tif"], "there are no photos of that name"),
        ([photos, "--mirror"], "--mirror is neither an option of this command nor of Beam's"),
        ([brackets], "Beam takes .* as a pattern, rename the folder"),
        ([photos, "--weights", "none.onnx"], "There is no file none.onnx"),
        ([photos, "--weights", "binary_unet"], "expected an exported network, .onnx or .tflite"),
    ):
        done = run("experiments.many_photos", *options, "--out", tmp_path / "out")
        assert done.returncode == 1 and re.search(words, done.stderr)
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()


@pytest.mark.skipif(HERE, reason="Apache Beam is installed")
def test_without_beam_a_sentence_says_what_to_do():
    command = [sys.executable, "-m", "experiments.many_photos", "photos/", "--out", "masks"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "many-photos-requirements.txt" in done.stderr
    assert "Traceback" not in done.stderr
