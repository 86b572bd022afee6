"""Files that are written completely or not at all."""

import contextlib
import errno
import json
import os
import stat
import time
import uuid
from pathlib import Path

PARTIAL = ".partial"  # ends the name of a file that is being written
PATIENCE = (0.05, 0.2, 0.5, 1.0)  # seconds between tries: mounts and virus scanners let go soon
_NO_SPACE = dict.fromkeys(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space, or write to another disk"
)
_REMEDIES = {  # where another try would not help
    **_NO_SPACE,
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a part of the path is a file, not a folder"),
    errno.EISDIR: "there is a folder of that name, give another name",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EROFS: "the disk can only be read, write to another one",
}


def write(path, content):
    """Writes a file; an earlier one of that name stays as it was until the new one is complete.

    Args:
        path: str or path; its folder is made where it is missing.
        content: bytes.

    Raises:
        OSError: it cannot be written; says why and what to do.
    """
    write_all({path: content})


def write_all(contents):
    """Writes several files, all or none of them; as ``write``.

    Args:
        contents: dict, path -> bytes.
    """
    contents = {Path(path): content for path, content in contents.items()}
    _patiently(list(contents), lambda: _write_all(contents))


def write_json(path, values):
    """Writes JSON values as ``write``; NaN and infinity, which JSON does not know, are refused."""
    write(path, (json.dumps(values, indent=2, allow_nan=False) + "\n").encode())


def check_writable(path):
    """Finds out before hours of work whether a file can be written at their end.

    Args:
        path: of the file; its folder is made where it is missing. The file is left alone.

    Raises:
        OSError: it cannot; says why and what to do.
    """
    path = Path(path)

    def attempt():
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(path.stat().st_mode):
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        partial = _beside(path)
        _write_new(partial, b"")
        partial.unlink()

    _patiently([path], attempt)


def remove_partial(folder):
    """Deletes what writes that were killed have left in a folder."""
    for path in Path(folder).glob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError):
            path.unlink()


def _write_all(contents):
    partial = {path: _beside(path) for path in contents}
    replaced = {}
    try:
        for path, content in contents.items():
            _write_new(partial[path], content)
        for path in contents:
            old = path.read_bytes() if len(contents) > 1 and path.is_file() else None
            os.replace(partial[path], path)
            replaced[path] = old
    except BaseException:
        for path in partial.values():
            with contextlib.suppress(OSError):
                path.unlink()
        for path, old in replaced.items():
            with contextlib.suppress(OSError):
                path.unlink() if old is None else write(path, old)
        raise


def _beside(path):
    """A name that no other process takes, and short enough beside any other."""
    return path.with_name(f".{uuid.uuid4().hex}{PARTIAL}")


def _write_new(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        try:  # else a machine that dies may keep the name and not the bytes
            os.fsync(file.fileno())
        except OSError as error:  # some mounts cannot: what counts is whether the bytes are lost
            if error.errno in (errno.EIO, *_NO_SPACE):
                raise


def _patiently(paths, action):
    for seconds in (*PATIENCE, None):
        try:
            return action()
        except OSError as error:
            if error.errno in _REMEDIES or seconds is None:
                remedy = _REMEDIES.get(error.errno, "write to a folder where you may")
                names = " and ".join(map(str, paths))
                raise OSError(
                    error.errno, f"{names} was not written ({error.strerror}): {remedy}"
                ) from error
            time.sleep(seconds)
