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


@pytest.mark.parametrize("step", ["os.fsync", "os.replace", "os.chmod"])
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


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_on_a_full_disk_the_old_file_stays(tmp_path):
    import resource

    path, kind = tmp_path / "file", resource.RLIMIT_FSIZE
    path.write_text("old")
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (2000, before[1]))  # no file may become larger
    try:
        with pytest.raises(OSError, match="file was not written .*File too large.*: free some"):
            files.write(path, b"x" * 3000)
    finally:
        resource.setrlimit(kind, before)
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_is_a_file_raises(tmp_path):
    (tmp_path / "folder").write_text("a file, no folder")
    with pytest.raises(OSError, match="folder"):
        files.write(tmp_path / "folder" / "file", b"")
