"""What each pixel of a photograph shows: a photo of any kind in, a mask of its size out.

    python -m helpers.prediction cat.jpg

is the command, see ``helpers.prediction.__main__``; these are its parts.
"""

import hashlib
import io
import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image
import PIL.PngImagePlugin

from helpers import clips, cutout, evaluation, overlays, photos, tiles, weights
from helpers.photos import network_input, read_photo

WEIGHTS = "mobilenetv2_unet_256.onnx"
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif")
OVERLAY_SIDE = 1600
KINDS, CUT_KINDS = ("mask", "overlay"), ("cutout",)  # of files
SOFTWARE = "helpers.prediction"  # written into each file: tells ours from a user's own
ORIGIN = "Origin"  # of which photo and network a file is, likewise
END = b"IEND\xaeB`\x82"  # of a PNG that is complete


def predict_photo(network, photo):
    """The class of each pixel of a photograph, at its own size.

    The network's probabilities are resized bilinearly and then decided, as in
    ``evaluation.measure``, but strip by strip: beside the photo and the result it takes 8 bytes
    x classes x the network's input height x the photo's width (at 256 px and three classes, 61 MB
    for 10,000 pixels). How the photo comes to the network is the network's ``view``.

    Args:
        network: weights.Network.
        photo: (H, W, channels) uint8, from ``read_photo``, or with the bands of the ``view``.

    Returns:
        (H, W) uint8 class ids of the network's labelling; with one logit only 0 and 1.

    Raises:
        ValueError: as ``network_input``; or the model's output does not fit its labelling.
    """
    photo = photos.checked(photo)
    if network.view.overlap is not None:
        return tiles.predict(network, photo, network.view.overlap)
    if network.view.letterbox:
        (tile,) = tiles.frame(photo.shape[:2], network.model.input_shape[1:3])
        stretching = network._replace(view=network.view._replace(letterbox=False))
        return predict_photo(stretching, tiles.cut(photo, tile))[tile.core]
    return decided(network, probabilities(network, photo), photo.shape[:2])


def probabilities(network, photo):
    """Probabilities (h, w, K) of the classes, or of the first and the second, at the network's
    size, of a photo that is stretched to it."""
    images = network_input(photo, network.model.input_shape[1:3])[None]
    return evaluation.predict_probabilities(network.model, images, network.labelling)[0]


def decided(network, found, size):
    """The class ids (H, W) uint8 that follow from probabilities at a size (H, W), see
    ``predict_photo``."""
    height, width = size
    wide = photos.resized_maps(found, (len(found), width))
    ids = np.empty((height, width), np.uint8)
    for rows in photos.strips(height, width):
        ids[rows] = evaluation.decide(photos.resized_rows(wide, rows, height), network.threshold)
    return ids


def is_whole(network):
    """Whether photos are seen by it whole, and stretched to its size."""
    return network.view.overlap is None and not network.view.letterbox


def in_tiles(network, size):
    """The same network for photos in tiles of their own pixels.

    Args:
        network: weights.Network.
        size: of the tiles, int; they overlap by a quarter. 0: no tiles, each photo is seen whole.

    Returns:
        weights.Network.

    Raises:
        ValueError: the network cannot take tiles of that size.
    """
    if size == 0:
        return network._replace(view=network.view._replace(overlap=None))
    view = network.view._replace(overlap=size // 8 * 2)
    return weights.at_size(network, size)._replace(view=view)


class Cut(NamedTuple):
    """What is cut out: names of classes, see ``cutout.roles``; and what it is laid on, see
    ``cutout.compose``, None for nothing."""

    foreground: tuple | None = None
    background: object = None


def cut_out(network, photo, cut=None):
    """The foreground of a photograph with its fur: (H, W, 4) uint8, see ``cutout.cut_out``, or
    (H, W, 3) on a background.

    Raises:
        ValueError: as ``predict_photo`` and ``cutout.roles``; or a network of one logit does not
            know what is to be cut out.
    """
    cut = cut or Cut()
    parts = cutout.roles(network.labelling, cut.foreground)
    if network.threshold is not None and not {0, 1} <= {*parts[:2]}:
        first, second, *_ = network.labelling.names
        raise ValueError(
            f"This network tells {first} and {second} apart alone: name one of them as foreground."
        )
    found = probabilities(network, photo) if is_whole(network) else predict_photo(network, photo)
    found = cutout.cut_out(rgb(photo), found, parts)
    return found if cut.background is None else cutout.compose(found, cut.background)


# Files


def results(network, path, folder=None, cut=None):
    """What is to be written of a photograph: its mask and its overlay, or its cut-out; see
    ``output_paths`` and ``files.write_all``.

    Args:
        network: weights.Network.
        path: Path of the photo.
        folder: where to write; None for the photo's own.
        cut: Cut; None for mask and overlay.

    Returns:
        dict of path -> bytes; and the class ids as of ``predict_photo``, None of a cut-out.

    Raises:
        OSError: there is no photo.
        ValueError: as ``read_photo`` and ``predict_photo``; or a file of that name is there that
            was not written from these; or the photo was.
    """
    targets = output_paths(path, folder, KINDS if cut is None else CUT_KINDS)
    _check_targets(path, targets)
    photo, origin = _read(path, network.view.bands), origin_of(network, path, cut)
    if cut is not None:
        picture = PIL.Image.fromarray(cut_out(network, photo, cut))
        return {targets[0]: _png(picture, origin, level=4)}, None
    ids = predict_photo(network, photo)
    overlay = overlays.overlay(*_reduced(rgb(photo), ids), network.labelling)
    mask = _png(mask_picture(ids, network.labelling), origin, level=4)
    # A sixth more bytes than of the usual level for an overlay, in a quarter of the time.
    return dict(zip(targets, (mask, _png(PIL.Image.fromarray(overlay), origin, level=1)))), ids


def predict_clip(network, path, kind="overlay", folder=None, cut=None, progress=None):
    """Makes of a video, frame by frame, an overlay video, or a folder of masks or cut-outs.

    Args:
        network, path, folder, cut: as in ``results``.
        kind: "overlay", or "mask"; of no account with ``cut``.
        progress: as in ``clips.convert``.

    Returns:
        clips.Converted, and the path of what was written.

    Raises:
        OSError, ValueError: as ``clips.convert`` and ``cut_out``.
    """

    def draw(frame):
        if cut is not None:
            return cut_out(network, frame, cut)
        ids = predict_photo(network, frame)
        if kind == "overlay":
            return overlays.overlay(frame, ids, network.labelling)
        return mask_picture(ids, network.labelling)

    kind = kind if cut is None else CUT_KINDS[0]
    (target,) = output_paths(path, folder, [kind], ".mp4" if kind == "overlay" else "")
    return clips.convert(path, target, draw, progress), target


def output_paths(path, folder=None, kinds=KINDS, suffix=".png"):
    """Where what is made of a photo is written: its mask and its overlay."""
    path = Path(path)
    folder = path.parent if folder is None else Path(folder)
    return tuple(folder / f"{path.stem}_{kind}{suffix}" for kind in kinds)


def find_photos(folder):
    """The photos in a folder and in the folders in it, by their names' ends; hidden ones are
    nobody's photos.

    Raises:
        ValueError: there are none.
    """
    found = [
        path
        for path in sorted(Path(folder).rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    if not found:
        raise ValueError(f"{folder} has no photos in it: expected {', '.join(SUFFIXES)}.")
    return found


def mask_picture(ids, labelling):
    """Class ids (H, W) uint8 as a PIL image with the classes' colours as its palette."""
    mask = PIL.Image.fromarray(ids)
    mask.putpalette(np.array(labelling.colors, np.uint8).tobytes())
    return mask


def is_done(network, path, targets, cut=None):
    """Whether these files are there, complete, and of this photo and network."""
    origin = network.sha256 and origin_of(network, path, cut)
    return all(
        origin and written(target, ORIGIN) == origin and _ends(target, END) for target in targets
    )


def origin_of(network, path, cut=None):
    """What tells whether files would come out the same: the network's file, how it is used, and
    the photo's size and date."""
    state = os.stat(path)
    used = (network.sha256, network.model.input_shape, network.view, network.threshold)
    how = cut and (cut.foreground, _digest(cut.background))
    known = (*used, network.mirrored, network.enlarged, how, state.st_size, state.st_mtime_ns)
    return hashlib.sha256(repr(known).encode()).hexdigest()[:16]


def _digest(background):
    if background is None:
        return None
    pixels = np.asarray(background, np.uint8)
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def is_ours(path):
    """Whether a file was written by these functions."""
    return written(path, "Software") == SOFTWARE


def written(path, name):
    """What a picture's file says under that name; None where it says nothing or is none."""
    try:
        with photos.opened(Path(path)) as image:
            return image.info.get(name)
    except (OSError, ValueError):
        return None


def _read(path, bands):
    if bands is None:
        return read_photo(path)
    from helpers.datasets.folder import images  # loads TensorFlow, which photographs do without

    return images.read(path, bands).pixels


def rgb(photo):
    """(H, W, 3) of an image (H, W, channels), to look at: its first three channels, or the first
    alone, three times."""
    channels = photo.shape[-1]
    return photo if channels == 3 else photo[..., [0, 1, 2] if channels > 3 else [0, 0, 0]]


def _check_targets(path, targets):
    if is_ours(path):
        raise ValueError(f"{path} was made from a photo by {SOFTWARE}: give the photo itself.")
    for target in targets:
        if os.path.lexists(target) and not is_ours(target):
            raise ValueError(
                f"{path}: {target} is there and was not written by {SOFTWARE}. Move it away, or "
                f"write to another folder with --out."
            )


def _reduced(photo, ids):
    longest = max(ids.shape)
    if longest <= OVERLAY_SIDE:
        return photo, ids
    size = [max(1, round(side * OVERLAY_SIDE / longest)) for side in ids.shape[::-1]]
    return (
        cv2.resize(photo, size, interpolation=cv2.INTER_AREA),
        cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST),
    )


def _ends(path, content):
    with open(path, "rb") as file:
        file.seek(-len(content), os.SEEK_END)
        return file.read() == content


def _png(image, origin, level):
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("Software", SOFTWARE)
    text.add_text(ORIGIN, origin)
    png = io.BytesIO()
    image.save(png, "PNG", pnginfo=text, compress_level=level)
    return png.getvalue()
