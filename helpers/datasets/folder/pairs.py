"""Which image belongs to which mask, by the names of files and folders."""

import re
import unicodedata
from collections import defaultdict
from pathlib import Path, PurePath
from typing import NamedTuple

from helpers.datasets.folder import annotations, tables

PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".npy")
SPLIT_FOLDERS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLIT_FOLDERS |= dict.fromkeys(("val", "valid", "validation"), "validation")
IMAGE_FOLDERS = {"image", "images", "img", "imgs", "photos", "jpegimages", "leftimg8bit"}
MASK_FOLDERS = {"mask", "masks", "label", "labels", "annot", "annotation", "annotations", "gt"}
MASK_FOLDERS |= {"gtfine", "groundtruth", "ground_truth", "segmentation", "segmentationclass"}
# what people add to an image's name to name its mask, and sometimes to the image's
_MASK = re.compile(
    r"^(mask|label|gt|seg)[_-]|[_\-. ](masks?|l|gt|seg|segmentation|labels?|labelids|labeltrainids"
    r"|gtfine_(labelids|labeltrainids|color)|anno|annotation|manual\d?|jpe?g|png|tiff?)$"
)
_IMAGE = re.compile(
    r"^(image|img|photo)[_-]|[_\-. ](image|img|photo|rgb|sat|leftimg8bit|training)$"
)


class Source(NamedTuple):
    """Where a mask comes from: a file or, with ``number``, one image of a COCO file."""

    path: Path
    number: int | None = None


class Pair(NamedTuple):
    """An image and its mask. ``name`` is the image's path below the folder, ``split`` what the
    folders on it say, or None."""

    name: str
    image: Path
    mask: Source
    split: str | None


class Pairing(NamedTuple):
    """``pairs``, and sentences: on files that are ``ignored``, and on ``faults``."""

    pairs: list
    ignored: list
    faults: list


def find_pairs(images, masks):
    """Pairs the images with the masks of two folders, which may be the same one.

    An image and a mask belong together where their names are equal, but for the file type, capital
    letters and what masks are often named with (``_mask``, ``_L``, ``_gt``, ``_labelIds``, ...).
    They may lie in folders below: names such as ``train`` and ``val`` in the path say the split,
    names such as ``images`` and ``masks`` the role.

    Args:
        images: Path of a folder.
        masks: of a folder, or of a COCO JSON file.

    Returns:
        Pairing.

    Raises:
        ValueError: a folder is missing or empty, or there is no pair.
    """
    one, other = images.resolve(), masks.resolve()
    if one in (other, *other.parents) or other in one.parents:  # then paths are compared
        images, masks = one, other
    faults = []
    files = _by_role(_checked(images, "images"), _checked(masks, "masks"), faults)
    root = masks if masks.is_dir() else masks.parent
    for what, folder in (("images", images), ("masks", root)):
        if not files[what]:
            raise ValueError(
                f"{folder} holds no {what}: expected files of {', '.join(PICTURES)}"
                f"{' or .json' * (what == 'masks')}, in it or in folders below."
            )
    places = {path: _place(path.relative_to(images)) for path in files["images"]}
    sources = _sources(files["masks"], root, faults)
    found, blamed = _matched(places, sources, faults)
    if not found and not faults:
        one, other = min(places), min(sources)
        raise ValueError(
            f"No image in {images} has a mask of the same name in {root}; the first are "
            f"{one.name} and {_shown(other)}. Name each mask as its image, or with _mask behind."
        )
    used = {*found, *found.values(), *blamed}
    ignored = _listed(
        {
            "images without a mask": [path.name for path in places if path not in used],
            "masks without an image": [_shown(mask) for mask in sources if mask not in used],
            "files of other kinds": [path.name for path in files["others"]],
        }
    )
    pairs = [
        Pair(image.relative_to(images).as_posix(), image, mask, places[image].split)
        for image, mask in sorted(found.items())
    ]
    return Pairing(pairs, ignored, faults)


def _listed(found):
    return [
        f"{what}: {len(names)} ({', '.join(names[:10])}{', ...' * (len(names) > 10)})"
        for what, names in found.items()
        if names
    ]


class _Place(NamedTuple):
    split: str | None
    folders: tuple
    stem: str


def _place(path):
    split, folders = None, []
    for part in map(_plain, PurePath(path).parts[:-1]):
        word = part.removesuffix("annot")  # trainannot, valannot
        split = SPLIT_FOLDERS.get(word, split)
        if word not in {*SPLIT_FOLDERS, *IMAGE_FOLDERS} and part not in MASK_FOLDERS:
            folders.append(part)
    return _Place(split, tuple(folders), _plain(PurePath(path).stem))


def _plain(name):  # a Mac writes an accent as a letter of its own
    return unicodedata.normalize("NFC", name).casefold()


def _checked(path, what):
    if not path.exists():
        raise ValueError(f"There is no folder {path}: give the folder of the {what}.")
    if path.is_file() and not (what == "masks" and path.suffix == ".json"):
        raise ValueError(f"{path} is a file: give a folder of {what}; unpack an archive first.")
    return path


def _by_role(images, masks, faults):
    """dict of lists of paths: ``images``, ``masks`` and ``others``."""
    files = _files(images, faults)
    if images == masks:
        roles = {path: _role(path.relative_to(images)) for path in files}
    else:  # where one folder lies in the other, the inner one says what its files are
        roles = dict.fromkeys([masks] if masks.is_file() else _files(masks, faults), "masks")
        inner = masks in images.parents
        roles |= {path: "images" for path in files if inner or path not in roles}
    has_pictures = any(
        role == "masks" and path.suffix.lower() in PICTURES for path, role in roles.items()
    )
    found = {"images": [], "masks": [], "others": []}
    for path, role in sorted(roles.items()):
        is_drawn = path.suffix.lower() == ".json" and role == "masks" and not has_pictures
        if path.name not in tables.FILES:
            fits = is_drawn or path.suffix.lower() in PICTURES
            found[role if fits else "others"].append(path)
    return found


def _role(path):
    folders = {_plain(part) for part in path.parts[:-1]}
    if folders & MASK_FOLDERS or any(part.endswith("annot") for part in folders):
        return "masks"
    is_mask = _MASK.search(_plain(path.stem)) or path.suffix.lower() == ".json"
    return "masks" if is_mask and not folders & IMAGE_FOLDERS else "images"


def _files(folder, faults, above=()):
    """All files in a folder and below, hidden ones left out."""
    here = folder.stat().st_dev, folder.stat().st_ino
    if here in above:
        faults.append(f"{folder} is a link to a folder that it lies in: remove the link.")
        return []
    found = []
    for path in sorted(folder.iterdir()):
        if not path.name.startswith((".", "__MACOSX")):
            found += _files(path, faults, (*above, here)) if path.is_dir() else [path]
    return found


def _sources(files, root, faults):
    """Source -> _Place."""
    found = {}
    for path in files:
        place = _place(path.relative_to(root))
        try:
            names = annotations.coco_images(path) if path.suffix.lower() == ".json" else None
        except (OSError, ValueError) as error:
            faults.append(str(error))
            continue
        if names is None:
            found[Source(path)] = place
        for number, name in (names or {}).items():
            own = _place(name)
            folders = tuple(part for part in place.folders if part not in own.folders)
            own = _Place(own.split or place.split, folders + own.folders, own.stem)
            found[Source(path, number)] = own
    return found


def _matched(images, masks, faults):
    """image -> mask; and the images and masks that a fault names."""
    candidates = defaultdict(list)
    for key, again in (  # the nearest names first
        (lambda place, added: place, True),
        (lambda place, added: place._replace(stem=added.sub("", place.stem)), True),
        (lambda place, added: added.sub("", place.stem), False),  # in other folders
    ):
        taken = {mask for own in candidates.values() for mask in own}
        by_key = defaultdict(list)
        for image in [image for image in images if again or image not in candidates]:
            by_key[key(images[image], _IMAGE)].append(image)
        for mask in masks.keys() - taken:
            for image in by_key[key(masks[mask], _MASK)]:
                candidates[image].append(mask)
    owners = defaultdict(list)
    for image, own in sorted(candidates.items()):
        for mask in own:
            owners[mask].append(image)
    found, blamed = {}, set()
    for image, own in candidates.items():
        if len(own) == len(owners[own[0]]) == 1:
            found[image] = own[0]
            continue
        blamed |= {image, *own}
        names = ", ".join(sorted(map(_shown, own)))
        first, *others = owners[own[0]]
        if len(own) > 1:
            faults.append(f"{image} has {len(own)} masks, {names}: keep one of them.")
        elif image == first:
            faults.append(
                f"{image} and {others[0].name} have one mask, {names}: keep one of the images."
            )
    return found, blamed


def _shown(source):
    return source.path.name if source.number is None else annotations.shown(*source)
