"""Which examples train, which validate, which test."""

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers.datasets import SPLITS
from helpers.datasets.folder.pairs import SPLIT_FOLDERS

NEAR = 4  # bits of 63 in which the hashes of images that look alike differ at most


class Splitting(NamedTuple):
    """How examples are split where their folders do not say it.

    - ``file``: a list, each line a name and its split; or a folder with ``train.txt``, ``val.txt``
      and ``test.txt``, each line a name. Images that are not named are left out.
    - ``seed``: of the draw.
    - ``share``: of the images that validate, and of those that test.
    - ``folds``: for cross-validation, so many parts; number ``fold``, from 0, tests.
    - ``group``: a regular expression, found in each name: images that agree in what it finds, such
      as a patient, or in its first bracket, stay together.
    """

    file: str | Path | None = None
    seed: int = 0
    share: float = 0.15
    folds: int | None = None
    fold: int = 0
    group: str | None = None


def split(names, given, presence, hashes, splitting):
    """Splits examples as given, or by a draw: each class in the same share of images in all parts;
    groups and images that look alike on one side. What lacks validation or test has it drawn from
    its training split.

    Args:
        names: (N,) str.
        given: (N,) "train", "validation", "test" or None, by folder.
        presence: (N, C) bool, which class is in which image.
        hashes: (N,) perceptual hashes, int.
        splitting: Splitting.

    Returns:
        dict of lists of numbers by split, and a list of sentences on them.

    Raises:
        ValueError: a list, a pattern or folders that do not fit; too few images.
    """
    given = _listed(names, Path(splitting.file)) if splitting.file else given
    if not splitting.file and None in given and any(given):
        raise ValueError(
            f"{names[given.index(None)]} is in no train, val or test folder, but others are: move "
            f"it into one."
        )
    alike = _alike(hashes)
    units = _joined(len(names), alike + _groups(names, splitting.group))
    pool = [number for number, own in enumerate(given) if own or not any(given)]
    if splitting.folds:
        members, word = _fold(units, pool, presence, splitting)
    else:
        drawn = "train" if not any(given) else None
        members = {s: [n for n in pool if (given[n] or drawn) == s] for s in SPLITS}
        word = f"Splits as {'listed' if splitting.file else 'the folders say'}"
        lacking = [split for split in SPLITS[1:] if not members[split]]
        if lacking:
            shares = [1 - splitting.share * len(lacking), *[splitting.share] * len(lacking)]
            parts = _parts(units, members["train"], presence, shares, splitting.seed)
            members |= dict(zip(("train", *lacking), parts))
            word = f"{', '.join(lacking)} drawn from train" if not drawn else "Splits drawn"
            word += f" with seed {splitting.seed}"
    train, validation, test = map(len, members.values())
    words = [f"{word}: {train} to train, {validation} to validate, {test} to test."]
    return members, words + _words_on_alike(names, alike, members)


def _words_on_alike(names, alike, members):
    where = {number: split for split, own in members.items() for number in own}
    torn = [group for group in alike if len({where.get(n) for n in group} - {None}) > 1]
    if torn:
        pair = " and ".join(names[number] for number in torn[0][:2])
        return [
            f"Doubtful: {len(torn)} groups of images that look alike are in several splits, so "
            f"that scores may flatter: {pair}, for instance."
        ]
    count = sum(map(len, alike))
    return [f"{count} images look like others; these are on one side."] if alike else []


def _fold(units, pool, presence, splitting):
    seed, folds, fold = splitting.seed, splitting.folds, splitting.fold
    if not 2 <= folds <= len(pool) or not 0 <= fold < folds:
        raise ValueError(
            f"folds={folds}, fold={fold}: expected 2 to {len(pool)} folds, and a fold below that."
        )
    test = _parts(units, pool, presence, [1 / folds] * folds, seed)[fold]
    rest = sorted(set(pool) - set(test))
    train, validation = _parts(units, rest, presence, (1 - splitting.share, splitting.share), seed)
    members = {"train": train, "validation": validation, "test": test}
    return members, f"Fold {fold + 1} of {folds}, drawn with seed {seed}"


def _parts(units, pool, presence, shares, seed):
    """The pool in parts of these shares: the iterative stratification of Sechidis, Tsoumakas and
    Vlahavas (ECML PKDD 2011), of units: the class with the fewest images left comes first, and
    goes to the part that still wants most of it."""
    pool = set(pool)
    units = [own for unit in units if (own := [n for n in unit if n in pool])]
    if len(units) < len(shares):
        raise ValueError(
            f"There are {len(units)} images, or groups that stay together, for {len(shares)} "
            f"splits: expected as many or more."
        )
    np.random.default_rng(seed).shuffle(units)
    units.sort(key=len, reverse=True)
    counts = np.array([[*presence[unit].sum(axis=0), len(unit)] for unit in units], float)
    wanted = np.outer(shares, counts.sum(axis=0))
    parts, left = [[] for _ in shares], list(range(len(units)))
    while left:
        images = counts[left].sum(axis=0)
        rarest = np.where(images > 0, images, np.inf).argmin()
        for number in [n for n in left if counts[n, rarest]]:
            part = max(range(len(shares)), key=lambda p: (wanted[p, rarest], wanted[p, -1]))
            parts[part].append(units[number])
            wanted[part] -= counts[number]
            left.remove(number)
    for part in parts:
        if not part:  # of a small share
            part.append(max(parts, key=len).pop())
    return [sorted(number for unit in part for number in unit) for part in parts]


def _groups(names, pattern):
    if not pattern:
        return []
    groups = {}
    for number, name in enumerate(names):
        try:
            found = re.search(pattern, name)
        except re.error as error:
            raise ValueError(f"group={pattern!r} is no regular expression: {error}.") from error
        if not found:
            raise ValueError(
                f"{name} has no group, because {pattern!r} is not in it: give a pattern that all "
                f"names have."
            )
        groups.setdefault(found[1] if found.re.groups else found[0], []).append(number)
    return list(groups.values())


def _joined(count, groups):
    """0, 1, ... in lists: those that a chain of groups joins in one list."""
    above = list(range(count))

    def root(number):
        while above[number] != number:
            number = above[number]
        return number

    for first, *others in groups:
        for other in others:
            above[root(other)] = root(first)
    units = {}
    for number in range(count):
        units.setdefault(root(number), []).append(number)
    return list(units.values())


def _alike(hashes):
    """Groups of images that look alike; none where most do, which are of a kind that the hash does
    not tell apart."""
    hashes = np.array(hashes, np.uint64)
    pairs = [
        (number, number + 1 + int(other))
        for number, one in enumerate(hashes)
        for other in np.flatnonzero(np.bitwise_count(hashes[number + 1 :] ^ one) <= NEAR)
    ]
    groups = [unit for unit in _joined(len(hashes), pairs) if len(unit) > 1]
    return groups if max(map(len, groups), default=0) <= max(2, len(hashes) / 3) else []


def _listed(names, path):
    """The split of each name; None where the list does not name it."""
    lists = {path: ""}
    if not path.is_file():
        lists = {path / f"{word}.txt": word for word in SPLIT_FOLDERS}
        lists = {path: word for path, word in lists.items() if path.is_file()}
    if not lists:
        raise ValueError(f"{path} is no list of splits, and no folder with train.txt and others.")
    fitting, found = _finder(names), [None] * len(names)
    for file, word in lists.items():
        for line in filter(None, map(str.strip, file.read_text("utf-8-sig").splitlines())):
            last = word or re.split(r"[,;\t ]", line)[-1]
            split = SPLIT_FOLDERS.get(last.casefold())
            numbers = fitting(line if word else line.removesuffix(last).rstrip(",;\t "))
            if split is None or not numbers:
                raise ValueError(
                    f"{file} has the line {line!r}: expected an image that has a mask, and behind "
                    f"it train, val or test."
                )
            if len(numbers) > 1:
                raise ValueError(
                    f"{file} has the line {line!r}, which fits {names[numbers[0]]} and "
                    f"{names[numbers[1]]}: name the image with its folder."
                )
            if found[numbers[0]] not in (None, split):
                raise ValueError(
                    f"{names[numbers[0]]} is listed under {found[numbers[0]]} and {split}: keep "
                    f"one of the lines."
                )
            found[numbers[0]] = split
    return found


def _finder(names):
    """A function: what a list calls an image -> the numbers of the names that it fits best, whole,
    without suffix, or without suffix and folders."""
    whole, bare, stems = (defaultdict(list) for _ in range(3))
    for number, name in enumerate(names):
        without = os.path.splitext(name)[0]
        whole[name].append(number)
        bare[without].append(number)
        stems[os.path.basename(without)].append(number)

    def fitting(text):
        without, last = os.path.splitext(text)[0], os.path.basename(text)
        return (
            whole.get(text)
            or bare.get(text)
            or bare.get(without)
            or stems.get(last)
            or stems.get(os.path.splitext(last)[0], [])
        )

    return fitting
