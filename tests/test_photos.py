"""Photographs of any kind: read whole or one clear error, and seen by a network as in training."""

import io
import struct

import cv2
import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
from PIL.Image import Transpose

from helpers import photos, pipeline
from helpers.classes import PETS

RED, GREEN, BLUE, MOSS = (220, 40, 30), (40, 170, 60), (30, 60, 200), (20, 120, 30)
RNG = np.random.default_rng(0)


def test_maps_of_many_classes_are_resized_as_each_alone():
    maps = RNG.random((4, 6, 150), np.float32)
    found = photos.resized_maps(maps, (8, 9))
    alone = [cv2.resize(maps[..., n].copy(), (9, 8)) for n in (0, 127, 128, 149)]
    assert found.shape == (8, 9, 150)
    assert np.allclose(found[..., [0, 127, 128, 149]], np.stack(alone, -1), atol=1e-6)


# Photos in files


def quadrants(*four):
    """(32, 48, ...) uint8: top left, top right, bottom left, bottom right."""
    rows, columns = np.mgrid[:32, :48]
    return np.array(four, np.uint8)[2 * (rows >= 16) + (columns >= 24)]


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def frames(form, **options):
    """The picture, and a second one that is not to be seen."""
    more = [PIL.Image.new("RGB", (48, 32))]
    return saved(COLOUR, form, save_all=True, append_images=more, **options)


def exif(orientation):
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    return tags


def changed(content, old, new, pattern=None):
    old, new = (struct.pack(pattern, *v) if pattern else v for v in (old, new))
    assert content.count(old) == 1
    return content.replace(old, new)


def on_white(values):
    alpha = HALF[..., None] / 255
    return np.rint(values * alpha + 255 * (1 - alpha)).astype(np.uint8)


PICTURE, CLASSES = quadrants(RED, GREEN, BLUE, MOSS), quadrants(0, 1, 2, 1)  # as BY_COLOUR says
GREY, HALF = quadrants(30, 90, 160, 230), quadrants(255, 0, 128, 64)
GREYS = np.repeat(GREY[..., None], 3, axis=-1)
DEEP = GREY.astype(np.uint16) * 256 + 77  # 77: what is cut off
BGR = PICTURE[..., ::-1].astype(np.uint16) * 256 + 77
HOLE = quadrants(RED, (255, 255, 255), BLUE, MOSS)  # GREEN was made transparent
COLOUR = PIL.Image.fromarray(PICTURE)
PALETTE = COLOUR.quantize(16, dither=PIL.Image.Dither.NONE)
CLEAR = PALETTE.copy()
CLEAR.info["transparency"] = PALETTE.getpixel((40, 5))
DEEP_TIFF = saved(PIL.Image.fromarray(DEEP), "TIFF")
DAMAGED = {"exif": b"Exif\0\0nothing"}

# How an upright picture of each kind is stored, and what it looks like.
KINDS = {
    "colour": (COLOUR, PICTURE),
    "grey": (PIL.Image.fromarray(GREY), GREYS),
    "1-bit": (PIL.Image.fromarray(GREY > 99), np.where(GREYS > 99, 255, 0)),
    "16-bit": (PIL.Image.fromarray(DEEP), GREYS),
    "palette": (PALETTE, PICTURE),
    "clear": (CLEAR, HOLE),
    "cmyk": (COLOUR.convert("CMYK"), PICTURE),
    "ycbcr": (COLOUR.convert("YCbCr"), PICTURE),
    "grey+alpha": (PIL.Image.fromarray(np.dstack([GREY, HALF])), on_white(GREYS)),
    "colour+alpha": (PIL.Image.fromarray(np.dstack([PICTURE, HALF])), on_white(PICTURE)),
}
FORMS = {  # its options, and the kinds that it can hold
    "JPEG": ({"quality": 95, "subsampling": 0}, "colour grey cmyk"),
    "PNG": ({}, "colour grey 1-bit 16-bit palette clear grey+alpha colour+alpha"),
    "WEBP": ({"lossless": True, "exact": True}, "colour colour+alpha"),
    "TIFF": ({}, "colour grey 1-bit 16-bit palette cmyk ycbcr grey+alpha colour+alpha"),
    "AVIF": ({"quality": 95, "subsampling": "4:4:4"}, "colour"),
    "GIF": ({}, "palette clear"),
    "BMP": ({}, "colour grey 1-bit palette"),
}
GOOD = {
    f"{kind} {form}": (saved(KINDS[kind][0], form, **options), KINDS[kind][1])
    for form, (options, kinds) in FORMS.items()
    for kind in kinds.split()
} | {
    "progressive JPEG": (saved(COLOUR, "JPEG", progressive=True, **FORMS["JPEG"][0]), PICTURE),
    "JPEG of several pictures": (frames("MPO", **FORMS["JPEG"][0]), PICTURE),
    "JPEG, orientation 0": (saved(COLOUR, "JPEG", exif=exif(0), **FORMS["JPEG"][0]), PICTURE),
    "damaged EXIF": (saved(COLOUR, "WEBP", **DAMAGED, **FORMS["WEBP"][0]), PICTURE),
    "animated PNG": (frames("PNG"), PICTURE),
    "animated WEBP": (frames("WEBP", lossless=True), PICTURE),
    "TIFF of several pages": (frames("TIFF"), PICTURE),
    "compressed TIFF": (saved(COLOUR, "TIFF", compression="tiff_lzw"), PICTURE),
    "big-endian 16-bit TIFF": (saved(PIL.Image.fromarray(DEEP.astype(">u2")), "TIFF"), GREYS),
    "a transparent colour": (saved(COLOUR, "PNG", transparency=GREEN), HOLE),
    "a transparent 16-bit grey": (
        saved(PIL.Image.fromarray(DEEP), "PNG", transparency=90 * 256 + 77),
        np.where(GREYS == 90, 255, GREYS),
    ),
    "16-bit colour": (cv2.imencode(".png", BGR)[1].tobytes(), PICTURE),
    "16-bit colour+alpha": (
        cv2.imencode(".png", np.dstack([BGR, HALF * np.uint16(257)]))[1].tobytes(),
        on_white(PICTURE),
    ),
    "one pixel": (saved(PIL.Image.new("RGB", (1, 1), RED), "PNG"), np.full((1, 1, 3), RED)),
}
BAD = {
    "empty": (b"", "is empty: copy or download it again"),
    "web page": (b"\n<!DOCTYPE html><html>Not found</html>", "is a web page, not a photo"),
    "text": (b"a cat sits on a mat", "is not a photo that can be read"),
    "pdf": (b"%PDF-1.7\n", "is a PDF file, not a photo"),
    "svg": (b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", "is an SVG or XML file"),
    "heic": (b"\0\0\0\x18ftypmif1\0\0\0\0heic" + bytes(99), "a HEIC file, .* Save it as JPEG"),
    # Pillow would hand it to Ghostscript, if it is there.
    "postscript": (saved(COLOUR, "EPS"), "is not a photo that can be read"),
    "header": (saved(COLOUR, "JPEG")[:20], "is not a photo .* at its beginning"),
    "damaged": (
        changed(saved(COLOUR, "BMP"), [54], [999], "<I"),
        "is damaged or cut off .*: copy or download it again",
    ),
    "32-bit": (saved(PIL.Image.fromarray(GREY.astype(np.int32)), "TIFF"), r"unknown \(mode I\)"),
    "float": (saved(PIL.Image.fromarray(GREY / np.float32(255)), "TIFF"), r"unknown \(mode F\)"),
    "lab": (saved(PIL.Image.new("LAB", (8, 8)), "TIFF"), "white are unknown .* with 8 bits"),
    "12-bit": (changed(DEEP_TIFF, (258, 3, 1, 16), (258, 3, 1, 12), "<HHII"), "are unknown"),
    "white is 0": (changed(DEEP_TIFF, (262, 3, 1, 1), (262, 3, 1, 0), "<HHII"), "are unknown"),
    "BMP bomb": (
        changed(saved(COLOUR, "BMP"), (48, 32), (30_000, 30_000), "<ii"),
        "is 30000 x 30000 pixels: expected at most 200 million, .* Make it smaller",
    ),
    "GIF bomb": (
        changed(saved(PALETTE, "GIF"), b"GIF87a\x30\0\x20\0", b"GIF87a" + 4 * b"\xff"),
        "is 65535 x 65535 pixels",
    ),
    "wide bomb": (saved(PIL.Image.new("L", (65_536, 3)), "PNG"), "and 65,535 on a side"),
}


def refuse(*args, **kwargs):
    raise AssertionError("this must not be called")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "photo.jpg"  # whatever it is: its content decides


def is_near(photo, expected):
    return photo.shape == expected.shape and np.abs(photo.astype(int) - expected).max() <= 6


# Reading


@pytest.mark.parametrize("name", GOOD)
def test_a_photo_is_read_whole_or_not_at_all(path, name):
    content, expected = GOOD[name]
    path.write_bytes(content)
    photo, errors = photos.read_photo(path), 0
    assert photo.dtype == np.uint8 and is_near(photo, expected)
    for cut in np.linspace(1, len(content) - 1, 12).astype(int):
        path.write_bytes(content[:cut])
        try:  # without an error, only what comes behind the picture was cut off
            assert np.array_equal(photos.read_photo(path), photo), cut
        except ValueError as error:
            assert str(path) in str(error)
            errors += 1
    assert errors >= 3


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_photo_is_upright(path, form):
    # What turns the upright picture into the stored one, by EXIF orientation.
    turns = [None, Transpose.FLIP_LEFT_RIGHT, Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM]
    turns += [Transpose.TRANSPOSE, Transpose.ROTATE_90, Transpose.TRANSVERSE, Transpose.ROTATE_270]
    options, kinds = FORMS[form]
    for kind in kinds.split():
        image, expected = KINDS[kind]
        for orientation, turn in enumerate(turns, 1):
            stored = image if turn is None else image.transpose(turn)
            path.write_bytes(saved(stored, form, exif=exif(orientation), **options))
            assert is_near(photos.read_photo(path), expected), (kind, orientation)


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_photo_is_one_clear_error(path, name, monkeypatch):
    content, message = BAD[name]
    path.write_bytes(content)
    if "bomb" in name:
        monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", refuse)  # not even begun to decode
    limit = PIL.Image.MAX_IMAGE_PIXELS
    with pytest.raises(ValueError, match=message) as caught:
        photos.read_photo(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and text.endswith(".") and "\n" not in text
    assert PIL.Image.MAX_IMAGE_PIXELS == limit  # others use Pillow as well


def test_two_that_are_read_at_once_leave_pillow_as_it_was(path):
    path.write_bytes(saved(COLOUR, "PNG"))
    limit = PIL.Image.MAX_IMAGE_PIXELS
    first, second = photos.opened(path), photos.opened(path)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert PIL.Image.MAX_IMAGE_PIXELS is None
    second.__exit__(None, None, None)
    assert PIL.Image.MAX_IMAGE_PIXELS == limit


# As a network sees it


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
@pytest.mark.parametrize(
    "shape", [(32, 32), (1, 1), (3, 10_000), (2, 40_000), (5_000, 2), (7, 9), (700, 901)]
)
def test_a_network_sees_a_photo_as_in_training(shape, size, monkeypatch):
    monkeypatch.setattr(photos, "STRIP", 5_000)
    photo = RNG.integers(0, 256, (*shape, 3), np.uint8)
    blank = np.full(shape, PETS.ids[0], np.uint8)
    record = {"image": photo, "segmentation_mask": blank}
    record = {name: saved(PIL.Image.fromarray(array), "PNG") for name, array in record.items()}
    expected, _ = pipeline.decode({**record, "file_name": ""}, size, PETS)
    seen = photos.network_input(photo, size)
    assert seen.dtype == np.uint8 and seen.shape == (*size, 3)
    assert np.abs(seen.astype(int) - expected.numpy()).max() <= 1  # of 255
    assert np.array_equal(photos.network_input(photo[..., :2], size), seen[..., :2])
