"""From stored values to classes: decided once, for all masks of a folder."""

import colorsys
from collections import Counter
from typing import NamedTuple

import numpy as np

from helpers.classes import VOID, Labelling
from helpers.datasets.folder import annotations
from helpers.datasets.folder.masks import COLORS, IDS, LABELS

VOID_NAMES = ("void", "ignore", "ignored", "unlabelled", "unlabeled", *annotations.IGNORED)
MOST = 254  # classes: 255 is void, 254 the pipeline's own
MOST_FOUND = 64  # values without a table: photographs have more
THIN = 3  # so many values that are only in thin lines are smoothing, not classes
SNAP = "take the nearest class for every value (name the classes, and snap=True or --snap)"


class Encoding(NamedTuple):
    """How the values of masks become classes.

    - ``labelling``: of the decoded masks: ids 0, 1, ..., and ``VOID``.
    - ``kind``: of the values, see ``masks.Stored``.
    - ``classes``: value -> id, or ``VOID``.
    - ``snap``: whether other values are taken for the nearest of these.
    """

    labelling: Labelling
    kind: str
    classes: dict
    snap: bool

    def decode(self, stored):
        """A ``masks.Stored`` as (H, W) uint8 class ids, or ``VOID``. A ValueError for a value that
        is none of ``classes``."""
        codes = np.unique(stored.codes)
        ids = [self.id_of(stored.value(code)) for code in codes]
        if None in ids:
            raise ValueError(f"There is a value that is no class: {codes[ids.index(None)]}.")
        return np.array(ids, np.uint8)[np.searchsorted(codes, stored.codes)]

    def id_of(self, value):
        """The id of a value; None of one that is no class."""
        if self.snap and value not in self.classes:
            value = min(self.classes, key=lambda known: _distance(known, value, self.kind))
        return self.classes.get(value)


def decide(examples, table, source, void=None, snap=False):
    """What the values of a folder's masks mean.

    Args:
        examples: list of ``folder.Example``.
        table: list of ``tables.Entry``. Or None: then every id, colour or label that is found is a
            class, but for an id of 255 where all others are below 64: that is void. (0 and 255
            alone are two classes.)
        source: where the table is from.
        void: list of names or values that count for nothing; None for those with one of
            ``VOID_NAMES`` and an id of 255 that the table does not name.
        snap: takes values that the table does not name for the nearest one.

    Returns:
        Encoding; a list of sentences on what was decided; and example -> what is wrong with its
        mask.

    Raises:
        ValueError: the masks, or the table, are nothing to train on.
    """
    kind = Counter(example.stored.kind for example in examples).most_common(1)[0][0]
    faults = {
        example: f"{example.mask} is a mask of {example.stored.kind}, others are of {kind}: "
        f"convert it to what the others are."
        for example in examples
        if example.stored.kind != kind
    }
    if snap and kind == LABELS:
        raise ValueError(
            "The masks are of labels, of which none is nearest: name each in the table, or in "
            "void, instead of taking the nearest class."
        )
    used = [example for example in examples if example.stored.kind == kind]
    forms = Counter(example.stored.form for example in used).most_common()
    words = [f"Masks of {kind}: {', '.join(f'{count} {form}' for form, count in forms)}."]
    if table is None:
        words += _check_clean(used, kind)
        names = {value: _name(value, kind) for value in sorted(_values(used))}
        words.append(f"No table names the classes: every value found is one, {len(names)} in all.")
    else:
        names = _named(table, _values(used), kind)
        words.append(f"Classes as in {source}.")
    ignored = _void(void, names, _values(used), kind, table is None)
    if not snap:
        faults |= _unknown(used, {*names, *ignored}, kind, source)
    used = [example for example in used if example not in faults]
    if not used:
        raise ValueError(next(iter(faults.values())))
    code, more = _encoding(names, ignored, kind, table or (), used, snap)
    for example in used:
        if {code.id_of(value) for value in example.pixels} == {VOID}:
            faults[example] = f"{example.mask} holds void alone: leave it out."
    return code, words + more, faults


def _encoding(names, ignored, kind, table, examples, snap):
    """The Encoding of the values that have a name, and sentences on the others."""
    found, words = _values(examples), []
    missing = [v for v in names if v not in found and v not in ignored and not snap]
    kept = [v for v in names if v not in ignored and v not in missing]
    if ignored:
        listed = (f"{names.get(v, 'void')} ({shown(v, kind)})" for v in ignored)
        words.append(f"Counts for nothing: {', '.join(listed)}.")
    if missing:
        words.append(f"Left out, in no mask: {', '.join(names[v] for v in missing)}.")
    if not 2 <= len(kept) <= MOST:
        raise ValueError(
            f"The masks hold {len(kept)} class{'es' * (len(kept) != 1)} beside void "
            f"({', '.join(names[v] for v in kept[:5])}), expected 2 to {MOST}: look whether these "
            f"are the masks, and whether classes and void are named rightly."
        )
    colors = _colors(kept, kind, {entry.name: entry.color for entry in table}, names, examples)
    labelling = Labelling([names[v] for v in kept], colors, void=VOID if ignored else None)
    ids = {**dict(zip(kept, range(len(kept)))), **dict.fromkeys(ignored, VOID)}
    return Encoding(labelling, kind, ids, snap), words


def _values(examples):
    return set().union(*(example.pixels for example in examples))


def shown(value, kind):
    """A value in words."""
    return f"#{value:06x}" if kind == COLORS else str(value)


def _name(value, kind):
    return f"class {value}" if kind == IDS else shown(value, kind)


def _check_clean(examples, kind):
    """Raises ValueError where values that were found are no classes; else, what is doubtful."""
    solid = frozenset().union(*(example.solid for example in examples))
    thin = sorted(_values(examples) - solid)
    if kind == IDS and solid:  # smoothing gives what is between two
        thin = [value for value in thin if min(solid) < value < max(solid)]
    first = next((e for e in examples if e.stored.form.endswith("JPEG")), examples[0])
    remedy = f"export them again as PNG without smoothing, or {SNAP}"
    if kind != LABELS and first.stored.form.endswith("JPEG"):
        raise ValueError(
            f"{first.mask} is a JPEG, which changes values: give the images first, then the "
            f"masks; if these are the masks, {remedy}."
        )
    if kind != LABELS and len(solid) > MOST_FOUND:
        raise ValueError(
            f"{first.mask} and others hold {len(solid)} values and more, as photographs do: give "
            f"the images first, then the masks; or name the classes, if they are so many."
        )
    if len(thin) >= THIN:
        first = next(example for example in examples if set(thin) & set(example.pixels))
        raise ValueError(
            f"{first.mask} and others hold {len(thin)} values in thin lines alone "
            f"({', '.join(shown(v, kind) for v in thin[:3])}, ...), as smoothed masks do: "
            f"{remedy}."
        )
    listed = ", ".join(_name(value, kind) for value in thin)
    return [f"Doubtful: only in thin lines, so perhaps no class: {listed}."] if thin else []


def _named(table, found, kind):
    """value -> name, as a table says."""
    if kind == LABELS:
        background = [annotations.BACKGROUND] if annotations.BACKGROUND in found else []
        return {name: name for name in [*background, *(entry.name for entry in table)]}
    if kind == COLORS:
        if not all(entry.color for entry in table):
            raise ValueError(
                f"The masks are of colours, but the table of classes has none ({table[0].name}, "
                f"...): add red, green and blue to each line."
            )
        values = [(r << 16) + (g << 8) + b for r, g, b in (entry.color for entry in table)]
    else:
        values = [n if entry.id is None else entry.id for n, entry in enumerate(table)]
        if len(table) == 2 and table[0].id is None and found <= {0, 255}:
            values = [0, 255]
    return {value: entry.name for value, entry in zip(values, table)}


def _void(void, names, found, kind, all_found):
    """The values that count for nothing."""
    if void is None:
        ignored = [value for value in names if names[value].casefold() in VOID_NAMES]
        ignored += [value for value in VOID_NAMES if value in found and value not in ignored]
        others = found - {255}
        is_free = kind == IDS and 255 in found and (all_found or 255 not in names)
        return ignored + [255] * (is_free and others not in ({0}, set()) and max(others) < 64)
    ignored = []
    for given in map(str, void):
        values = [v for v in names if given in (names[v], shown(v, kind))]
        if not values and kind == IDS and given.lstrip("-").isdigit():
            values = [int(given)]  # which no table has to name
        if not values:
            known = ", ".join(f"{name} ({shown(v, kind)})" for v, name in names.items())
            raise ValueError(f"void={given!r} is no class: there are {known}.")
        ignored += values
    return ignored


def _unknown(examples, known, kind, source):
    """example -> which of its values are no class."""
    found = {}
    for example in examples:
        strange = [shown(value, kind) for value in example.pixels if value not in known]
        if strange:
            found[example] = (
                f"{example.mask} holds {', '.join(strange[:5])}{', ...' * (len(strange) > 5)}, "
                f"which is no class in {source}: add it there, or to "
                f"void{f', or {SNAP}' * (kind != LABELS)}."
            )
    return found


def _colors(values, kind, given, names, examples):
    """One a class: that of the table, the mask's own, or a hue far from the others."""
    palette = next((example.stored.palette for example in examples if example.stored.palette), ())
    found = []
    for number, value in enumerate(values):
        packed = value if kind == COLORS else None
        if kind == IDS and 0 <= value < len(palette):
            packed = palette[value]
        color = colorsys.hsv_to_rgb(number * 0.381966 % 1, 0.7, 0.95 if number % 2 else 0.6)
        color = [round(255 * part) for part in color] if packed is None else _channels(packed)
        found.append(given.get(names[value]) or color)
    return found


def _distance(one, other, kind):
    if kind != COLORS:
        return abs(one - other)
    return sum((a - b) ** 2 for a, b in zip(_channels(one), _channels(other)))


def _channels(color):
    return color >> 16, color >> 8 & 255, color & 255
