"""Photographs: a file of any kind in, pixels as a viewer shows them out; and what a network sees
of them. In bounded memory, without TensorFlow."""

import contextlib
import os
import threading
import warnings
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I;16B")
MAX_PIXELS = 200_000_000  # the largest photographs of telephones, 16,320 x 12,240, are below it
MAX_SIDE = 65_535  # as in JPEG
STRIP = 2**18  # pixels that are worked on at once
STEP = 32  # a network of ours can take any input whose sides divide by it
OTHER_KINDS = {  # by the first bytes, in small letters: what is often taken for a photo
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<?xml": "an SVG or XML file",
    b"<svg": "an SVG file",
    b"%pdf": "a PDF file",
}
_LOCK, _READERS, _OFF = threading.Lock(), [], contextlib.ExitStack()


class View(NamedTuple):
    """How an image comes to a network.

    - ``overlap``: of the tiles in which it is seen, see ``tiles.grid``; None: it is seen whole.
    - ``letterbox``: whether the whole keeps its aspect ratio, see ``tiles.frame``.
    - ``bands``: its channels that are seen, see ``datasets.folder.images.read``; None: RGB.
    """

    overlap: int | None = None
    letterbox: bool = False
    bands: list | None = None


def read_photo(path):
    """A photograph as a viewer shows it.

    - JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF: the content decides, not the file's name.
    - Turned upright as its EXIF orientation says; without one, or with one that cannot be read, it
      is taken as it is.
    - The first picture of several: frames of an animation, pages.
    - Transparent pixels are laid on white: if alpha was dropped, colours would come up that nobody
      has seen.
    - Of 16 bits a channel the upper 8 are kept. Grey, palette and CMYK (in a JPEG inverted, as
      Adobe writes it) become RGB, without regard to colour profiles, as in training.
    - At most ``MAX_PIXELS`` pixels and ``MAX_SIDE`` on a side; what is larger is refused before it
      is decoded. Memory: at most 8 bytes a pixel, and what the decoder takes for itself (nothing
      that counts, but 3 to 6 bytes a pixel for a progressive JPEG and 8 for WebP).

    Args:
        path: of the file.

    Returns:
        (H, W, 3) uint8 RGB, 0..255.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a folder, an empty, damaged or cut file, no picture, too many pixels, or pixels
            whose black and white are unknown (32 bits, 12 bits, LAB). Names the file and what to
            do.
    """
    path = Path(path)
    _check_file(path)
    with opened(path) as image:
        width, height = image.size
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
            raise ValueError(
                f"{path} is {width} x {height} pixels: expected at most "
                f"{MAX_PIXELS / 1e6:.0f} million, and {MAX_SIDE:,} on a side. Make it smaller."
            )
        try:
            image.load()
        except MemoryError:
            raise
        except Exception as error:  # the decoders' own: of many kinds
            raise ValueError(
                f"{path} is damaged or cut off ({type(error).__name__}: {error}): copy or "
                f"download it again."
            ) from error
        if image.mode not in MODES or not _is_full_range(image):
            raise ValueError(
                f"{path} has pixels whose black and white are unknown (mode {image.mode}): "
                f"expected grey, RGB, palette or CMYK of 8 or 16 bits. Save it as PNG with 8 bits."
            )
        with contextlib.suppress(Exception):  # what is left of EXIF that cannot be read
            PIL.ImageOps.exif_transpose(image, in_place=True)
        photo = np.empty((image.height, image.width, 3), np.uint8)
        for rows in strips(*photo.shape[:2]):
            photo[rows] = _rgb(image.crop((0, rows.start, image.width, rows.stop)))
    return photo


def network_input(photo, size):
    """A photograph as the network sees it: as ``pipeline.decode`` resizes it, within one level of
    255, in bounded memory.

    A JPEG differs from ``pipeline.decode`` by a few levels of 255 for another reason: Pillow
    decodes it with an exact inverse DCT, TensorFlow with a fast one. Of 200 test photos 0.3 % of
    the pixels get another class by it, and the mean IoU changes by 0.0001.

    Args:
        photo: (H, W, channels) uint8, such as from ``read_photo``.
        size: int or (height, width), pixels.

    Returns:
        (height, width, channels) uint8, bilinear with antialiasing; the aspect ratio is ignored.

    Raises:
        ValueError: a photo of another shape or type, or a size that is no whole pixels.
    """
    photo, (height, width) = checked(photo), sides(size)
    # First the width, strip by strip, then the height: which is how Pillow does both at once, but
    # its copy, of 4 bytes a pixel, is of a few rows and not of the whole photo.
    narrow = [
        _resized(photo[rows], (rows.stop - rows.start, width)) for rows in strips(*photo.shape[:2])
    ]
    return _resized(np.concatenate(narrow), (height, width))


def checked(photo):
    """The photograph as an array, if it is one.

    Raises:
        ValueError: another type than uint8 or another shape than (H, W, channels), or no pixels.
    """
    photo = np.asarray(photo)
    if photo.ndim != 3 or photo.dtype != np.uint8 or not photo.size:
        raise ValueError(
            f"The photo is {photo.dtype} of shape {photo.shape}: expected uint8, 0..255, of shape "
            f"(H, W, 3), as read_photo gives it. Multiply floats of 0..1 by 255 and round them."
        )
    return photo


def sides(size):
    """(height, width) in pixels, of a size given as one number or as two.

    Raises:
        ValueError: not whole numbers of 1 or more.
    """
    pair = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, int) and side >= 1 for side in pair):
        raise ValueError(
            f"size={size!r}: expected whole pixels, 1 or more, one number or (height, width)."
        )
    return pair


def enlarged_size(size):
    """(height, width) that a network looks at beside a size (height, width): a quarter more,
    rounded up to what each network of ours can take."""
    return tuple(-(-side * 5 // (4 * STEP)) * STEP for side in size)


def _resized(pixels, size):
    """By Pillow's triangle filter, whose numbers are those of tf.image.resize with antialiasing
    but for its rounding to whole levels after each side."""
    if pixels.shape[-1] != 3:
        planes = [_resized_plane(pixels[..., k], size) for k in range(pixels.shape[-1])]
        return np.stack(planes, axis=-1)
    return _resized_plane(pixels, size)


def _resized_plane(pixels, size):
    image = PIL.Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize(size[::-1], PIL.Image.Resampling.BILINEAR))


def strips(length, width):
    """Slices of a length, each as many as make a strip of ``STRIP`` pixels, or one."""
    step = max(1, STRIP // width)
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def resized_maps(maps, size):
    """Maps (h, w, K) resized bilinearly to (height, width): (height, width, K), by OpenCV, which
    takes 128 channels at once."""
    parts = [
        cv2.resize(np.ascontiguousarray(maps[..., first : first + 128]), size[::-1])
        for first in range(0, maps.shape[-1], 128)
    ]
    return np.concatenate([part.reshape(*size, -1) for part in parts], axis=-1)


def resized_rows(values, rows, height):
    """These rows of values (h, W, K) resized bilinearly to that height, as by OpenCV."""
    places = (np.arange(rows.start, rows.stop) + 0.5) * len(values) / height - 0.5
    places = places.clip(0, len(values) - 1)
    above = places.astype(np.intp)
    below = np.minimum(above + 1, len(values) - 1)
    share = (places - above)[:, None, None]
    return (1 - share) * values[above] + share * values[below]


def _check_file(path):
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder: give the photos in it, such as {path / '*.jpg'}.")
    if not os.path.isfile(path):  # not Path's, which fails where a name is too long
        raise FileNotFoundError(f"{path}: there is no such file.")
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise ValueError(f"{path} is empty: copy or download it again.")
    words = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    kinds = [kind for first, kind in OTHER_KINDS.items() if words.startswith(first)]
    if start[4:8] == b"ftyp" and b"hei" in start[8:40]:  # a list of four letters each
        kinds = ["a HEIC file"]
    if kinds:
        raise ValueError(f"{path} is {kinds[0]}, not a photo that can be read: {_remedy()}")


def _remedy():
    return f"expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}. Save it as JPEG or PNG."


@contextlib.contextmanager
def opened(path):
    """The file as a Pillow image, its size known and its pixels not yet decoded."""
    # Not the path itself: from a path, Pillow 13 maps an uncompressed TIFF into memory, and
    # scrambles one that is stored on its side.
    with _pillow_let_be(), path.open("rb") as file:
        try:
            image = PIL.Image.open(file, formats=FORMATS)
        except Exception as error:  # the decoders' own: of many kinds
            raise ValueError(
                f"{path} is not a photo that can be read, or is damaged at its beginning: "
                f"{_remedy()}"
            ) from error
        yield image


@contextlib.contextmanager
def _pillow_let_be():
    """Without Pillow's limit, which is below what telephones take (we have our own), and without
    its warnings about metadata. Both are the whole process's: the first thread that reads switches
    them off, the last one back on."""
    with _LOCK:
        if not _READERS:
            _OFF.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            _OFF.callback(setattr, PIL.Image, "MAX_IMAGE_PIXELS", PIL.Image.MAX_IMAGE_PIXELS)
            PIL.Image.MAX_IMAGE_PIXELS = None
        _READERS.append(threading.get_ident())
    try:
        yield
    finally:
        with _LOCK:
            _READERS.pop()
            if not _READERS:
                _OFF.close()


def _is_full_range(image):
    """False for grey of 12 bits or with white as 0, which Pillow gives as grey of 16 bits."""
    if image.format != "TIFF" or not image.mode.startswith("I;16"):
        return True
    bits, white_is_zero = image.tag_v2.get(258), image.tag_v2.get(262) == 0
    return bits == (16,) and not white_is_zero


def _rgb(image):
    """A piece of a Pillow image as (H, W, 3) or (H, W, 1) uint8."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion would clip at 255
        values = np.asarray(image)
        grey = (values >> 8).astype(np.uint8)
        grey[values == image.info.get("transparency", -1)] = 255
        return grey[..., None]
    if image.has_transparency_data:
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))
