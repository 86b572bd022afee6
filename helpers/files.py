"""Files that are written whole or not at all."""

import os
import tempfile
from pathlib import Path

PARTIAL = ".partial"  # in the name, behind a dot in front, of a file that is being written


def write(path, content):
    """Writes a file; an earlier one of that name stays as it was until the new one is whole.

    Args:
        path: str or path; its folder is made where it is missing.
        content: bytes.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(PARTIAL, f".{path.name}.", path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o644)
            put(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise OSError(
            f"{path} was not written ({error}): free some space, or write to another folder."
        ) from error


def put(temporary, path):
    """Gives a file that is whole the name of another one, which it replaces."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())  # else a machine that dies may keep the name and not the bytes
    os.replace(temporary, path)


def is_partial(name):
    """Whether a file of that name was left by a write that was killed."""
    return name.startswith(".") and PARTIAL in name
