"""Says what each pixel of a photograph shows: a photo of any kind in, a mask of its size out.

Examples:

    python -m helpers.prediction cat.jpg
    python -m helpers.prediction photos/*.jpg --out masks
    python -m helpers.prediction photos/ --out masks --counts masks/counts.csv
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

Of a folder, all photos are taken, those of folders in it as well, which --out then has too. A run
that was stopped resumes: what is there, complete and of the same photo and network, stays.
"""

import argparse
import contextlib
import csv
import glob
import io
import os
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers import clips, cutout, files, objects, photos, prediction, weights

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # a file's name may hold them
PROGRESS = 10  # seconds between two lines that say how far it is, where they stay
COLUMNS = ("count", "mean_area", "median_area", "smallest", "largest")


class Job(NamedTuple):
    """A photo or a video; the folder to write to, None for its own; and whether it is left out
    where that was done before."""

    path: Path
    folder: Path | None
    resumes: bool


class Work(NamedTuple):
    """``network``: weights.Network. ``kind``: "overlay", "mask" or "cutout", as in
    ``prediction.predict_clip``. ``background``: for ``cutout.compose``, or None. ``counts``:
    whether objects are counted."""

    network: weights.Network
    kind: str
    background: object
    counts: bool


def main():
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # it is closed, or a notebook's
            stream.reconfigure(errors="backslashreplace")  # a character that a console lacks
    options = _parser().parse_args()
    try:
        work = _work(options)
        jobs = _jobs(options.photos, options.out)
        failures, rows = _predict_all(work, jobs)
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
        "photos", nargs="+", help="photos, videos, folders, or patterns such as photos/*.jpg"
    )
    parser.add_argument(
        "--weights",
        default=prediction.WEIGHTS,
        help="trained network: a name from experiments/weights, or an .onnx, .tflite, "
        ".safetensors or .keras file; the first two do without TensorFlow (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="folder to write to (default: the photo's own)")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--cutout", action="store_true", help="only the foreground, with its fur")
    kinds.add_argument("--masks", action="store_true", help="of a video, masks and no overlay")
    parser.add_argument(
        "--background", help="of a cut-out: a colour, such as white or #f0f0f0, or a photo"
    )
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


def _work(options):
    cut = options.cutout or options.background is not None
    if options.masks and cut:
        raise ValueError("--masks and --background do not go together: give one of them.")
    if options.out:
        files.check_writable(options.out / "any_mask.png")
    if options.counts:
        if options.counts.suffix != ".csv":
            raise ValueError(f"--counts {options.counts}: expected a file that ends in .csv.")
        if cut:
            raise ValueError("--counts needs masks, which --cutout does not make: leave one out.")
        files.check_writable(options.counts)
    network = weights.open_network(options.weights)
    if options.tile is not None:
        network = prediction.in_tiles(network, options.tile)
    background = None
    if options.background is not None:
        background = cutout.open_background(options.background, photos.read_photo)
    kind = "cutout" if cut else "mask" if options.masks else "overlay"
    return Work(network, kind, background, options.counts is not None)


def _jobs(given, out):
    """A Job for each file that is meant, each once. Earlier results, which a pattern or a folder
    holds as well, are left out where there is anything else."""
    found = {}
    for each in given:
        if os.path.isdir(each):
            jobs = [
                Job(path, None if out is None else out / path.parent.relative_to(each), True)
                for path in prediction.find_photos(each)
            ]
        else:
            jobs = [Job(path, out, False) for path in _expanded(each)]
        for job in jobs:
            found.setdefault(os.path.abspath(job.path), job)
    jobs = [job for job in found.values() if not prediction.is_ours(job.path)]
    if jobs and len(jobs) < len(found):
        _say(f"Left out: {len(found) - len(jobs)} files made by {prediction.SOFTWARE}.")
    return jobs or list(found.values())


def _expanded(given):
    """The files that a pattern stands for: some shells hand it on as it is."""
    if os.path.lexists(given):
        return [Path(given)]
    for pattern in (given, given.replace("[", "[[]")):  # [1] may be a choice, or part of a name
        found = [Path(path) for path in sorted(glob.glob(pattern, recursive=True))]
        if found := [path for path in found if path.is_file()]:
            return found
    return [Path(given)]


def _predict_all(work, jobs):
    """Predicts each photo and says what came of it. What went wrong, a line each; and, if they are
    to be counted, what ``_counted`` found, a row each."""
    failures, rows, made_from, done_before = [], [], {}, 0
    folders = any(job.resumes for job in jobs)
    for job in _with_progress(jobs) if folders else jobs:
        try:
            line, own = _done(work, job, made_from)
            rows += own
            done_before += line is None
            if not folders:
                _say(line)
        except Exception as error:  # of any kind: the other photos are still to come
            text = _text(error)
            failures.append(text if text.startswith(str(job.path)) else f"{job.path}: {text}")
            if not folders:
                _say(failures[-1], sys.stderr)
    if folders:
        new = len(jobs) - done_before - len(failures)
        words = f"{len(jobs)} photos: {new} predicted, {done_before} were done before"
        _say(f"{words}, {len(failures)} failed.")
    return failures, rows


def _done(work, job, made_from):
    """Does what is to be done with one file of several: a line that says what came of it, None
    where that was done before; and rows of ``_counted``.

    Args:
        made_from: dict, which of this run's files is of which photo: (device, inode) -> path. So
            two names that the disk takes for one are noticed, be it for case or for a link.
    """
    if job.path.suffix.lower() in clips.SUFFIXES:
        return _clip(work, job), []
    kinds = ["cutout"] if work.kind == "cutout" else ["mask", "overlay"]
    targets = prediction.output_paths(job.path, job.folder, kinds)
    if os.path.exists(targets[0]) and (other := made_from.get(_file_id(targets[0]))):
        raise ValueError(
            f"{job.path}: {targets[0]} has just been written for {other}. Give one of them "
            f"another name, or write to another folder with --out."
        )
    ids, line = None, None
    if not (job.resumes and prediction.is_done(work.network, job.path, targets, work.background)):
        ids, line = _made(work, job, targets)
    made_from[_file_id(targets[0])] = job.path
    if not work.counts:
        return line, []
    ids = _stored(targets[0]) if ids is None else ids
    return line, _counted(job.path, ids, work.network.labelling)


def _made(work, job, targets):
    """Class ids, None of a cut-out; and a line."""
    where = ", ".join(map(str, targets))
    if work.kind == "cutout":
        prediction.cut_file(work.network, job.path, job.folder, work.background)
        return None, f"{job.path}: -> {where}"
    ids = prediction.predict_file(work.network, job.path, job.folder)
    shares = [
        f"{name} {100 * share:.1f} %"
        for number, name in enumerate(work.network.labelling.names)
        if (share := np.mean(ids == number))
    ]
    size = f"{ids.shape[1]} x {ids.shape[0]} pixels"
    return ids, f"{job.path}: {size}, {', '.join(shares)} -> {where}"


def _clip(work, job):
    """Predicts a video; a line that says what came of it."""
    done, target = prediction.predict_clip(
        work.network, job.path, work.kind, job.folder, work.background, _say_frames
    )
    line = f"{job.path}: {done.frames} frames -> {target}"
    if done.frames < 0.9 * done.announced:  # many files count one or two too many
        line += f"; it should have {done.announced}, and may be cut off or damaged"
    return line


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


def _say_frames(done, announced):
    if sys.stderr.isatty():
        of = f" of {announced}" if announced else ""
        _say(f"{done}{of} frames", sys.stderr, "\n" if done == announced else "\r")


def _stored(path):
    """The class ids (H, W) uint8 in a mask that was written before."""
    with photos.opened(path) as image:
        return np.asarray(image)


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


def _say(text, stream=None, end="\n"):
    stream = sys.stdout if stream is None else stream
    try:
        print(_line(text), file=stream, flush=True, end=end)
    except OSError:  # nobody reads it any more: that ends no batch
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


if __name__ == "__main__":
    main()
