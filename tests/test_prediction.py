"""Photographs of any kind: a right result or one clear error, and masks that fit the photo."""

import contextlib
import io
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
import tensorflow as tf

from helpers import data, evaluate, evaluation, prediction, synthetic_pets, visualization, weights

REPOSITORY = Path(__file__).parents[1]
RED, GREEN, BLUE, MOSS = (220, 40, 30), (40, 170, 60), (30, 60, 200), (20, 120, 30)


def quadrants(*four):
    """(32, 48, ...) uint8: top left, top right, bottom left, bottom right."""
    rows, columns = np.mgrid[:32, :48]
    return np.array(four, np.uint8)[2 * (rows >= 16) + (columns >= 24)]


PICTURE = quadrants(RED, GREEN, BLUE, MOSS)
CLASSES = quadrants(0, 1, 2, 1)  # what ByColour makes of it
GREY = quadrants(30, 90, 160, 230)
GREY_PICTURE = np.repeat(GREY[..., None], 3, axis=-1)
BLACK = np.zeros_like(PICTURE)


class ByColour:
    """Red is pet, green background, blue border."""

    input_shape = (None, 32, 32, 3)

    def predict_on_batch(self, images):
        return images.astype(np.float32) / 20


class Redness(ByColour):
    """One logit: the redder, the more of a pet."""

    def predict_on_batch(self, images):
        return images[..., :1].astype(np.float32) / 20 - 6


# Making files

FINE = {"quality": 95, "subsampling": 0}  # colours as sharp as brightness


def picture(values=PICTURE, mode=None):
    image = PIL.Image.fromarray(values)
    return image if mode is None else image.convert(mode)


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def jpeg(image, **options):
    return saved(image, "JPEG", **FINE, **options)


def exif(orientation):
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    return tags


def png(width, height, depth, colour, rows, *chunks):
    """The bytes of a PNG; rows with a leading 0 each, chunks of (kind, data) before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in parts
    )


def deep_png(values, colour, *chunks):
    """A PNG of 16 bits from (H, W, ...) whole numbers; colour is PNG's colour type."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], 16, colour, rows, *chunks)


def tiff(width, height, bits, photometric, pixels, order="<"):
    """The bytes of an uncompressed TIFF of one channel."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8}
    tags.update({277: 1, 278: height, 279: len(pixels)})
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, tags[tag]) for tag in tags)
    start = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(pixels))
    return start + pixels + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def with_alpha(values, alpha):
    return PIL.Image.fromarray(np.dstack([values, alpha]))


def palette(colours=16):
    return picture().quantize(colours, dither=PIL.Image.Dither.NONE)


def on_white(values, alpha):
    alpha = alpha[..., None] / 255
    return np.rint(values * alpha + 255 * (1 - alpha)).astype(np.uint8)


def more():
    """Options that save a second frame or page, which is not to be seen."""
    return {"save_all": True, "append_images": [picture(BLACK)]}


def changed(content, old, new):
    assert content.count(old) == 1
    return content.replace(old, new)


HALF = quadrants(255, 0, 128, 64)
FAINT = on_white(PICTURE, HALF)
HOLE = quadrants(RED, (255, 255, 255), BLUE, MOSS)  # GREEN was made transparent
FORMS = {
    "JPEG": FINE,
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}
DEEP = GREY.astype(np.uint16) * 256 + 77  # 77: what is cut off
DEEP_COLOUR = PICTURE.astype(np.uint16) * 256 + 77

# Name: the file's content, what is to come out, how far off a value may be.
GOOD = {
    "jpeg": (lambda: jpeg(picture()), PICTURE, 3),
    "progressive jpeg": (lambda: jpeg(picture(), progressive=True), PICTURE, 3),
    "grey jpeg": (lambda: jpeg(picture(GREY)), GREY_PICTURE, 2),
    "cmyk jpeg": (lambda: jpeg(picture(mode="CMYK")), PICTURE, 6),
    "jpeg of several pictures": (lambda: saved(picture(), "MPO", **FINE, **more()), PICTURE, 3),
    "jpeg, orientation 0": (lambda: jpeg(picture(), exif=exif(0)), PICTURE, 3),
    "webp, damaged exif": (
        lambda: saved(picture(), "WEBP", lossless=True, exif=b"Exif\0\0nothing"),
        PICTURE,
        0,
    ),
    "png": (lambda: saved(picture(), "PNG"), PICTURE, 0),
    "grey png": (lambda: saved(picture(GREY), "PNG"), GREY_PICTURE, 0),
    "grey+alpha png": (
        lambda: saved(with_alpha(GREY, HALF), "PNG"),
        on_white(GREY_PICTURE, HALF),
        1,
    ),
    "colour+alpha png": (lambda: saved(with_alpha(PICTURE, HALF), "PNG"), FAINT, 1),
    "png, one transparent colour": (lambda: saved(picture(), "PNG", transparency=GREEN), HOLE, 0),
    "1-bit png": (
        lambda: saved(picture(quadrants(0, 255, 255, 0), "1"), "PNG"),
        quadrants(*[(v, v, v) for v in (0, 255, 255, 0)]),
        0,
    ),
    "palette png": (lambda: saved(palette(), "PNG"), PICTURE, 2),
    "palette png, transparent": (
        lambda: saved(palette(), "PNG", transparency=palette().getpixel((40, 5))),
        HOLE,
        2,
    ),
    "16-bit grey png": (lambda: deep_png(DEEP, 0), GREY_PICTURE, 0),
    "16-bit grey png, transparent": (
        lambda: deep_png(DEEP, 0, (b"tRNS", struct.pack(">H", 90 * 256 + 77))),
        np.where(GREY_PICTURE == 90, 255, GREY_PICTURE),
        0,
    ),
    "16-bit grey+alpha png": (
        lambda: deep_png(np.dstack([DEEP, HALF * np.uint16(257)]), 4),
        on_white(GREY_PICTURE, HALF),
        1,
    ),
    "16-bit colour png": (lambda: deep_png(DEEP_COLOUR, 2), PICTURE, 0),
    "16-bit colour+alpha png": (
        lambda: deep_png(np.dstack([DEEP_COLOUR, HALF * np.uint16(257)]), 6),
        FAINT,
        1,
    ),
    "animated png": (lambda: saved(picture(), "PNG", **more()), PICTURE, 0),
    "gif": (lambda: saved(palette(), "GIF"), PICTURE, 2),
    "gif, transparent": (
        lambda: saved(palette(), "GIF", transparency=palette().getpixel((40, 5))),
        HOLE,
        2,
    ),
    "animated gif": (lambda: saved(palette(), "GIF", **more()), PICTURE, 2),
    "webp": (lambda: saved(picture(GREY), "WEBP", quality=95), GREY_PICTURE, 6),
    "lossless webp": (lambda: saved(picture(), "WEBP", lossless=True), PICTURE, 0),
    "webp with alpha": (
        lambda: saved(with_alpha(PICTURE, HALF), "WEBP", lossless=True, exact=True),
        FAINT,
        1,
    ),
    "animated webp": (lambda: saved(picture(), "WEBP", lossless=True, **more()), PICTURE, 0),
    "bmp": (lambda: saved(picture(), "BMP"), PICTURE, 0),
    "palette bmp": (lambda: saved(palette(), "BMP"), PICTURE, 2),
    "tiff": (lambda: saved(picture(), "TIFF"), PICTURE, 0),
    "compressed tiff": (lambda: saved(picture(), "TIFF", compression="tiff_lzw"), PICTURE, 0),
    "cmyk tiff": (lambda: saved(picture(mode="CMYK"), "TIFF"), PICTURE, 1),
    "ycbcr tiff": (lambda: saved(picture(mode="YCbCr"), "TIFF"), PICTURE, 3),
    "tiff of several pages": (lambda: saved(picture(), "TIFF", **more()), PICTURE, 0),
    "16-bit tiff": (lambda: tiff(48, 32, 16, 1, DEEP.tobytes()), GREY_PICTURE, 0),
    "16-bit tiff, big-endian": (
        lambda: tiff(48, 32, 16, 1, DEEP.astype(">u2").tobytes(), ">"),
        GREY_PICTURE,
        0,
    ),
    "tiff, white is 0": (lambda: tiff(48, 32, 8, 0, (255 - GREY).tobytes()), GREY_PICTURE, 0),
    "avif": (lambda: saved(picture(), "AVIF", **FORMS["AVIF"]), PICTURE, 6),
    "1 pixel": (lambda: saved(picture(PICTURE[:1, :1]), "PNG"), PICTURE[:1, :1], 0),
    "very wide": (
        lambda: saved(picture(np.repeat(PICTURE[:3], 200, axis=1)), "PNG"),
        np.repeat(PICTURE[:3], 200, axis=1),
        0,
    ),
    "very tall": (
        lambda: saved(picture(np.repeat(PICTURE[:, :3], 300, axis=0)), "PNG"),
        np.repeat(PICTURE[:, :3], 300, axis=0),
        0,
    ),
}
BAD = {
    "empty": (lambda: b"", "is empty: copy or download it again"),
    "web page": (lambda: b"\n<!DOCTYPE html><html>Not found</html>", "is a web page, not a photo"),
    "text": (lambda: b"a cat sits on a mat", "is not a photo that can be read"),
    "pdf": (lambda: b"%PDF-1.7\n", "is a PDF file, not a photo"),
    "svg": (lambda: b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", "is an SVG or XML file"),
    "heic": (lambda: b"\0\0\0\x18ftypheic" + bytes(99), "is a HEIC file, .* Save it as JPEG"),
    "postscript": (
        lambda: saved(picture(), "EPS"),  # Pillow would hand it to Ghostscript, if it is there
        "is not a photo that can be read",
    ),
    "zeros": (lambda: bytes(1000), "is not a photo that can be read"),
    "cut in the header": (lambda: jpeg(picture())[:20], "is not a photo .* at its beginning"),
    "damaged": (
        lambda: changed(saved(picture(), "BMP"), struct.pack("<I", 54), struct.pack("<I", 999)),
        "is damaged or cut off",
    ),
    "32-bit tiff": (
        lambda: saved(PIL.Image.fromarray(GREY.astype(np.int32)), "TIFF"),
        r"black and white are unknown \(mode I\).* Save it as PNG with 8 bits",
    ),
    "float tiff": (
        lambda: saved(PIL.Image.fromarray(GREY / np.float32(255)), "TIFF"),
        r"black and white are unknown \(mode F\)",
    ),
    "12-bit tiff": (lambda: tiff(48, 32, 12, 1, bytes(2304)), "black and white are unknown"),
    "16-bit tiff, white is 0": (
        lambda: tiff(48, 32, 16, 0, DEEP.tobytes()),
        "black and white are unknown",
    ),
    "lab tiff": (
        lambda: saved(PIL.Image.new("LAB", (8, 8)), "TIFF"),
        r"black and white are unknown \(mode LAB\)",
    ),
    "png bomb": (  # 900 million pixels in 109 kB
        lambda: png(30_000, 30_000, 1, 0, bytes(3751 * 30_000)),
        "is 30000 x 30000 pixels: expected at most 200 million, .* Make it smaller",
    ),
    "gif bomb": (
        lambda: changed(saved(palette(), "GIF"), b"GIF87a\x30\0\x20\0", b"GIF87a" + 4 * b"\xff"),
        "is 65535 x 65535 pixels",
    ),
    "bmp bomb": (
        lambda: changed(
            saved(picture(), "BMP"), struct.pack("<ii", 48, 32), struct.pack("<ii", 50_000, 9_999)
        ),
        "is 50000 x 9999 pixels",
    ),
    "tiff bomb": (lambda: tiff(20_001, 10_000, 8, 1, bytes(9)), "is 20001 x 10000 pixels"),
    "too wide": (lambda: png(65_536, 3, 8, 0, bytes(65_537 * 3)), "and 65,535 on a side"),
}


def refuse(*args, **kwargs):
    raise AssertionError("this must not be called")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "photo.jpg"  # whatever it is: its content decides


# Reading


@pytest.mark.parametrize("name", GOOD)
def test_a_photo_is_read(path, name):
    make, expected, tolerance = GOOD[name]
    path.write_bytes(make())
    photo = prediction.read_photo(path)
    assert photo.dtype == np.uint8 and photo.shape == expected.shape
    assert np.abs(photo.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_photo_is_one_sentence(path, name, monkeypatch):
    make, message = BAD[name]
    path.write_bytes(make())
    if "bomb" in name:
        monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", refuse)  # not even begun to decode
    with pytest.raises(ValueError, match=message) as caught:
        prediction.read_photo(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and text.endswith(".") and "\n" not in text


def test_there_is_no_photo(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*none\.jpg"):
        prediction.read_photo(tmp_path / "none.jpg")
    with pytest.raises(ValueError, match="is a folder: give the photos in it"):
        prediction.read_photo(tmp_path)


TRUNCATED = [name for name in GOOD if "pixel" not in name and "very" not in name]


@pytest.mark.parametrize("name", TRUNCATED)
def test_a_cut_photo_is_an_error_and_never_half_a_photo(path, name):
    content = GOOD[name][0]()
    path.write_bytes(content)
    whole, errors = prediction.read_photo(path), 0
    for cut in np.linspace(1, len(content) - 1, 12).astype(int):
        path.write_bytes(content[:cut])
        try:
            photo = prediction.read_photo(path)
        except ValueError as error:
            assert str(path) in str(error)
            errors += 1
        else:  # only what comes behind the picture is missing
            assert np.array_equal(photo, whole), cut
    assert errors >= 3


def test_pillows_own_limit_stays_as_it_was(path, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)  # fewer than the photo has
    for make, *_ in (GOOD["png"], BAD["damaged"], BAD["text"]):
        path.write_bytes(make())
        with contextlib.suppress(ValueError):
            prediction.read_photo(path)
        assert PIL.Image.MAX_IMAGE_PIXELS == 100


# How the upright picture is stored, by EXIF orientation: where its row 0 and its column 0 lie.
STORED = {
    1: lambda upright: upright,  # top, left
    2: lambda upright: upright[:, ::-1],  # top, right
    3: lambda upright: upright[::-1, ::-1],  # bottom, right
    4: lambda upright: upright[::-1],  # bottom, left
    5: lambda upright: upright.swapaxes(0, 1),  # left, top
    6: lambda upright: upright[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda upright: upright[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("form", FORMS)
def test_photo_and_mask_are_upright(tmp_path, form, orientation):
    stored = picture(np.ascontiguousarray(STORED[orientation](PICTURE)))
    path = tmp_path / "cat.jpg"
    path.write_bytes(saved(stored, form, exif=exif(orientation), **FORMS[form]))
    photo = prediction.read_photo(path)
    assert photo.shape == PICTURE.shape and np.abs(photo.astype(int) - PICTURE).max() <= 6
    prediction.predict_file(ByColour(), path)
    for written in prediction.output_paths(path):
        assert PIL.Image.open(written).size == (48, 32)
    assert np.array_equal(PIL.Image.open(tmp_path / "cat_mask.png"), CLASSES)


KINDS = {
    "grey": picture(GREY),
    "16-bit grey": picture(DEEP),
    "palette": palette(),
    "grey+alpha": with_alpha(GREY, HALF),
    "colour+alpha": with_alpha(PICTURE, HALF),
    "cmyk": picture(mode="CMYK"),
}


@pytest.mark.parametrize("orientation", [3, 5, 6, 7, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tiff_of_any_kind_is_upright(path, kind, orientation):
    path.write_bytes(saved(KINDS[kind], "TIFF"))
    upright = prediction.read_photo(path)
    back = {3: "ROTATE_180", 5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    stored = KINDS[kind].transpose(PIL.Image.Transpose[back[orientation]])
    path.write_bytes(saved(stored, "TIFF", exif=exif(orientation)))
    assert np.array_equal(prediction.read_photo(path), upright)


# Predicting


@pytest.mark.parametrize("index", range(3))
def test_the_network_sees_what_it_saw_in_training(path, index):
    record = synthetic_pets.example("test", index)
    path.write_bytes(record["image"])
    photo = prediction.read_photo(path)
    seen = prediction.network_input(photo, 256)
    # TensorFlow's default for JPEG is a faster and less exact inverse DCT than Pillow's.
    exact = tf.io.decode_jpeg(record["image"], dct_method="INTEGER_ACCURATE")
    assert np.array_equal(photo, exact)
    assert np.array_equal(
        seen, data.decode({**record, "image": saved(picture(photo), "PNG")}, 256)[0]
    )
    off = np.abs(seen.astype(int) - data.decode(record, 256)[0].numpy())
    assert off.max() <= 8 and off.mean() < 1.5  # of 255


SIZES = [(32, 32), (1, 1), (3, 10_000), (5_000, 2), (7, 9), (700, 901)]


@pytest.mark.parametrize("shape", SIZES)
def test_strips_change_nothing(shape, monkeypatch):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (*shape, 3), np.uint8)
    record = {"image": saved(picture(photo), "PNG"), "file_name": "noise"}
    record["segmentation_mask"] = saved(picture(np.ones(shape, np.uint8)), "PNG")
    image, _ = data.decode(record, 32)
    monkeypatch.setattr(prediction, "STRIP", 5_000)
    assert np.array_equal(prediction.network_input(photo, 32), image)
    for model, threshold in ((ByColour(), 0.5), (Redness(), 0.4)):
        probabilities = evaluation.predict_probabilities(model, np.asarray(image)[None])[0]
        expected = evaluation.decide(cv2.resize(probabilities, shape[::-1]), threshold)
        ids = prediction.predict_photo(model, photo, threshold)
        assert ids.dtype == np.uint8 and np.array_equal(ids, expected)


def test_what_is_no_photo_array_is_refused():
    for photo in (PICTURE / 255, PICTURE[..., 0], PICTURE[None], PICTURE[:0]):
        with pytest.raises(ValueError, match=r"The photo is .*: expected uint8 \(H, W, 3\)"):
            prediction.predict_photo(ByColour(), photo)


HUGE = """
import resource, sys
import numpy as np, psutil
sys.path.insert(0, "tests")
from helpers import prediction
from test_prediction import PICTURE, ByColour
prediction.predict_photo(ByColour(), PICTURE)
before = psutil.Process().memory_info().rss
ids = prediction.predict_file(ByColour(), sys.argv[1])
unit = 1 if sys.platform == "darwin" else 1024
peak = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(*ids.shape, *ids[::4999, ::4999].ravel(), (peak - before) / ids.size)
"""


def test_100_megapixels_take_bounded_memory(path):
    pytest.importorskip("resource")  # not on Windows
    stored = PIL.Image.new("RGB", (12_500, 8_000), RED)
    stored.paste(BLUE, (6_250, 0, 12_500, 8_000))
    path.write_bytes(jpeg(stored, exif=exif(6)))
    run = subprocess.run(
        [sys.executable, "-c", HUGE, path], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    *found, bytes_per_pixel = run.stdout.split()
    assert found == "12500 8000 0 0 0 0 2 2".split()
    assert float(bytes_per_pixel) < 9  # 8, and what is there for a photo of any size
    assert PIL.Image.open(path.with_name("photo_overlay.png")).size == (1024, 1600)


# The command


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """Runs the command in an empty folder; returns its exit status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*options):
        monkeypatch.setattr("sys.argv", ["prediction", *map(str, options)])
        status = 0
        try:
            prediction.main()
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def by_colour(monkeypatch):
    monkeypatch.setattr(evaluate, "load", lambda source: (ByColour(), None))


def test_mask_and_overlay_are_written_beside_the_photo(command, by_colour):
    Path("cat.photo.jpg").write_bytes(jpeg(picture()))
    status, out, err = command("cat.photo.jpg")
    assert (status, err) == (0, "")
    assert out == (
        "cat.photo.jpg: 48 x 32 pixels, pet 25.0 %, background 50.0 %, border 25.0 % -> "
        "cat.photo_mask.png, cat.photo_overlay.png\n"
    )
    mask = PIL.Image.open("cat.photo_mask.png")
    assert mask.mode == "P" and np.array_equal(mask, CLASSES)
    assert np.array_equal(mask.convert("RGB"), visualization.color_mask(CLASSES))
    photo = prediction.read_photo("cat.photo.jpg")
    overlay = np.asarray(PIL.Image.open("cat.photo_overlay.png"))
    assert np.array_equal(overlay, visualization.overlay(photo, CLASSES))
    assert len(list(Path().iterdir())) == 3


def test_one_logit_has_two_classes_and_its_own_threshold(command, monkeypatch):
    Path("cat.png").write_bytes(saved(picture(), "PNG"))
    for threshold, share in ((0.3, 25), (0.9999, 0)):
        monkeypatch.setattr(evaluate, "load", lambda source: (Redness(), threshold))  # noqa: B023
        _, out, _ = command("cat.png", "--out", "a/b")
        assert f"pet {share}.0 %, background {100 - share}.0 % -> a/b/cat_mask.png" in out
        mask = np.asarray(PIL.Image.open("a/b/cat_mask.png"))
        assert np.array_equal(mask == 0, (CLASSES == 0) & (share > 0)) and mask.max() == 1


def test_a_bad_photo_does_not_stop_the_others(command, by_colour):
    Path("good.jpg").write_bytes(jpeg(picture()))
    Path("bad.jpg").write_bytes(b"<html>")
    status, out, err = command("none.jpg", "bad.jpg", "good.jpg")
    assert status == 1 and out.startswith("good.jpg: ") and len(out.splitlines()) == 1
    first, second = err.splitlines()
    assert first == "There is no file none.jpg." and second.startswith("bad.jpg is a web page")
    assert {path.name for path in Path().glob("*_*")} == {"good_mask.png", "good_overlay.png"}


@pytest.mark.parametrize("name", ["cat_mask.png", "cat_overlay.png"])
def test_a_file_of_the_user_is_not_replaced(command, by_colour, name):
    Path("cat.jpg").write_bytes(jpeg(picture()))
    for own in (saved(picture(), "PNG"), b"notes"):
        Path(name).write_bytes(own)
        status, out, err = command("cat.jpg")
        assert status == 1 and f"{name} is there and was not written by" in err and not out
        assert Path(name).read_bytes() == own and len(list(Path().iterdir())) == 2


def test_its_own_files_are_replaced_and_not_taken_for_photos(command, by_colour):
    Path("cat.png").write_bytes(saved(picture(), "PNG"))
    assert command("cat.png")[0] == 0
    Path("cat.png").write_bytes(saved(picture(PICTURE[::-1]), "PNG"))
    status, out, err = command("cat.png", "cat_mask.png", "cat_overlay.png")
    assert status == 1 and len(out.splitlines()) == 1 and len(err.splitlines()) == 2
    assert "cat_mask.png was made from a photo by helpers.prediction: give the photo" in err
    assert np.array_equal(PIL.Image.open("cat_mask.png"), CLASSES[::-1])
    assert len(list(Path().iterdir())) == 3


def test_two_photos_of_one_name_do_not_replace_each_other(command, by_colour):
    Path("cat.png").write_bytes(saved(picture(), "PNG"))
    Path("cat.jpg").write_bytes(jpeg(picture(BLACK)))
    status, out, err = command("cat.png", "cat.png", "cat.jpg")
    assert status == 1 and len(out.splitlines()) == len(err.splitlines()) == 1
    assert "cat.jpg: cat_mask.png has just been written for cat.png." in err
    assert np.array_equal(PIL.Image.open("cat_mask.png"), CLASSES)


def test_a_file_is_written_whole_or_not_at_all(command, by_colour, monkeypatch):
    Path("cat.jpg").write_bytes(jpeg(picture()))

    def fill_the_disk(image, file, *args, **options):
        file.write(b"\x89PNG")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PIL.Image.Image, "save", fill_the_disk)
    status, out, err = command("cat.jpg")
    assert status == 1 and "No space left" in err and not out
    assert [path.name for path in Path().iterdir()] == ["cat.jpg"]


def test_unknown_weights_are_one_sentence(command):
    status, *_ = command("cat.jpg", "--weights", "resnet")
    assert "There are no weights named 'resnet': expected" in status


def test_published_weights_find_a_drawn_pet_offline(command, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    records = {f"{i}.jpg": synthetic_pets.example("test", i) for i in range(3)}
    for name, record in records.items():
        Path(name).write_bytes(record["image"])
    status, out, err = command(*records)
    assert (status, err) == (0, "") and len(out.splitlines()) == 3
    model, _ = weights.published(prediction.WEIGHTS)
    for name, record in records.items():
        photo = saved(picture(prediction.read_photo(name)), "PNG")
        image, _ = data.decode({**record, "image": photo}, 256)
        probabilities = evaluation.predict_probabilities(model, image[None])[0]
        truth = data.decode_own_mask(record["segmentation_mask"])
        expected = evaluation.decide(cv2.resize(probabilities, truth.shape[::-1]))
        mask = np.asarray(PIL.Image.open(name.replace(".jpg", "_mask.png")))
        assert np.array_equal(mask, expected)
        assert np.mean((mask == 1) == (truth == 1)) > 0.8  # trained on photographs alone
