"""What is said of photos that were predicted: a table of their classes, and why one failed."""

import csv
import io

import numpy as np

from helpers import objects, photos

COLUMNS = ("count", "mean_area", "median_area", "smallest", "largest")
HEAD = ("photo", "class", "share", *COLUMNS)


def stored(path):
    """The class ids (H, W) uint8 in a mask that was written before."""
    with photos.opened(path) as image:
        return np.asarray(image)


def counted(path, ids, labelling):
    """A row for each class: the photo, the class, its share of the pixels, and what
    ``objects.summary`` says.

    Args:
        path: of the photo, as it is to be named.
        ids: (H, W) uint8 class ids.
        labelling: classes.Labelling.
    """
    found = objects.summary([objects.areas(ids, labelling)])
    return [
        [str(path), name, f"{np.mean(ids == number):.6f}"]
        + [found[name].get(column, "") for column in COLUMNS]
        for number, name in enumerate(labelling.names)
    ]


def table(rows):
    """Rows of ``counted`` below their head as the bytes of a CSV file."""
    return lines([HEAD, *rows]).encode(errors="backslashreplace")


def lines(rows):
    """Rows as text in the form of CSV."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def failure(path, error):
    """Why a photo failed, in a sentence that begins with its path."""
    text = sentence(error)
    return text if text.startswith(str(path)) else f"{path}: {text}"


def sentence(error):
    """An exception in one sentence."""
    # by its name: it is TensorFlow's, which need not be loaded
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return "There is not enough memory. Close other programs, or make the photo smaller."
    if isinstance(error, OSError) and error.strerror:  # without "[Errno 28]"
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) if isinstance(error, (ImportError, OSError, ValueError)) else repr(error)
