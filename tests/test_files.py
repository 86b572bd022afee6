"""A file is written whole or not at all."""

import os
import stat

import pytest

from helpers import files


def test_what_is_written_can_be_read(tmp_path):
    path = tmp_path / "deep" / "er" / "file"
    files.write(path, b"old")
    files.write(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o644  # mkstemp's own is 0600


@pytest.mark.parametrize("step", ["os.fdopen", "os.fsync", "os.replace", "os.chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_broken_off_write_leaves_the_old_file(tmp_path, monkeypatch, step, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(step, fail)
    with pytest.raises(type(error)):
        files.write(path, b"new")
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"old"]


def test_a_folder_that_is_a_file_raises(tmp_path):
    (tmp_path / "folder").write_text("a file, no folder")
    with pytest.raises(OSError, match="folder"):
        files.write(tmp_path / "folder" / "file", b"")
