"""Tables of classes: which name and which colour belongs to which value of a mask."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

FILES = ("labelmap.txt", "_classes.csv", "classes.txt", "class_dict.csv", "label_colors.txt")


class Entry(NamedTuple):
    """A class of a table. What the table does not say is None."""

    name: str
    id: int | None = None
    color: tuple | None = None


def read(classes, folders):
    """The table that is given, or that lies in one of the folders, named as in ``FILES``.

    Args:
        classes: a list of names, those of ids 0, 1, ...; a dict, name -> id or (red, green, blue);
            the path of a table, see ``parse``; a str such as ``"membrane=0, cell=255"``; or None.
        folders: paths, the nearest first.

    Returns:
        list of Entry, and where they are from, a str; (None, None) where there is no table.

    Raises:
        ValueError, OSError: a file that is not there, or is no table.
    """
    if isinstance(classes, Mapping):
        named = [(k, v, None) if isinstance(v, int) else (k, None, v) for k, v in classes.items()]
        return [Entry(*one) for one in named], "the given classes"
    if isinstance(classes, (list, tuple)):
        return [Entry(name) for name in classes], "the given classes"
    if classes is not None and "=" in str(classes) and not os.path.isfile(classes):
        return parse(str(classes).replace(",", "\n"), "The given"), "the given classes"
    for path in [Path(classes)] if classes else [f / name for f in folders for name in FILES]:
        if classes or path.is_file():
            return parse(path.read_text("utf-8-sig", "replace"), path), path.name
    return None, None


def parse(text, source):
    """A table of a class a line: its name, with an id, a colour, or both, as CVAT writes it
    (``labelmap.txt``), Roboflow (``_classes.csv``) or people:

        cell            cell, 3          cell:255,0,0::          3 cell 255 0 0

    Raises:
        ValueError: lines of different kinds, or a name, an id or a colour twice.
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    rows = [_split(line) for line in lines]
    if len(rows) > 1 and not rows[0][1] and all(numbers for _, numbers in rows[1:]):
        del rows[0], lines[0]  # the heads of the columns
    if len({name for name, _ in rows}) < len(rows):
        rows = [(line, []) for line in lines]  # "class 1", "class 2"
    counts = {len(numbers) for _, numbers in rows}
    if len(counts) != 1 or counts - {0, 1, 3, 4}:
        raise ValueError(
            f"{source} is no table of classes: expected a name in each line, and with it an id, "
            f"or red, green and blue, or both."
        )
    entries = [
        Entry(name, n[0] if len(n) in (1, 4) else None, tuple(n[-3:]) if len(n) > 2 else None)
        for name, n in rows
    ]
    for what in Entry._fields:
        values = [getattr(entry, what) for entry in entries if getattr(entry, what) is not None]
        for value in values:
            if values.count(value) > 1:
                raise ValueError(f"{source} has the {what} {value} twice: give each its own.")
    return entries


def _split(line):
    """(name, numbers) of a line."""
    parts = re.split(r"[,:;=\t]", line) if re.search(r"[,:;=\t]", line) else line.split()
    parts = [part.strip() for part in parts]
    if len(parts) > 1:  # "255 0 0, cell"
        parts = [p for part in parts for p in (part.split() if _is_numbers(part) else [part])]
    numbers = [int(part) for part in parts if _is_numbers(part)]
    return " ".join(part for part in parts if part and not _is_numbers(part)), numbers


def _is_numbers(part):
    return bool(re.fullmatch(r"-?\d+(\s+-?\d+)*", part))
