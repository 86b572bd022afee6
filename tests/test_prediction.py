"""Photographs of any kind: a right result or one clear error, and masks that fit the photo."""

import contextlib
import io
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from unittest import mock

import cv2
import keras
import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
import tensorflow as tf
from PIL.Image import Transpose

from helpers import evaluation, models, pipeline, prediction, visualization, weights
from helpers.classes import PETS, Labelling
from helpers.datasets import read_records

REPOSITORY = Path(__file__).parents[1]
RED, GREEN, BLUE, MOSS = (220, 40, 30), (40, 170, 60), (30, 60, 200), (20, 120, 30)
RNG = np.random.default_rng(0)


class Mixture:
    """A model whose logits are mixtures of a pixel's red, green and blue."""

    def __init__(self, mixture, bias=0, size=(32, 32)):
        self.mixture, self.bias, self.input_shape = mixture, bias, (None, *size, 3)

    def predict_on_batch(self, images):
        return images @ np.array(self.mixture, np.float32) / 20 + self.bias


def by_redness(threshold):
    return weights.Network(Mixture([[1], [0], [0]], -6), PETS, threshold)


def labelling(count):
    colors = map(tuple, RNG.integers(0, 256, (count, 3)))
    return Labelling(tuple(f"class {k}" for k in range(count)), tuple(colors))


BY_COLOUR = weights.Network(Mixture(np.eye(3)), PETS)
TWELVE = weights.Network(Mixture(RNG.normal(size=(3, 12)), size=(24, 40)), labelling(12))

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
    photo, errors = prediction.read_photo(path), 0
    assert photo.dtype == np.uint8 and is_near(photo, expected)
    for cut in np.linspace(1, len(content) - 1, 12).astype(int):
        path.write_bytes(content[:cut])
        try:  # without an error, only what comes behind the picture was cut off
            assert np.array_equal(prediction.read_photo(path), photo), cut
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
            assert is_near(prediction.read_photo(path), expected), (kind, orientation)


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_photo_is_one_clear_error(path, name, monkeypatch):
    content, message = BAD[name]
    path.write_bytes(content)
    if "bomb" in name:
        monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", refuse)  # not even begun to decode
    limit = PIL.Image.MAX_IMAGE_PIXELS
    with pytest.raises(ValueError, match=message) as caught:
        prediction.read_photo(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and text.endswith(".") and "\n" not in text
    assert PIL.Image.MAX_IMAGE_PIXELS == limit  # others use Pillow as well


# Predicting


@pytest.mark.parametrize("network", [BY_COLOUR, by_redness(0.4), TWELVE])
@pytest.mark.parametrize(
    "shape", [(32, 32), (1, 1), (3, 10_000), (2, 40_000), (5_000, 2), (7, 9), (700, 901)]
)
def test_a_mask_is_that_of_a_plain_computation_at_full_size(shape, network, monkeypatch):
    monkeypatch.setattr(prediction, "STRIP", 5_000)
    photo, size = RNG.integers(0, 256, (*shape, 3), np.uint8), network.model.input_shape[1:3]
    png = saved(PIL.Image.fromarray(photo), "PNG")
    blank = np.full(shape, network.labelling.ids[0], np.uint8)
    record = {"image": png, "segmentation_mask": saved(PIL.Image.fromarray(blank), "PNG")}
    image, _ = pipeline.decode({**record, "file_name": ""}, size, network.labelling)
    assert np.array_equal(prediction.network_input(photo, size), image)
    ids = prediction.predict_photo(network, photo)
    assert ids.dtype == np.uint8 and np.array_equal(ids, plain_mask(network, image, shape))


def plain_mask(network, image, shape):
    probabilities = evaluation.predict_probabilities(network.model, np.asarray(image)[None])[0]
    return evaluation.decide(cv2.resize(probabilities, shape[::-1]), network.threshold or 0.5)


@pytest.mark.parametrize(
    "photo", [PICTURE / 255, PICTURE[..., 0], PICTURE[None], PICTURE[:0], PICTURE.astype(int)]
)
def test_what_is_no_photo_array_is_refused(photo):
    message = r"The photo is .*: expected uint8, 0\.\.255, of shape \(H, W, 3\)"
    with pytest.raises(ValueError, match=message):
        prediction.predict_photo(BY_COLOUR, photo)
    with pytest.raises(ValueError, match=message):
        prediction.network_input(photo, 32)


HUGE = """
import contextlib, re, sys
from helpers import prediction

def memory(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

for photo in sys.argv[1:]:
    sys.argv[1:] = [photo]
    before = memory("VmRSS")
    with contextlib.suppress(SystemExit):
        prediction.main()
print((memory("VmHWM") - before) / 1e8)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures as Linux does")
def test_100_megapixels_take_bounded_memory(tmp_path):
    small, huge = tmp_path / "small.jpg", tmp_path / "huge.jpg"
    COLOUR.save(small)
    PIL.Image.new("RGB", (12_500, 8_000)).save(huge, exif=exif(6))
    command = [sys.executable, "-c", HUGE, small, huge]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert run.returncode == 0 and "8000 x 12500 pixels" in run.stdout, run.stderr
    assert float(run.stdout.split()[-1]) < 8.5  # bytes a pixel
    assert PIL.Image.open(tmp_path / "huge_overlay.png").size == (1024, 1600)


# The command


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the command in an empty folder; returns its exit status, and the lines of its output
    and of its errors."""
    monkeypatch.chdir(tmp_path)
    open_network = weights.open_network

    def run(*options, network=BY_COLOUR, encoding="utf-8"):
        monkeypatch.setattr(
            weights, "open_network", open_network if network is None else lambda source: network
        )
        monkeypatch.setattr("sys.argv", ["prediction", *map(str, options)])
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            with pytest.raises(SystemExit) as stop:
                prediction.main()
            status = stop.value.code
            if isinstance(status, str):  # as Python itself does
                print(status, file=err, flush=True)
                status = 1
        return status, *(s.buffer.getvalue().decode(encoding).splitlines() for s in (out, err))

    return run


def photos(*names, image=COLOUR):
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(saved(image, "PNG"))


def present():
    return {path.as_posix() for path in Path().rglob("*") if path.is_file()}


def test_mask_and_overlay_are_written_beside_the_photo(command):
    photos("cat.photo.jpg")
    shares = "pet 25.0 %, background 50.0 %, border 25.0 %"
    files_written = "cat.photo_mask.png, cat.photo_overlay.png"
    line = f"cat.photo.jpg: 48 x 32 pixels, {shares} -> {files_written}"
    assert command("cat.photo.jpg") == (0, [line], [])
    assert present() == {"cat.photo.jpg", *files_written.split(", ")}
    mask = PIL.Image.open("cat.photo_mask.png")
    assert mask.mode == "P" and np.array_equal(mask, CLASSES)


def test_one_logit_has_two_classes_and_its_own_threshold(command):
    photos("cat.jpg")
    for threshold, shares in ((0.0, "pet 100.0 %"), (0.3, "pet 25.0 %, background 75.0 %")):
        _, (line,), _ = command("cat.jpg", "--out", "a/b", network=by_redness(threshold))
        assert f"{shares} -> a/b/cat_mask.png" in line


def test_a_weights_file_brings_its_own_classes_and_colours(command):
    keras.utils.set_random_seed(1)
    arguments = {"classes": 4, "width": 4, "depth": 2}
    model = models.unet((64, 128), **arguments)
    saved_network = weights.Network(model, labelling(4), None, "unet", arguments)
    weights.save(saved_network, "own.safetensors")
    photo = RNG.integers(0, 256, (90, 70, 3), np.uint8)
    photos("cat.png", image=PIL.Image.fromarray(photo))
    status, *_ = command("cat.png", "--weights", "own.safetensors", network=None)
    network = weights.load("own.safetensors")  # in float16
    expected = plain_mask(network, prediction.network_input(photo, (64, 128)), (90, 70))
    mask, overlay = (PIL.Image.open(f"cat_{name}.png") for name in ("mask", "overlay"))
    assert status == 0 and len(np.unique(expected)) > 1 and np.array_equal(mask, expected)
    colors = np.array(saved_network.labelling.colors)
    assert np.array_equal(mask.convert("RGB"), colors[expected])
    assert np.array_equal(overlay, visualization.overlay(photo, expected, network.labelling))


def test_a_failure_does_not_stop_the_others_and_is_listed_again(command, monkeypatch):
    photos("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    Path("bad.jpg").write_bytes(b"<html>")
    errors = [MemoryError(), KeyError("x"), PermissionError(13, "Read-only")]
    predict = mock.Mock(side_effect=[*errors, CLASSES])
    monkeypatch.setattr(prediction, "predict_photo", predict)
    status, out, err = command("none.jpg", "bad.jpg", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    assert status == 1 and len(out) == 1 and out[0].startswith("d.jpg: ")
    assert err[5] == "5 of 6 photos failed:" and err[6:] == err[:5]
    assert err[0] == "none.jpg: there is no such file." and err[1].startswith("bad.jpg is a web")
    assert err[2].startswith("a.jpg: There is not enough memory.")
    assert err[3:5] == ["b.jpg: KeyError('x')", "c.jpg: Read-only"]
    assert command("none.jpg") == (1, [], err[:1])  # one alone is not listed again


@pytest.mark.parametrize("name", ["cat_mask.png", "cat_overlay.png"])
def test_a_file_of_the_user_is_not_replaced(command, name):
    photos("cat.jpg", name)
    own = Path(name).read_bytes()
    status, _, (err,) = command("cat.jpg")
    assert status == 1 and f"{name} is there and was not written by" in err
    assert Path(name).read_bytes() == own and len(present()) == 2


def test_its_own_files_are_replaced_and_not_taken_for_photos(command):
    photos("cat.png")
    assert command("cat.png")[0] == 0
    photos("cat.png", image=COLOUR.transpose(Transpose.FLIP_TOP_BOTTOM))
    status, out, _ = command("*.png")
    assert status == 0 and out[0] == "Left out: 2 files made by helpers.prediction."
    assert np.array_equal(PIL.Image.open("cat_mask.png"), CLASSES[::-1]) and len(present()) == 3
    status, _, (err,) = command("cat_mask.png")
    assert status == 1 and err.startswith("cat_mask.png was made from a photo by helpers.")


@pytest.mark.parametrize("second", ["cat.png", "same/cat.jpg"])
def test_two_photos_do_not_write_the_same_files(command, second):
    photos("cat.jpg")
    photos("cat.png", image=PALETTE)
    Path("same").symlink_to(".")  # as on a disk that takes two names for one
    status, out, err = command("cat.jpg", Path("cat.jpg").absolute(), "./cat.jpg", second)
    assert status == 1 and len(out) == 1
    assert f"{second}: " in err[0] and "cat_mask.png has just been written for" in err[0]


NAMES = ["a b.jpg", "-a.jpg", "\N{CAT FACE}.jpg", "e\u0301.jpg", "\u00e9.jpg", "A.jpg", "a.jpg"]
NAMES += ["new\nline.jpg", "red\x1b[31m.jpg", "no suffix", ".hidden.jpg", "[1].jpg", "~.jpg"]
NAMES += [os.fsdecode(b"\xff.jpg"), 226 * "n" + ".jpg"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_names_of_any_kind(command, encoding):
    for name in NAMES:
        with contextlib.suppress(OSError):  # not every file system takes them all
            photos(name)
    given, too_long = sorted(present()), 246 * "n" + ".jpg"
    photos(too_long)
    status, out, err = command("--out", "masks", "--", *given, too_long, encoding=encoding)
    assert len(out) == len(given) and not any("\x1b" in line for line in out)
    assert status == 1 and err[-1].startswith(too_long) and "give a shorter name" in err[-1]
    masks = {Path(name).stem for name in present() if "_mask" in name}
    assert masks == {Path(name).stem + "_mask" for name in given}


PATTERNS = {
    "in [1]/*.jpg": ["in [1]/a.jpg", "in [1]/b.jpg"],
    "in*/[ac].???": ["in [1]/a.jpg", "in [1]/c.png"],
    "[x].jpg": ["[x].jpg"],
    "**/*.jpg": ["[x].jpg", "in [1]/a.jpg", "in [1]/b.jpg", "in [1]/deep/d.jpg", "x.jpg"],
    "*.gif": ["*.gif: there is no such file."],
    "in [1]": ["in [1] is a folder: give the photos in it, such as in [1]/*.jpg."],
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_that_the_shell_did_not_expand(command, pattern):
    photos("in [1]/a.jpg", "in [1]/b.jpg", "in [1]/c.png", "in [1]/deep/d.jpg", "[x].jpg", "x.jpg")
    _, out, err = command(pattern)
    assert [line.split(": 48 x")[0] for line in out] + err == PATTERNS[pattern]


@pytest.mark.parametrize(
    "error, complete", [(OSError(28, "Disk full"), {"a", "c"}), (KeyboardInterrupt(), {"a"})]
)
def test_both_files_of_a_photo_are_written_or_neither(command, monkeypatch, error, complete):
    photos("a.jpg", "b.jpg", "c.jpg")
    replace = os.replace
    outcomes = iter([None, None, None, error, None, None])  # of two files a photo

    def replace_or_fail(*paths):
        if (outcome := next(outcomes)) is not None:
            raise outcome
        replace(*paths)

    monkeypatch.setattr(os, "replace", replace_or_fail)
    status, out, err = command("a.jpg", "b.jpg", "c.jpg")
    assert len(out) == len(complete)
    assert (status, err[0][:6]) in [(1, "b.jpg:"), (130, "Stoppe")]
    written = {f"{name}_{kind}.png" for name in complete for kind in ("mask", "overlay")}
    assert present() == {"a.jpg", "b.jpg", "c.jpg"} | written


def test_what_is_wrong_from_the_beginning_is_said_at_once(command, monkeypatch):
    photos("cat.jpg")
    status, _, (err,) = command("cat.jpg", "--weights", "resnet", network=None)
    assert status == 1 and "There are no weights named 'resnet': expected" in err
    monkeypatch.setattr(weights, "load", refuse)
    status, _, (err,) = command("cat.jpg", "--out", "cat.jpg", network=None)
    assert status == 1 and err.startswith("cat.jpg")


def test_published_weights_predict_offline_what_the_pipeline_leads_to(
    command, monkeypatch, synthetic_dataset
):
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    records = list(read_records(synthetic_dataset, "test").take(3).as_numpy_iterator())
    names = [record["file_name"].decode() for record in records]
    for name, record in zip(names, records):
        Path(name).write_bytes(record["image"])
    assert command(*names, network=None)[0] == 0
    network = weights.published(prediction.WEIGHTS)
    for name, record in zip(names, records):
        # TensorFlow's default for JPEG is a faster and less exact inverse DCT than Pillow's.
        exact = tf.io.decode_jpeg(record["image"], dct_method="INTEGER_ACCURATE")
        assert np.array_equal(prediction.read_photo(name), exact)
        seen = prediction.network_input(exact, 256)
        off = np.abs(seen.astype(int) - pipeline.decode(record, 256, PETS)[0].numpy())
        assert off.max() <= 8 and off.mean() < 1.5  # of 255
        mask = np.asarray(PIL.Image.open(f"{Path(name).stem}_mask.png"))
        assert np.array_equal(mask, plain_mask(network, seen, mask.shape))


@pytest.mark.skipif(os.name == "nt", reason="closes streams with a POSIX shell")
def test_nobody_reads_and_nothing_comes_in(tmp_path):
    names = [tmp_path / name for name in ("a.jpg", "\u00e9.jpg", "c.jpg")]
    photos(names[0], names[2])
    names[1].write_bytes(b"<html>")
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "helpers.prediction", *names],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        cwd=REPOSITORY,
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert run.returncode == 1 and run.stderr.count(b"\n") == 3 and b"\\xe9.jpg" in run.stderr
    assert len(list(tmp_path.glob("*_*.png"))) == 4
