"""Says what each pixel of a photograph shows: a photo of any kind in, a mask of its size out.

Examples:

    python -m helpers.prediction cat.jpg
    python -m helpers.prediction photos/*.jpg --out masks
    python -m helpers.prediction cat.jpg --weights binary_unet
    python -m helpers.prediction cat.jpg --cutout --background white
    python -m helpers.prediction clip.mp4
    python -m helpers.prediction -- -a-name-that-begins-with-a-dash.jpg

Two files are written for each photo, here cat.jpg, beside it or into the folder --out:

- cat_mask.png, as large as the photo: the value of a pixel is the id of its class, 0, 1, 2, ...,
  and its colour that of the class.
- cat_overlay.png, to look at: the photo tinted with these colours, at most 1,600 pixels a side.

With --cutout, one: cat_cutout.png, the foreground with its fur and nothing behind it, or with
--background, a colour or a photo. A video becomes clip_overlay.mp4; with --cutout or --masks, a
folder of PNGs, one a frame, clip_cutout or clip_mask.

Older ones are replaced, but not a file of that name that this command did not write. A photo may
be a JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF of up to 200 million pixels; it is turned upright as
its EXIF orientation says. One that fails does not stop the others: the failures are listed at the
end, and the exit status is 1.
"""

import argparse
import contextlib
import glob
import io
import os
import re
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import PIL.PngImagePlugin
import tensorflow as tf

from helpers import clips, cutout, evaluation, files, pipeline, visualization, weights

WEIGHTS = "mobilenetv2_unet_256"
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I;16B")
MAX_PIXELS = 200_000_000  # the largest photographs of telephones, 16,320 x 12,240, are below it
MAX_SIDE = 65_535  # as in JPEG
STRIP = 2**18  # pixels that are worked on at once
OVERLAY_SIDE = 1600
SOFTWARE = "helpers.prediction"  # written into each file: tells ours from a user's own
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # a file's name may hold them
OTHER_KINDS = {  # by the first bytes, in small letters: what is often taken for a photo
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<?xml": "an SVG or XML file",
    b"<svg": "an SVG file",
    b"%pdf": "a PDF file",
}


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
    with _opened(path) as image:
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
        for rows in _strips(*photo.shape[:2]):
            photo[rows] = _rgb(image.crop((0, rows.start, image.width, rows.stop)))
    return photo


def network_input(photo, size):
    """A photograph as the network sees it: as ``pipeline.decode`` resizes it, in bounded memory.

    A JPEG differs from ``pipeline.decode`` by a few levels of 255 for another reason: Pillow
    decodes it with an exact inverse DCT, TensorFlow with a fast one. Of 200 test photos 0.3 % of
    the pixels get another class by it, and the mean IoU changes by 0.0001.

    Args:
        photo: (H, W, 3) uint8, from ``read_photo``.
        size: int or (height, width), pixels.

    Returns:
        (height, width, 3) uint8, bilinear with antialiasing; the aspect ratio is ignored.

    Raises:
        ValueError: a photo of another shape or type, or a size that is no whole pixels.
    """
    photo, size = np.asarray(photo), pipeline.sides(size)
    if photo.ndim != 3 or photo.shape[-1] != 3 or photo.dtype != np.uint8 or not photo.size:
        raise ValueError(
            f"The photo is {photo.dtype} of shape {photo.shape}: expected uint8, 0..255, of shape "
            f"(H, W, 3), as read_photo gives it. Multiply floats of 0..1 by 255 and round them."
        )
    # First the height, then the width, which is how TensorFlow does both at once: the same
    # numbers, but its float32 copy is of a few columns and not of the whole photo.
    height, width = photo.shape[:2]
    low = [
        tf.image.resize(photo[:, columns], (size[0], columns.stop - columns.start), antialias=True)
        for columns in _strips(width, height)
    ]
    small = tf.image.resize(tf.concat(low, axis=1), size, antialias=True)
    return tf.cast(tf.round(small), tf.uint8).numpy()


def predict_photo(network, photo):
    """The class of each pixel of a photograph, at its own size.

    The network's probabilities are resized bilinearly and then decided, as in
    ``evaluation.measure``, but strip by strip: beside the photo and the result it takes 8 bytes
    x classes x the network's input height x the photo's width (at 256 px and three classes, 61 MB
    for 10,000 pixels).

    Args:
        network: weights.Network.
        photo: (H, W, 3) uint8, from ``read_photo``.

    Returns:
        (H, W) uint8 class ids of the network's labelling; with one logit only 0 and 1.

    Raises:
        ValueError: as ``network_input``; or the model's output does not fit its labelling.
    """
    return decided(network, probabilities(network, photo), np.shape(photo)[:2])


def probabilities(network, photo):
    """Probabilities (h, w, K) of the classes, or of the first and the second, at the network's
    size; for a photo as in ``predict_photo``."""
    images = network_input(photo, network.model.input_shape[1:3])[None]
    return evaluation.predict_probabilities(network.model, images, network.labelling)[0]


def decided(network, found, size):
    """The class ids (H, W) that follow from probabilities at a size (H, W), see
    ``predict_photo``."""
    height, width = size
    wide = cv2.resize(found, (width, len(found)))  # (network's height, W, K)
    threshold = 0.5 if network.threshold is None else network.threshold
    ids = np.empty((height, width), np.uint8)
    for rows in _strips(height, width):
        ids[rows] = evaluation.decide(_resized_rows(wide, rows, height), threshold)
    return ids


def predict_file(network, path, folder=None):
    """Reads a photograph and writes its mask and its overlay, both or neither, see
    ``output_paths``.

    Args:
        network: weights.Network.
        path: of the photo.
        folder: where to write, made if missing; None for the photo's own.

    Returns:
        As ``predict_photo``.

    Raises:
        OSError: there is no photo, or the files cannot be written.
        ValueError: as ``read_photo`` and ``predict_photo``; or a file of that name is there that
            was not written by this function; or the photo was.
    """
    path = Path(path)
    targets = output_paths(path, folder)
    _check_targets(path, targets)
    photo, labelling = read_photo(path), network.labelling
    ids = predict_photo(network, photo)
    mask = _mask(ids, labelling)
    overlay = visualization.overlay(*_reduced(photo, ids), labelling)
    pictures = (mask, PIL.Image.fromarray(overlay))
    files.write_all({target: _png(picture) for target, picture in zip(targets, pictures)})
    return ids


def cut_file(network, path, folder=None, background=None, foreground=None):
    """Reads a photograph and writes its cut-out, cat_cutout.png for cat.jpg.

    Args:
        network, path, folder: as ``predict_file``.
        background: for ``cutout.compose``; None for a transparent one.
        foreground: see ``cutout.roles``.

    Returns:
        Path of what was written.

    Raises:
        OSError, ValueError: as ``predict_file`` and ``cutout.roles``.
    """
    path = Path(path)
    target = _beside(path, folder, "cutout.png")
    _check_targets(path, [target])
    parts, photo = cutout.roles(network.labelling, foreground), read_photo(path)
    found = cutout.cut_out(photo, probabilities(network, photo), parts)
    found = found if background is None else cutout.compose(found, background)
    files.write(target, _png(PIL.Image.fromarray(found)))
    return target


def predict_clip(network, path, kind="overlay", folder=None, background=None, foreground=None):
    """Makes of a video, frame by frame, an overlay video, or a folder of masks or cut-outs.

    Args:
        network, path, folder, background, foreground: as ``cut_file``.
        kind: "overlay", "mask" or "cutout".

    Returns:
        clips.Converted, and the path of what was written.

    Raises:
        OSError, ValueError: as ``clips.convert`` and ``cutout.roles``.
    """
    parts = cutout.roles(network.labelling, foreground) if kind == "cutout" else None

    def draw(frame):
        found = probabilities(network, frame)
        if kind == "cutout":
            found = cutout.cut_out(frame, found, parts)
            return found if background is None else cutout.compose(found, background)
        ids = decided(network, found, frame.shape[:2])
        if kind == "overlay":
            return visualization.overlay(frame, ids, network.labelling)
        return _mask(ids, network.labelling)

    target = _beside(Path(path), folder, "overlay.mp4" if kind == "overlay" else kind)
    return clips.convert(path, target, draw, _progress), target


def output_paths(path, folder=None):
    """Where the mask and the overlay of a photo are written."""
    return tuple(_beside(Path(path), folder, f"{kind}.png") for kind in ("mask", "overlay"))


def main():
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # it is closed, or a notebook's
            stream.reconfigure(errors="backslashreplace")  # a character that a console lacks
    options = _parser().parse_args()
    try:
        if options.out:
            files.check_writable(options.out / "any_mask.png")
        network = weights.open_network(options.weights)
        background = options.background and cutout.open_background(options.background, read_photo)
        photos = _photos(options.photos)
        failures = _predict_all(network, photos, options, background)
    except (OSError, ValueError) as error:
        sys.exit(_line(_text(error)))
    except KeyboardInterrupt:
        _say("Stopped. The files that are there are complete.", sys.stderr)
        sys.exit(130)
    if failures and len(photos) > 1:
        for line in (f"{len(failures)} of {len(photos)} photos failed:", *failures):
            _say(line, sys.stderr)
    sys.exit(1 if failures else 0)


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m helpers.prediction",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", nargs="+", help="files, or patterns such as photos/*.jpg")
    parser.add_argument(
        "--weights",
        default=WEIGHTS,
        help="trained network: a name from experiments/weights, or a .safetensors or .keras file "
        "(default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="folder to write to (default: the photo's own)")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--cutout", action="store_true", help="only the foreground, with its fur")
    kinds.add_argument("--masks", action="store_true", help="of a video, masks and no overlay")
    parser.add_argument(
        "--foreground",
        action="append",
        metavar="CLASS",
        help="what is cut out; may be given again (default: the first class, of a network that "
        "knows a border)",
    )
    parser.add_argument(
        "--background", help="of a cut-out: a colour, such as white or #f0f0f0, or a photo"
    )
    return parser


def _photos(given):
    """The files that are meant, each once. Earlier results, which a pattern finds as well, are
    left out where there is anything else."""
    paths = {os.path.abspath(path): path for each in given for path in _expanded(each)}
    photos = [path for path in paths.values() if not _is_ours(path)]
    if photos and len(photos) < len(paths):
        _say(f"Left out: {len(paths) - len(photos)} files made by {SOFTWARE}.", sys.stdout)
    return photos or list(paths.values())


def _expanded(given):
    """The files that a pattern stands for: some shells hand it on as it is."""
    if os.path.lexists(given):
        return [Path(given)]
    for pattern in (given, given.replace("[", "[[]")):  # [1] may be a choice, or part of a name
        found = [Path(path) for path in sorted(glob.glob(pattern, recursive=True))]
        if found := [path for path in found if path.is_file()]:
            return found
    return [Path(given)]


def _predict_all(network, photos, options, background):
    """Predicts each photo and says what came of it; what went wrong, a line each."""
    failures, made_from, folder = [], {}, options.out
    cut, named = options.cutout or background is not None, options.foreground
    for path in photos:
        try:
            if path.suffix.lower() in clips.SUFFIXES:
                kind = "cutout" if cut else "mask" if options.masks else "overlay"
                done, target = predict_clip(network, path, kind, folder, background, named)
                text = f"{path}: {done.frames} frames -> {target}"
                if done.frames < 0.9 * done.announced:  # many files count one or two too many
                    text += f"; it should have {done.announced}, and may be cut off or damaged"
            elif cut:
                text = f"{path} -> {cut_file(network, path, folder, background, named)}"
            else:
                text = _predicted(network, path, folder, made_from)
            _say(text, sys.stdout)
        except Exception as error:  # of any kind: the other photos are still to come
            text = _text(error)
            failures.append(text if text.startswith(str(path)) else f"{path}: {text}")
            _say(failures[-1], sys.stderr)
    return failures


def _predicted(network, path, folder, made_from):
    """Predicts one photo of several; a line that says what came of it.

    Args:
        made_from: dict, which of this run's masks is of which photo: (device, inode) -> path. So
            two names that the disk takes for one are noticed, be it for case or for a link.
    """
    mask, overlay = output_paths(path, folder)
    if os.path.exists(mask) and (other := made_from.get(_file_id(mask))):
        raise ValueError(
            f"{path}: {mask} has just been written for {other}. Give one of them another name, or "
            f"write to another folder with --out."
        )
    ids = predict_file(network, path, folder)
    made_from[_file_id(mask)] = path
    shares = [
        f"{name} {100 * share:.1f} %"
        for number, name in enumerate(network.labelling.names)
        if (share := np.mean(ids == number))
    ]
    size = f"{ids.shape[1]} x {ids.shape[0]} pixels"
    return f"{path}: {size}, {', '.join(shares)} -> {mask}, {overlay}"


def _beside(path, folder, ending):
    return (path.parent if folder is None else Path(folder)) / f"{path.stem}_{ending}"


def _mask(ids, labelling):
    mask = PIL.Image.fromarray(ids)
    mask.putpalette(np.array(labelling.colors, np.uint8).tobytes())
    return mask


def _check_targets(path, targets):
    if _is_ours(path):
        raise ValueError(f"{path} was made from a photo by {SOFTWARE}: give the photo itself.")
    for target in targets:
        if os.path.lexists(target) and not _is_ours(target):
            raise ValueError(
                f"{path}: {target} is there and was not written by {SOFTWARE}. Move it away, or "
                f"write to another folder with --out."
            )


def _progress(done, announced):
    if sys.stderr.isatty():
        of = f" of {announced}" if announced else ""
        print(f"\r{done}{of} frames", end="", file=sys.stderr, flush=True)
        if done == announced:
            print(file=sys.stderr)


def _file_id(path):
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _text(error):
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
        return "There is not enough memory. Close other programs, or make the photo smaller."
    if isinstance(error, OSError) and error.strerror:  # without "[Errno 28]"
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) if isinstance(error, (OSError, ValueError)) else repr(error)


def _line(text):
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _say(text, stream):
    try:
        print(_line(text), file=stream, flush=True)
    except OSError:  # nobody reads it any more: that ends no batch
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


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
def _opened(path):
    """The file as a Pillow image, its size known and its pixels not yet decoded."""
    limit = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = None  # we have our own: Pillow's is below what telephones take
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata
            # Not the path itself: from a path, Pillow 13 maps an uncompressed TIFF into memory,
            # and scrambles one that is stored on its side.
            with path.open("rb") as file:
                try:
                    image = PIL.Image.open(file, formats=FORMATS)
                except Exception as error:  # the decoders' own: of many kinds
                    raise ValueError(
                        f"{path} is not a photo that can be read, or is damaged at its beginning: "
                        f"{_remedy()}"
                    ) from error
                yield image
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = limit


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


def _strips(length, width):
    """Slices of a length, each as many as make a strip of ``STRIP`` pixels, or one."""
    step = max(1, STRIP // width)
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _resized_rows(values, rows, height):
    """These rows of values (h, W, K) resized bilinearly to that height, as by OpenCV."""
    places = (np.arange(rows.start, rows.stop) + 0.5) * len(values) / height - 0.5
    places = places.clip(0, len(values) - 1)
    above = places.astype(np.intp)
    below = np.minimum(above + 1, len(values) - 1)
    share = (places - above)[:, None, None]
    return (1 - share) * values[above] + share * values[below]


def _reduced(photo, ids):
    longest = max(ids.shape)
    if longest <= OVERLAY_SIDE:
        return photo, ids
    size = [max(1, round(side * OVERLAY_SIDE / longest)) for side in ids.shape[::-1]]
    return (
        cv2.resize(photo, size, interpolation=cv2.INTER_AREA),
        cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST),
    )


def _is_ours(path):
    try:
        with _opened(path) as image:
            return image.info.get("Software") == SOFTWARE
    except (OSError, ValueError):
        return False


def _png(image):
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("Software", SOFTWARE)
    png = io.BytesIO()
    image.save(png, "PNG", pnginfo=text)
    return png.getvalue()


if __name__ == "__main__":
    main()
