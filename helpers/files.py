"""Files that are written whole or not at all."""

import os
import tempfile
from pathlib import Path

PARTIAL = ".partial"  # ends the name of a file that is being written


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
                file.flush()
                os.fsync(file.fileno())  # or a machine that dies may keep the name, not the bytes
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise OSError(
            f"{path} was not written ({error}): free some space, or write to another folder."
        ) from error
