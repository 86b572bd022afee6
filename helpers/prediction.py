"""Says what each pixel of a photograph shows: a photo of any kind in, a mask of its size out.

Examples:

    python -m helpers.prediction cat.jpg
    python -m helpers.prediction photos/*.jpg --out masks
    python -m helpers.prediction photos/ --out masks --counts masks/counts.csv
    python -m helpers.prediction cat.jpg --weights binary_unet
    python -m helpers.prediction -- -a-name-that-begins-with-a-dash.jpg

Two files are written for each photo, here cat.jpg, beside it or into the folder --out:

- cat_mask.png, as large as the photo: the value of a pixel is the id of its class, 0, 1, 2, ...,
  and its colour that of the class.
- cat_overlay.png, to look at: the photo tinted with these colours, at most 1,600 pixels a side.

Older ones are replaced, but not a file of that name that this command did not write. A photo may
be a JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF of up to 200 million pixels; it is turned upright as
its EXIF orientation says. One that fails does not stop the others: the failures are listed at the
end, and the exit status is 1.

Of a folder, all photos are taken, those of folders in it as well, which --out then has too. A run
that was stopped resumes: what is there, complete and of the same photo and network, stays.
"""

import argparse
import contextlib
import csv
import glob
import hashlib
import io
import os
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image
import PIL.PngImagePlugin

from helpers import evaluation, files, objects, overlays, photos, tiles, weights
from helpers.photos import network_input, read_photo

WEIGHTS = "mobilenetv2_unet_256.onnx"
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif")
OVERLAY_SIDE = 1600
SOFTWARE = "helpers.prediction"  # written into each file: tells ours from a user's own
ORIGIN = "Origin"  # of which photo and network a file is, likewise
END = b"IEND\xaeB`\x82"  # of a PNG that is complete
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # a file's name may hold them
PROGRESS = 10  # seconds between two lines that say how far a folder is, where they stay
COLUMNS = ("count", "mean_area", "median_area", "smallest", "largest")


class Job(NamedTuple):
    """A photo to predict; the folder to write to, None for the photo's own; and whether it is left
    out where that was done before."""

    path: Path
    folder: Path | None
    resumes: bool


def predict_photo(network, photo):
    """The class of each pixel of a photograph, at its own size.

    The network's probabilities are resized bilinearly and then decided, as in
    ``evaluation.measure``, but strip by strip: beside the photo and the result it takes 8 bytes
    x classes x the network's input height x the photo's width (at 256 px and three classes, 61 MB
    for 10,000 pixels). A network that was trained on tiles sees the photo in tiles, see
    ``tiles.predict``.

    Args:
        network: weights.Network.
        photo: (H, W, channels) uint8, from ``read_photo``, or with the bands of its ``view``.

    Returns:
        (H, W) uint8 class ids of the network's labelling; with one logit only 0 and 1.

    Raises:
        ValueError: as ``network_input``; or the model's output does not fit its labelling.
    """
    photo, size = photos.checked(photo), network.model.input_shape[1:3]
    if network.view.overlap is not None:
        return tiles.predict(network, photo, network.view.overlap)
    if network.view.letterbox:
        (tile,) = tiles.frame(photo.shape[:2], size)
        stretching = network._replace(view=network.view._replace(letterbox=False))
        return predict_photo(stretching, tiles.cut(photo, tile))[tile.core]
    images = network_input(photo, size)[None]
    probabilities = evaluation.predict_probabilities(network.model, images, network.labelling)[0]
    height, width = np.shape(photo)[:2]
    wide = cv2.resize(probabilities, (width, size[0]))  # (network's height, W, K)
    threshold = 0.5 if network.threshold is None else network.threshold
    ids = np.empty((height, width), np.uint8)
    for rows in photos.strips(height, width):
        ids[rows] = evaluation.decide(_resized_rows(wide, rows, height), threshold)
    return ids


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
    if _is_ours(path):
        raise ValueError(f"{path} was made from a photo by {SOFTWARE}: give the photo itself.")
    for target in targets:
        if os.path.lexists(target) and not _is_ours(target):
            raise ValueError(
                f"{path}: {target} is there and was not written by {SOFTWARE}. Move it away, or "
                f"write to another folder with --out."
            )
    photo, labelling = _read(path, network.view.bands), network.labelling
    origin, ids = _origin(network, path), predict_photo(network, photo)
    mask = PIL.Image.fromarray(ids)
    mask.putpalette(np.array(labelling.colors, np.uint8).tobytes())
    rgb = (
        photo
        if photo.shape[-1] == 3
        else photo[..., [0, 1, 2] if photo.shape[-1] > 3 else [0] * 3]
    )
    overlay = overlays.overlay(*_reduced(rgb, ids), labelling)
    pictures = (mask, PIL.Image.fromarray(overlay))
    files.write_all({target: _png(picture, origin) for target, picture in zip(targets, pictures)})
    return ids


def _read(path, bands):
    if bands is None:
        return read_photo(path)
    from helpers.datasets.folder import images  # loads TensorFlow, which photographs do without

    return images.read(path, bands).pixels


def output_paths(path, folder=None):
    """Where the mask and the overlay of a photo are written."""
    path = Path(path)
    folder = path.parent if folder is None else Path(folder)
    return folder / f"{path.stem}_mask.png", folder / f"{path.stem}_overlay.png"


def main():
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # it is closed, or a notebook's
            stream.reconfigure(errors="backslashreplace")  # a character that a console lacks
    options = _parser().parse_args()
    try:
        if options.out:
            files.check_writable(options.out / "any_mask.png")
        if options.counts:
            _check_counts(options.counts)
        network = weights.open_network(options.weights)
        if options.tile is not None:
            network = in_tiles(network, options.tile)
        jobs = _jobs(options.photos, options.out)
        failures, rows = _predict_all(network, jobs, options.counts is not None)
        if options.counts:
            files.write(options.counts, _table(rows))
    except (ImportError, OSError, ValueError) as error:
        sys.exit(_line(_text(error)))
    except KeyboardInterrupt:
        _say("Stopped. The files that are there are complete.", sys.stderr)
        sys.exit(130)
    if failures and len(jobs) > 1:
        for line in (f"{len(failures)} of {len(jobs)} photos failed:", *failures):
            _say(line, sys.stderr)
    sys.exit(1 if failures else 0)


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m helpers.prediction",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "photos", nargs="+", help="files, folders, or patterns such as photos/*.jpg"
    )
    parser.add_argument(
        "--weights",
        default=WEIGHTS,
        help="trained network: a name from experiments/weights, or an .onnx, .tflite, "
        ".safetensors or .keras file; the first two do without TensorFlow (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="folder to write to (default: the photo's own)")
    parser.add_argument(
        "--tile",
        type=int,
        metavar="SIZE",
        help="see photos in tiles of so many of their own pixels a side, 0: see them whole "
        "(default: as the network was trained)",
    )
    parser.add_argument(
        "--counts",
        type=Path,
        metavar="FILE.csv",
        help="also write how many separate objects of each class a photo has, and how large",
    )
    return parser


def _jobs(given, out):
    """A Job for each file that is meant, each once. Earlier results, which a pattern or a folder
    holds as well, are left out where there is anything else."""
    found = {}
    for each in given:
        if os.path.isdir(each):
            jobs = [
                Job(path, None if out is None else out / path.parent.relative_to(each), True)
                for path in find_photos(each)
            ]
        else:
            jobs = [Job(path, out, False) for path in _expanded(each)]
        for job in jobs:
            found.setdefault(os.path.abspath(job.path), job)
    jobs = [job for job in found.values() if not _is_ours(job.path)]
    if jobs and len(jobs) < len(found):
        _say(f"Left out: {len(found) - len(jobs)} files made by {SOFTWARE}.", sys.stdout)
    return jobs or list(found.values())


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


def _expanded(given):
    """The files that a pattern stands for: some shells hand it on as it is."""
    if os.path.lexists(given):
        return [Path(given)]
    for pattern in (given, given.replace("[", "[[]")):  # [1] may be a choice, or part of a name
        found = [Path(path) for path in sorted(glob.glob(pattern, recursive=True))]
        if found := [path for path in found if path.is_file()]:
            return found
    return [Path(given)]


def _predict_all(network, jobs, counting):
    """Predicts each photo and says what came of it. What went wrong, a line each; and, if they are
    to be counted, what ``_counted`` found, a row each."""
    failures, rows, made_from, done_before = [], [], {}, 0
    folders = any(job.resumes for job in jobs)
    for job in _with_progress(jobs) if folders else jobs:
        try:
            ids, line = _predicted(network, job, made_from)
            done_before += line is None
            if not folders:
                _say(line, sys.stdout)
            if counting:
                ids = _stored(job) if ids is None else ids
                rows += _counted(job.path, ids, network.labelling)
        except Exception as error:  # of any kind: the other photos are still to come
            text = _text(error)
            failures.append(text if text.startswith(str(job.path)) else f"{job.path}: {text}")
            if not folders:
                _say(failures[-1], sys.stderr)
    if folders:
        new = len(jobs) - done_before - len(failures)
        words = f"{len(jobs)} photos: {new} predicted, {done_before} were done before"
        _say(f"{words}, {len(failures)} failed.", sys.stdout)
    return failures, rows


def _with_progress(jobs):
    """Yields the jobs and says how far it is: on a terminal in a line that changes, elsewhere now
    and then."""
    began = said = time.monotonic()
    changes = sys.stderr.isatty()
    for number, job in enumerate(jobs):
        now = time.monotonic()
        if number and (changes or now - said > PROGRESS):
            left = (now - began) / number * (len(jobs) - number)
            words = f"{number} of {len(jobs)} photos, {left / 60:.0f} min left"
            _say(f"{words:<60}", sys.stderr, "\r" if changes else "\n")
            said = now
        yield job
    if changes:
        _say(" " * 60, sys.stderr, "\r")


def _predicted(network, job, made_from):
    """Predicts one photo of several: its class ids, and a line that says what came of it. None and
    None where that was done before.

    Args:
        made_from: dict, which of this run's masks is of which photo: (device, inode) -> path. So
            two names that the disk takes for one are noticed, be it for case or for a link.
    """
    path, (mask, overlay) = job.path, output_paths(job.path, job.folder)
    if os.path.exists(mask) and (other := made_from.get(_file_id(mask))):
        raise ValueError(
            f"{path}: {mask} has just been written for {other}. Give one of them another name, or "
            f"write to another folder with --out."
        )
    if job.resumes and _is_done(network, path, (mask, overlay)):
        made_from[_file_id(mask)] = path
        return None, None
    ids = predict_file(network, path, job.folder)
    made_from[_file_id(mask)] = path
    shares = [
        f"{name} {100 * share:.1f} %"
        for number, name in enumerate(network.labelling.names)
        if (share := np.mean(ids == number))
    ]
    size = f"{ids.shape[1]} x {ids.shape[0]} pixels"
    return ids, f"{path}: {size}, {', '.join(shares)} -> {mask}, {overlay}"


def _is_done(network, path, targets):
    """Whether these files are complete and of this photo and network."""
    origin = network.sha256 and _origin(network, path)
    return all(
        origin and _written(target, ORIGIN) == origin and _ends(target, END) for target in targets
    )


def _origin(network, path):
    """What tells whether files would come out the same: the network's file, how it is used, and
    the photo's size and date."""
    state = os.stat(path)
    used = (network.sha256, network.model.input_shape, network.view, network.threshold)
    known = (*used, state.st_size, state.st_mtime_ns)
    return hashlib.sha256(repr(known).encode()).hexdigest()[:16]


def _stored(job):
    """The class ids (H, W) uint8 in a mask that was written before."""
    with photos.opened(output_paths(job.path, job.folder)[0]) as image:
        return np.asarray(image)


def _check_counts(path):
    if path.suffix != ".csv":
        raise ValueError(f"--counts {path}: expected a file that ends in .csv.")
    files.check_writable(path)


def _counted(path, ids, labelling):
    """A row for each class: the photo, the class, its share of the pixels, and what
    ``objects.summary`` says."""
    found = objects.summary([objects.areas(ids, labelling)])
    return [
        [str(path), name, f"{np.mean(ids == number):.6f}"]
        + [found[name].get(column, "") for column in COLUMNS]
        for number, name in enumerate(labelling.names)
    ]


def _table(rows):
    text = io.StringIO()
    csv.writer(text).writerows([("photo", "class", "share", *COLUMNS), *rows])
    return text.getvalue().encode(errors="backslashreplace")


def _file_id(path):
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _text(error):
    # by its name: it is TensorFlow's, which need not be loaded
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return "There is not enough memory. Close other programs, or make the photo smaller."
    if isinstance(error, OSError) and error.strerror:  # without "[Errno 28]"
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) if isinstance(error, (ImportError, OSError, ValueError)) else repr(error)


def _line(text):
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _say(text, stream, end="\n"):
    try:
        print(_line(text), file=stream, flush=True, end=end)
    except OSError:  # nobody reads it any more: that ends no batch
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


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
    return _written(path, "Software") == SOFTWARE


def _written(path, name):
    """What a picture's file says under that name; None where it says nothing or is none."""
    try:
        with photos.opened(Path(path)) as image:
            return image.info.get(name)
    except (OSError, ValueError):
        return None


def _ends(path, content):
    with open(path, "rb") as file:
        file.seek(-len(content), os.SEEK_END)
        return file.read() == content


def _png(image, origin):
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("Software", SOFTWARE)
    text.add_text(ORIGIN, origin)
    png = io.BytesIO()
    image.save(png, "PNG", pnginfo=text, compress_level=4)  # a third of 6's time, 4 % more bytes
    return png.getvalue()


if __name__ == "__main__":
    main()
