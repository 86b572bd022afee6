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
import collections
import contextlib
import csv
import functools
import glob
import hashlib
import io
import os
import re
import sys
import time
from concurrent import futures
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image
import PIL.PngImagePlugin

from helpers import evaluation, exported, files, objects, overlays, photos, tiles, weights
from helpers.photos import network_input, read_photo

WEIGHTS = "mobilenetv2_unet_256.onnx"
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif")
OVERLAY_SIDE = 1600
SOFTWARE = "helpers.prediction"  # written into each file: tells ours from a user's own
ORIGIN = "Origin"  # of which photo and network a file is, likewise
END = b"IEND\xaeB`\x82"  # of a PNG that is complete
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # a file's name may hold them
WORKERS = min(4, os.cpu_count() or 1)  # photos at once: each takes its memory
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
        photo: (H, W, 3) uint8, from ``read_photo``.

    Returns:
        (H, W) uint8 class ids of the network's labelling; with one logit only 0 and 1.

    Raises:
        ValueError: as ``network_input``; or the model's output does not fit its labelling.
    """
    if network.overlap is not None:
        return tiles.predict(network, photos.checked(photo), network.overlap)
    size = network.model.input_shape[1:3]
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
        return network._replace(overlap=None)
    return weights.at_size(network, size)._replace(overlap=size // 8 * 2)


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
    contents, ids = _results(network, Path(path), folder)
    files.write_all(contents)
    return ids


def _results(network, path, folder):
    """What ``predict_file`` writes, a dict of path -> bytes, and what it returns."""
    targets = output_paths(path, folder)
    if _is_ours(path):
        raise ValueError(f"{path} was made from a photo by {SOFTWARE}: give the photo itself.")
    for target in targets:
        if os.path.lexists(target) and not _is_ours(target):
            raise ValueError(
                f"{path}: {target} is there and was not written by {SOFTWARE}. Move it away, or "
                f"write to another folder with --out."
            )
    photo, labelling = read_photo(path), network.labelling
    origin, ids = _origin(network, path), predict_photo(network, photo)
    mask = PIL.Image.fromarray(ids)
    mask.putpalette(np.array(labelling.colors, np.uint8).tobytes())
    overlay = PIL.Image.fromarray(overlays.overlay(*_reduced(photo, ids), labelling))
    # A sixth more bytes than of the usual level for an overlay, in a quarter of the time.
    pngs = _png(mask, origin, level=4), _png(overlay, origin, level=1)
    return dict(zip(targets, pngs)), ids


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
        jobs = _jobs(options.photos, options.out)
        # Several photos at once, each on one core, are faster than one after the other on all.
        network = weights.open_network(options.weights, threads=1 if len(jobs) > 1 else None)
        if options.tile is not None:
            network = in_tiles(network, options.tile)
        failures, rows = predict_all(network, jobs, options.counts is not None)
        if options.counts:
            files.write(options.counts, _table(rows))
    except (ImportError, OSError, ValueError) as error:
        sys.exit(_line(_text(error)))
    except KeyboardInterrupt:
        _say("Stopped. The files that are there are complete.", sys.stderr)
        sys.exit(130)
    if failures and (len(jobs) > 1 or jobs[0].resumes):  # else it was said already
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


def predict_all(network, jobs, counting=False):
    """Predicts each photo and says what came of it; of folders, in one line. With an exported
    network, ``WORKERS`` photos are worked on at once.

    Args:
        network: weights.Network.
        jobs: list of Job.
        counting: whether to count objects.

    Returns:
        What went wrong, a list of lines; and what was counted, a list of rows of the table.
    """
    failures, rows, made_from, done_before = [], [], {}, 0
    folders = any(job.resumes for job in jobs)
    shown = _with_progress(jobs) if folders else jobs
    for job, found in zip(shown, _prepared(network, jobs)):
        try:
            ids, line = _kept(network, job, found, made_from)
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


def _prepared(network, jobs):
    """Yields what ``_prepare`` gives of each job, in their order. Exported networks may be run by
    several threads; Keras models may not."""
    prepare = functools.partial(_prepare, network)
    if len(jobs) == 1 or not isinstance(network.model, exported.Model):
        yield from map(prepare, jobs)
        return
    pool, pending = futures.ThreadPoolExecutor(WORKERS), collections.deque()
    try:
        for job in jobs:
            pending.append(pool.submit(prepare, job))
            if len(pending) > WORKERS:  # no more: each holds a photo's results
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(network, job):
    """As ``_results``; None where that was done before; or the exception that was raised."""
    try:
        if job.resumes and _is_done(network, job.path, output_paths(job.path, job.folder)):
            return None
        return _results(network, job.path, job.folder)
    except Exception as error:  # of any kind: it is that photo's alone
        return error


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


def _kept(network, job, found, made_from):
    """Writes what was found of one photo of several: its class ids, and a line that says what came
    of it. None and None where that was done before.

    Args:
        found: from ``_prepare``.
        made_from: dict, which of this run's masks is of which photo: (device, inode) -> path. So
            two names that the disk takes for one are noticed, be it for case or for a link.
    """
    path, (mask, overlay) = job.path, output_paths(job.path, job.folder)
    if isinstance(found, Exception):
        raise found
    if os.path.exists(mask) and (other := made_from.get(_file_id(mask))):
        raise ValueError(
            f"{path}: {mask} has just been written for {other}. Give one of them another name, or "
            f"write to another folder with --out."
        )
    if found is None:
        made_from[_file_id(mask)] = path
        return None, None
    contents, ids = found
    files.write_all(contents)
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
    used = (network.sha256, network.model.input_shape, network.overlap, network.threshold)
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


def _png(image, origin, level):
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("Software", SOFTWARE)
    text.add_text(ORIGIN, origin)
    png = io.BytesIO()
    image.save(png, "PNG", pnginfo=text, compress_level=level)
    return png.getvalue()


if __name__ == "__main__":
    main()
