"""Image files as people have them, as RGB or other channels of 8 bits: upright, as a viewer shows
them."""

import contextlib
import io
import warnings
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image

ORIENTATION = 274  # a tag of EXIF
TURNS = {  # its value -> quarter turns to the left, and whether to mirror afterwards
    **{1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True)},
    **{5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)},
}
DARK = (
    "images of 16 bits use less than an eighth of their range and look nearly black: multiply all "
    "of them by one factor first"
)


class Picture(NamedTuple):
    """- ``pixels``: (H, W, 3) uint8 RGB, or (H, W, bands), upright.
    - ``orientation``: EXIF's, 1 where there is none.
    - ``as_is``: whether the file is a JPEG of just these pixels.
    - ``doubt``: None, or what may be wrong.
    """

    pixels: np.ndarray
    orientation: int = 1
    as_is: bool = False
    doubt: str | None = None


def read(path, bands=None):
    """Reads an image: JPEG, PNG, TIFF, BMP, WebP, GIF, or .npy of (H, W) or (H, W, channels).

    Grey, palette and CMYK become RGB; what is transparent is laid on white; of 16 bits the upper 8
    are kept.

    Args:
        path: Path.
        bands: the channels to keep, counted from 0: three become red, green and blue; with any
            other number, a network of so many channels is trained. None: those of RGB or grey.

    Returns:
        Picture.

    Raises:
        ValueError, OSError, ImportError: it cannot be read; says why and what to do.
    """
    image = None if bands or path.suffix == ".npy" else opened(path)
    if image is None or image.mode.startswith(("I", "F")):
        return _picture(read_array(path), bands, path)
    orientation = _orientation(image)
    as_is = image.format == "JPEG" and image.mode in ("L", "RGB") and orientation == 1
    if image.has_transparency_data:
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image.convert("RGBA"))
    pixels = np.asarray(image.convert("RGB"))
    return Picture(turned(pixels, orientation), orientation, as_is)


def turned(pixels, orientation):
    """Pixels (H, W, ...) as they are stored, turned as EXIF's orientation says."""
    turns, mirrored = TURNS[orientation]
    pixels = np.rot90(pixels, turns)
    return np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)


def png(pixels):
    """The bytes of a PNG of pixels (H, W), (H, W, 3) or (H, W, C) uint8; C channels lie one below
    the other."""
    if pixels.ndim == 3 and pixels.shape[-1] != 3:
        pixels = np.concatenate(np.moveaxis(pixels, -1, 0))
    pixels = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    return cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def opened(path):
    """The file as a decoded Pillow image; None of a TIFF that Pillow does not know.

    Raises:
        ValueError: an empty or damaged file, no picture, or one that is too large.
    """
    if not path.exists():
        raise ValueError(f"{path} leads nowhere: mend the link, or delete it.")
    content = path.read_bytes()
    if not content:
        raise ValueError(f"{path} is empty: copy or export it again, or delete it.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata and large images
        try:
            image = PIL.Image.open(io.BytesIO(content))
            image.load()
        except PIL.Image.DecompressionBombError as error:
            raise ValueError(f"{path} is too large ({error}): cut it into pieces.") from error
        except PIL.UnidentifiedImageError as error:
            if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                return None
            raise ValueError(
                f"{path} is no picture, whatever its name says: save it as PNG or JPEG, or delete "
                f"it."
            ) from error
        except Exception as error:  # the decoders' own: of many kinds
            raise ValueError(
                f"{path} is damaged or cut off ({error}): copy it again, or delete it."
            ) from error
    return image


def read_array(path):
    """The numbers of a .npy file or a TIFF of any number of channels: (H, W) or (H, W, C)."""
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            image = opened(path)
            values = _tifffile(path).imread(path) if image is None else np.asarray(image)
    except ImportError:
        raise
    except Exception as error:  # of many kinds
        raise ValueError(f"{path} cannot be read ({error}): save it again.") from error
    if values.ndim not in (2, 3) or values.shape[2:] > (64,):
        raise ValueError(
            f"{path} has the shape {values.shape}: expected (height, width) or (height, width, "
            f"channels)."
        )
    return values


def _picture(values, bands, path):
    values = values[..., None] if values.ndim == 2 else values
    channels = values.shape[-1]
    bands = bands or {1: (0, 0, 0), 3: (0, 1, 2)}.get(channels)
    if bands is None or not bands or not 0 <= min(bands) <= max(bands) < channels:
        raise ValueError(
            f"{path} has {channels} channels: name those of 0 to {channels - 1} to use, three as "
            f"red, green and blue, such as bands=(2, 1, 0), or any number of others."
        )
    if values.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{path} holds {values.dtype}, whose black and white are unknown: scale it to 0..255 "
            f"and save it as uint8."
        )
    values = np.ascontiguousarray(values[..., list(bands)])
    if values.dtype == np.uint8:
        return Picture(values)
    return Picture((values >> 8).astype(np.uint8), doubt=DARK if values.max() < 2**13 else None)


def _orientation(image):
    with contextlib.suppress(Exception):  # EXIF that cannot be read
        return {value: value for value in TURNS}.get(image.getexif().get(ORIENTATION), 1)
    return 1


def _tifffile(path):
    try:
        import tifffile
    except ImportError as error:
        raise ImportError(
            f"{path} is a TIFF of many channels, which takes a package: pip install tifffile."
        ) from error
    return tifffile
