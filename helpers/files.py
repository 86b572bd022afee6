"""Files that are written completely or not at all."""

import contextlib
import errno
import json
import os
import tempfile
import time
from pathlib import Path

PARTIAL = ".partial"  # ends the name of a file that is being written
PATIENCE = (0.05, 0.2, 0.5, 1.0)  # seconds between tries: mounts and virus scanners let go soon
_BUSY = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.ENOENT, errno.EIO, errno.ESTALE)
_REMEDIES = {
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "free some space, or write to another disk",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOTDIR: "a part of the path is a file: give another folder",
    errno.EISDIR: "there is a folder of that name: give another name",
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
    temporary, written = {}, []
    try:
        for path, content in contents.items():
            temporary[path] = _retried(path, lambda p=path, c=content: _write_beside(p, c))
        for path, partial in temporary.items():
            is_new = not Path(path).exists()
            _retried(path, lambda p=path, t=partial: os.replace(t, p))
            written += [path] if is_new else []
    except BaseException:
        for path in [*temporary.values(), *written]:
            with contextlib.suppress(OSError):
                os.unlink(path)
        raise


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
    if path.is_dir():
        raise _explained(path, IsADirectoryError(errno.EISDIR, "Is a directory"))
    os.unlink(_retried(path, lambda: _write_beside(path, b"")))


def is_partial(name):
    """Whether a file of that name was left by a write that was killed."""
    return name.endswith(PARTIAL)


def _write_beside(path, content):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.lstat(path.parent)  # gone again already: tried once more
    if len(os.fsencode(path.name)) > 255:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    handle, temporary = tempfile.mkstemp(PARTIAL, ".", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)  # else a machine that dies may keep the name and not the bytes
        with contextlib.suppress(OSError):  # some mounts have no modes
            os.chmod(temporary, 0o644)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return temporary


def _retried(path, action):
    for seconds in (*PATIENCE, None):
        try:
            return action()
        except OSError as error:
            if error.errno not in _BUSY or seconds is None:
                raise _explained(path, error) from error
            time.sleep(seconds)


def _explained(path, error):
    remedy = _REMEDIES.get(error.errno, "write to a folder where you may")
    return type(error)(error.errno, f"{path} was not written ({error.strerror}): {remedy}")
