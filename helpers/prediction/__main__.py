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
import collections
import contextlib
import functools
import glob
import os
import re
import sys
import time
from concurrent import futures
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers import clips, cutout, exported, files, photos, prediction, weights
from helpers.prediction import tables

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # a file's name may hold them
WORKERS = min(4, os.cpu_count() or 1)  # photos at once: each takes its memory
PROGRESS = 10  # seconds between two lines that say how far it is, where they stay


class Job(NamedTuple):
    """A photo or a video; the folder to write to, None for its own; and whether it is left out
    where that was done before."""

    path: Path
    folder: Path | None
    resumes: bool


class Work(NamedTuple):
    """``network``: weights.Network. ``kind`` and ``cut``: as in ``prediction.predict_clip``.
    ``counts``: whether objects are counted."""

    network: weights.Network
    kind: str = "overlay"
    cut: prediction.Cut | None = None
    counts: bool = False


def main():
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # it is closed, or a notebook's
            stream.reconfigure(errors="backslashreplace")  # a character that a console lacks
    options = _parser().parse_args()
    try:
        _check(options)
        jobs = _jobs(options.photos, options.out)
        failures, rows = predict_all(_work(options, len(jobs)), jobs)
        if options.counts:
            files.write(options.counts, tables.table(rows))
    except (ImportError, OSError, ValueError) as error:
        sys.exit(_line(tables.sentence(error)))
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
        "--foreground",
        action="append",
        metavar="CLASS",
        help="what is cut out; may be given again (default: the first class, of a network that "
        "knows a border)",
    )
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
        "--mirror",
        action="store_true",
        help="look at the mirror image too: a little more accurate, in twice the time",
    )
    parser.add_argument(
        "--enlarge",
        action="store_true",
        help="look at the network's input enlarged by a quarter too, in 2.6 times the time, with "
        "--mirror in five times",
    )
    parser.add_argument(
        "--counts",
        type=Path,
        metavar="FILE.csv",
        help="also write how many separate objects of each class a photo has, and how large",
    )
    return parser


def _is_cut(options):
    return options.cutout or options.background is not None or options.foreground is not None


def _check(options):
    if options.masks and _is_cut(options):
        raise ValueError("--masks does not go with what is for cut-outs: give one of them.")
    if options.out:
        files.check_writable(options.out / "any_mask.png")
    if options.counts:
        if options.counts.suffix != ".csv":
            raise ValueError(f"--counts {options.counts}: expected a file that ends in .csv.")
        if _is_cut(options):
            raise ValueError("--counts needs masks, which --cutout does not make: leave one out.")
        files.check_writable(options.counts)


def _work(options, count):
    # Several photos at once, each on one core, are faster than one after the other on all.
    network = weights.open_network(options.weights, threads=1 if count > 1 else None)
    network = weights.with_views(network, options.mirror, options.enlarge)
    if options.tile is not None:
        network = prediction.in_tiles(network, options.tile)
    cut, background = None, options.background
    if _is_cut(options):
        if background is not None:
            background = cutout.open_background(background, photos.read_photo)
        cut = prediction.Cut(options.foreground, background)
    kind = "mask" if options.masks else "overlay"
    return Work(network, kind, cut, options.counts is not None)


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


def predict_all(work, jobs):
    """Predicts each photo and says what came of it; of folders, in one line. With an exported
    network, ``WORKERS`` photos are worked on at once.

    Args:
        work: Work.
        jobs: list of Job.

    Returns:
        What went wrong, a list of lines; and what was counted, a list of rows of the table.
    """
    failures, rows, made_from, done_before = [], [], {}, 0
    folders = any(job.resumes for job in jobs)
    shown = _with_progress(jobs) if folders else jobs
    for job, found in zip(shown, _prepared(work, jobs)):
        try:
            line, own = _kept(work, job, found, made_from)
            rows += own
            done_before += line is None
            if not folders:
                _say(line)
        except Exception as error:  # of any kind: the other photos are still to come
            failures.append(tables.failure(job.path, error))
            if not folders:
                _say(failures[-1], sys.stderr)
    if folders:
        new = len(jobs) - done_before - len(failures)
        words = f"{len(jobs)} photos: {new} predicted, {done_before} were done before"
        _say(f"{words}, {len(failures)} failed.")
    return failures, rows


def _prepared(work, jobs):
    """Yields what ``_prepare`` gives of each job, in their order. Exported networks may be run by
    several threads; Keras models may not, and cut-outs take their memory."""
    prepare = functools.partial(_prepare, work)
    if len(jobs) == 1 or work.cut or not isinstance(work.network.model, exported.Model):
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


def _prepare(work, job):
    """As ``prediction.results``; None where that was done before, and of a video; or the exception
    that was raised."""
    if _is_clip(job):
        return None
    try:
        targets = _targets(work, job)
        if job.resumes and prediction.is_done(work.network, job.path, targets, work.cut):
            return None
        return prediction.results(work.network, job.path, job.folder, work.cut)
    except Exception as error:  # of any kind: it is that photo's alone
        return error


def _is_clip(job):
    return job.path.suffix.lower() in clips.SUFFIXES


def _targets(work, job):
    kinds = prediction.CUT_KINDS if work.cut else prediction.KINDS
    return prediction.output_paths(job.path, job.folder, kinds)


def _kept(work, job, found, made_from):
    """Writes what was found of one photo of several, or predicts a video: a line that says what
    came of it, None where that was done before; and rows of ``tables.counted``.

    Args:
        found: from ``_prepare``.
        made_from: dict, which of this run's files is of which photo: (device, inode) -> path. So
            two names that the disk takes for one are noticed, be it for case or for a link.
    """
    if isinstance(found, Exception):
        raise found
    if _is_clip(job):
        return _clip(work, job), []
    targets = _targets(work, job)
    if os.path.exists(targets[0]) and (other := made_from.get(_file_id(targets[0]))):
        raise ValueError(
            f"{job.path}: {targets[0]} has just been written for {other}. Give one of them "
            f"another name, or write to another folder with --out."
        )
    ids, line = None, None
    if found is not None:
        contents, ids = found
        files.write_all(contents)
        line = _said(job, ids, work.network.labelling, targets)
    made_from[_file_id(targets[0])] = job.path
    if not work.counts:
        return line, []
    ids = tables.stored(targets[0]) if ids is None else ids
    return line, tables.counted(job.path, ids, work.network.labelling)


def _said(job, ids, labelling, targets):
    where = ", ".join(map(str, targets))
    if ids is None:
        return f"{job.path} -> {where}"
    shares = [
        f"{name} {100 * share:.1f} %"
        for number, name in enumerate(labelling.names)
        if (share := np.mean(ids == number))
    ]
    return f"{job.path}: {ids.shape[1]} x {ids.shape[0]} pixels, {', '.join(shares)} -> {where}"


def _clip(work, job):
    """Predicts a video; a line that says what came of it."""
    done, target = prediction.predict_clip(
        work.network, job.path, work.kind, job.folder, work.cut, _say_frames
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


def _file_id(path):
    found = os.stat(path)
    return found.st_dev, found.st_ino


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
