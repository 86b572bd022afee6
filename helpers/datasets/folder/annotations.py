"""Masks that are drawn from JSON: COCO's and labelme's."""

import functools
import json
from pathlib import Path

import cv2
import numpy as np

BACKGROUND = "background"
CROWD = "(crowd)"  # of COCO: a heap of objects that nobody outlined one by one
IGNORED = (CROWD, "__ignore__")  # labels whose pixels count for nothing
_OF_BACKGROUND = ("_background_", "__background__")  # labelme's


def coco_images(path):
    """image id -> file name, of a COCO file; None of a labelme file.

    Raises:
        ValueError: the file is neither.
    """
    content = _read(path)
    if "shapes" in content:
        return None
    if not {"images", "annotations", "categories"} <= set(content):
        raise ValueError(
            f"{path} is neither COCO JSON (images, annotations, categories) nor labelme's "
            f"(shapes): export it again as one of them, or as PNG masks."
        )
    try:
        return {image["id"]: image["file_name"] for image in content["images"]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is incomplete ({error!r}): export it again.") from error


def shown(path, number):
    """The name of an image of a COCO file."""
    return f"{coco_images(path)[number]} in {path.name}"


def draw(path, number):
    """The mask of one image.

    Where objects overlap, the smaller one is on top with COCO, the later one with labelme. What is
    in no object is ``BACKGROUND``.

    Args:
        path: of the JSON file.
        number: image id in a COCO file; None for labelme's.

    Returns:
        (H, W) int32, and the label that each of its values stands for, a tuple of str.

    Raises:
        ValueError: a shape that has no area, a category or an image that the file does not know.
        ImportError: COCO's needs pycocotools.
    """
    try:
        if number is None:
            size, regions = _labelme_regions(_read(path), path)
        else:
            size, regions = _coco_regions(path, number)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} is incomplete ({error!r}): export it again.") from error
    labels = [BACKGROUND]
    mask = np.zeros(size, np.int32)
    for label, region in regions:
        label = BACKGROUND if label in _OF_BACKGROUND else label
        labels += [label] if label not in labels else []
        mask[region] = labels.index(label)
    return mask, tuple(labels)


def _read(path):
    return _parsed(path, *_state(path))


def _state(path):  # size and date: a file that was mended is read again
    found = Path(path).stat()
    return found.st_size, found.st_mtime_ns


@functools.lru_cache(4)
def _parsed(path, size, changed):
    try:
        content = json.loads(Path(path).read_text("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is no valid JSON ({error}): export it again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no annotation file: expected COCO's or labelme's JSON.")
    return content


def _by_image(path):
    """(categories by id, images by id, annotations by image id)."""
    return _sorted(path, *_state(path))


@functools.lru_cache(4)
def _sorted(path, size, changed):
    content, annotations = _parsed(path, size, changed), {}
    for annotation in content["annotations"]:
        annotations.setdefault(annotation["image_id"], []).append(annotation)
    names = {category["id"]: category["name"] for category in content["categories"]}
    return names, {image["id"]: image for image in content["images"]}, annotations


def _coco_regions(path, number):
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        raise ImportError(
            f"{path} is COCO JSON, which takes the package pycocotools: pip install pycocotools."
        ) from error
    names, images, annotations = _by_image(path)
    size = images[number]["height"], images[number]["width"]
    regions = []
    for annotation in annotations.get(number, []):
        if annotation["category_id"] not in names:
            raise ValueError(
                f"{path} has an annotation of category {annotation['category_id']}, which it does "
                f"not name: add it to its categories."
            )
        outline = annotation["segmentation"]
        if isinstance(outline, list) or isinstance(outline["counts"], list):
            try:
                outline = coco.frPyObjects(outline, *size)
            except Exception as error:  # pycocotools' own has no type
                raise ValueError(
                    f"{path} has an outline of {names[annotation['category_id']]!r} that is no "
                    f"polygon and no RLE: export it again."
                ) from error
        outline = coco.merge(outline) if isinstance(outline, list) else outline
        region = coco.decode(outline).astype(bool)
        if region.shape != size:
            raise ValueError(f"{path} has an RLE of another size than its image: export it again.")
        crowd = annotation.get("iscrowd", 0)
        regions.append((CROWD if crowd else names[annotation["category_id"]], region))
    return size, sorted(regions, key=lambda pair: (pair[0] != CROWD, -pair[1].sum()))


def _labelme_regions(content, path):
    size = content["imageHeight"], content["imageWidth"]
    return size, [
        (shape["label"], _labelme_region(shape, size, path)) for shape in content["shapes"]
    ]


def _labelme_region(shape, size, path):
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    if any(len(point) != 2 for point in points):
        raise ValueError(
            f"{path} has {shape['label']!r} with points that are not two numbers: export it again."
        )
    points, region = np.array(points, np.float64), np.zeros(size, np.uint8)
    corners = np.rint(points).astype(np.int32)
    if kind == "polygon" and len(points) > 2:
        cv2.fillPoly(region, [corners], 1)
    elif kind == "rectangle" and len(points) == 2:
        cv2.rectangle(region, *map(tuple, corners.tolist()), 1, cv2.FILLED)
    elif kind == "circle" and len(points) == 2:
        radius = round(float(np.linalg.norm(points[1] - points[0])))
        cv2.circle(region, tuple(corners[0].tolist()), radius, 1, cv2.FILLED)
    else:
        raise ValueError(
            f"{path} has a {kind} of {len(points)} points, {shape['label']!r}: expected polygons, "
            f"rectangles and circles, which have an area."
        )
    return region.astype(bool)
