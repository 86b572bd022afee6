"""A file is written completely or not at all, and where that is hard, once more."""

import errno
import os
import pathlib

import pytest

from helpers import files


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(files, "PATIENCE", (0, 0))


def failing(monkeypatch, step, number, times=1):
    """Lets a step of os fail so often, from its first call on."""
    real, calls = getattr(os, step), []

    def fail(*arguments, **settings):
        calls.append(arguments)
        if len(calls) <= times:
            raise OSError(number, os.strerror(number))
        return real(*arguments, **settings)

    monkeypatch.setattr(os, step, fail)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_written_can_be_read(tmp_path):
    longest = "é" * 120 + ".safetensors"  # of 252 bytes
    for content in (b"old", b"new"):
        files.write(str(tmp_path / "deep" / "er" / longest), content)
    assert contents(tmp_path / "deep" / "er") == {longest: b"new"}


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path, monkeypatch, step, error):
    def fail(*arguments, **settings):
        raise error

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        files.write(tmp_path / "file", b"new")
    assert contents(tmp_path) == {"file": b"old"}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EPERM])
def test_a_mount_that_cannot_sync_or_change_modes_can_be_written_to(tmp_path, monkeypatch, number):
    for step in ("fsync", "chmod", "fchmod"):
        failing(monkeypatch, step, number, times=99)
    files.write(tmp_path / "file", b"new")
    assert contents(tmp_path) == {"file": b"new"}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EBUSY, errno.ESTALE])
def test_a_file_that_is_held_for_a_moment_is_written_after_it(tmp_path, monkeypatch, number):
    failing(monkeypatch, "replace", number, times=2)
    files.write(tmp_path / "file", b"new")
    assert contents(tmp_path) == {"file": b"new"}


def test_a_folder_that_vanishes_while_it_is_written_to_is_made_again(tmp_path, monkeypatch):
    folder, replace = tmp_path / "folder", os.replace

    def vanish(source, target):
        monkeypatch.setattr(os, "replace", replace)
        os.unlink(source), os.rmdir(folder)
        replace(source, target)

    monkeypatch.setattr(os, "replace", vanish)
    files.write(folder / "file", b"new")
    assert contents(folder) == {"file": b"new"}


def test_of_two_files_both_are_written_or_neither(tmp_path, monkeypatch):
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_bytes(b"old")
    replace = os.replace

    def refuse(source, target):
        if pathlib.Path(target).name == "last":
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="old and .*new and .*last was not written .*: free some"):
        files.write_all({old: b"1", new: b"2", tmp_path / "last": b"3"})
    assert contents(tmp_path) == {"old": b"old"}


def test_what_cannot_be_written_is_found_out_before_and_explained(tmp_path, monkeypatch):
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_bytes(b"old"), folder.mkdir()
    faults = {
        file / "below": "a part of the path is a file",
        folder: "there is a folder of that name",
        tmp_path / ("x" * 300): "give a shorter name",
    }
    for path, advice in faults.items():
        with pytest.raises(OSError, match=f"was not written .*: {advice}"):
            files.check_writable(path)
    files.check_writable(file)
    files.check_writable(folder / "new" / "file")
    failing(monkeypatch, "mkdir", errno.EACCES, times=9)
    with pytest.raises(PermissionError, match="Permission denied.*write to a folder where you"):
        files.check_writable(tmp_path / "other" / "file")
    assert file.read_bytes() == b"old" and not list((folder / "new").iterdir())
