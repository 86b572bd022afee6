"""Masks, overlays and a table of photos too many for one machine: photos of folders, patterns or
buckets in, by an Apache Beam pipeline.

Examples:

    python -m experiments.many_photos photos/ --out masks
    python -m experiments.many_photos "photos/**.jpg" --out masks --direct_num_workers 2 \\
        --direct_running_mode multi_processing
    python -m experiments.many_photos gs://bucket/photos/ --out gs://bucket/masks \\
        --runner FlinkRunner --flink_master HOST:8081

What is written for a photo is, byte for byte, what ``python -m helpers.prediction`` writes, by the
same code, in the folders that the photos are in. With it come, once all is done, ``shares.csv``,
as by that command's --counts but in any order, and ``failed.txt``, which says of each photo that
failed why, in a line. Started again, it leaves what is there, complete and of the same photo and
network. Memory holds a photo for each worker, and names and rows of the table for all.

Other options are Beam's own: which engine runs it (--runner; this machine by default) and on how
many workers. It is for Linux and macOS. A bucket takes what Beam reads it with: ``pip install
"apache-beam[gcp]"``, or [aws], [azure]. Workers elsewhere need this repository and the same
requirements.

Beam, because its maintainers keep it up on Python 3.11 to 3.13, and Flink, Spark and Dataflow run
it. It needs protobuf below 7 and Pillow below 13, hence an environment of its own,
experiments/many-photos-requirements.txt: an exported network predicts without TensorFlow. Ray Data
2.60 installs beside the other requirements, but on two busy cores it took minutes to start two
workers, and Beam seconds.
"""

import argparse
import functools
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from helpers import exported, files, prediction, weights
from helpers.prediction import tables

logging.getLogger().setLevel(logging.ERROR)  # Beam's of what it does without
try:
    import apache_beam as beam
    from apache_beam.io import fileio, filesystem
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.metrics import Metrics, MetricsFilter
    from apache_beam.ml.inference.base import ModelHandler, RunInference
    from apache_beam.options.pipeline_options import PipelineOptions
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    sys.exit(
        f"{error}. Apache Beam is for an environment of its own: python -m pip install -r "
        "experiments/many-photos-requirements.txt"
    )

SIGNS = "*?["  # of a pattern
OUTCOMES = ("predicted", "done before", "made by this command", "failed")
BATCH = 16  # photos that a worker takes at once; it holds one of them
RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"  # needs no other program


class Photo(NamedTuple):
    """A photo's path and date, as Beam's file systems give them, and the folder to write to."""

    path: str
    updated: float
    folder: str


class Outcome(NamedTuple):
    """One of ``OUTCOMES``, and lines for the table, or why it failed."""

    kind: str
    text: str = ""


class Predictor(ModelHandler[Photo, Outcome, functools.partial]):
    """What ``RunInference`` does with photos: predict them and write what comes of it.

    Args:
        source: of the network, for ``weights.open_network``.
    """

    def __init__(self, source):
        super().__init__(max_batch_size=BATCH)
        self.source = source

    def load_model(self):
        network = weights.open_network(self.source, threads=1)  # workers are the parallelism
        return functools.partial(predict, network)  # Beam shares it by a weak reference

    def run_inference(self, batch, model, inference_args=None):
        return list(map(model, batch))


def main():
    options, others = _parser().parse_known_args()
    try:
        _check(options, others)
        out = options.out.rstrip("/") or "/"
        counts = run(options.photos, out, options.weights, others)
    except (ImportError, OSError, ValueError, filesystem.BeamIOError) as error:
        sys.exit(tables.sentence(error))
    except KeyboardInterrupt:
        sys.exit("Stopped. The files that are there are complete.")
    said = ", ".join(f"{counts[kind]} {kind}" for kind in OUTCOMES)
    print(f"{sum(counts.values())} photos: {said}.")
    if not sum(counts.values()):
        sys.exit(f"Expected photos: {', '.join(prediction.SUFFIXES)}.")
    if counts["failed"]:
        sys.exit(f"Why, says {FileSystems.join(out, 'failed.txt')}.")


def run(patterns, out, source, options=()):
    """Predicts all photos that patterns stand for.

    Args:
        patterns: list of str, see the command.
        out: str, folder or bucket to write to.
        source: of the network, for ``weights.open_network``.
        options: list of str, Beam's own.

    Returns:
        dict: how many photos each of ``OUTCOMES`` was of.
    """
    defaults = [f"--runner={RUNNER}", "--default_sdk_harness_log_level=ERROR"]
    pipeline = beam.Pipeline(options=PipelineOptions([*defaults, *options]))
    photos, clashes = _photos(pipeline, patterns, out)
    found = photos | RunInference(Predictor(source))
    found = (found, clashes) | beam.Flatten() | beam.Map(_counted)
    _write(found, ("predicted", "done before"), out, "shares.csv", tables.lines([tables.HEAD]))
    _write(found, ("failed",), out, "failed.txt")
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace(__name__))["counters"]
    counts = {counter.key.metric.name: counter.result for counter in counters}
    return {kind: counts.get(kind, 0) for kind in OUTCOMES}


def predict(network, photo):
    """Predicts one photo and writes what comes of it, unless that was done before.

    Args:
        network: weights.Network.
        photo: Photo.

    Returns:
        Outcome.
    """
    local = Path(photo.path)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            local = _fetched(photo, scratch)
            if prediction.is_ours(local):
                return Outcome("made by this command")
            folder = Path(scratch, "out") if _is_remote(photo.folder) else Path(photo.folder)
            targets = prediction.output_paths(local, folder)
            remote = _earlier(photo, targets) if _is_remote(photo.folder) else {}
            kind, ids = "done before", None
            if not prediction.is_done(network, local, targets):
                contents, ids = prediction.results(network, local, folder)
                files.write_all(contents)
                kind = "predicted"
                for target, path in remote.items():
                    _copy(target, path)
            ids = tables.stored(targets[0]) if ids is None else ids
            rows = tables.counted(photo.path, ids, network.labelling)
            return Outcome(kind, tables.lines(rows))
    except Exception as error:  # of any kind: it is that photo's alone
        return _failed(tables.failure(local, error).replace(str(local), photo.path))


def _failed(why):
    return Outcome("failed", " ".join(why.split()) + "\n")  # one line


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m experiments.many_photos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "photos",
        nargs="+",
        help="folders that end in /, or patterns: * is any name, ** also goes through folders",
    )
    parser.add_argument("--out", required=True, help="folder or bucket to write to")
    parser.add_argument(
        "--weights",
        default=prediction.WEIGHTS,
        help="an .onnx or .tflite file (default: %(default)s)",
    )
    return parser


def _check(options, others):
    """What can be known before the first photo: options, photos, network, folder."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for own in PipelineOptions.__subclasses__():
        own._add_argparse_args(parser)
    if unknown := parser.parse_known_args(others)[1]:
        raise ValueError(f"{unknown[0]} is neither an option of this command nor of Beam's.")
    for pattern in options.photos:
        if os.path.isdir(pattern) and {*pattern} & {*SIGNS}:
            raise ValueError(f"{pattern}: Beam takes {SIGNS} as a pattern, rename the folder.")
        (found,) = FileSystems.match([_pattern(pattern)], limits=[1])
        if not found.metadata_list:
            raise ValueError(f"{pattern}: there are no photos of that name.")
    if Path(options.weights).suffix not in exported.KINDS:
        raise ValueError(
            f"--weights {options.weights}: expected an exported network, "
            f"{' or '.join(exported.KINDS)}: python -m experiments.export makes one."
        )
    weights.open_network(options.weights)
    if not _is_remote(options.out):
        files.check_writable(Path(options.out, "shares.csv"))
        _tidy(Path(options.out))


def _tidy(out):
    """Deletes what runs that were killed have left."""
    for folder in (out, *(path for path in out.rglob("*") if path.is_dir())):
        files.remove_partial(folder)
    for folder in out.glob("beam-temp-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _photos(pipeline, patterns, out):
    """Photos, and Outcomes of those whose results would be another one's.

    Grouped by what they write, which also spreads them over the workers.
    """
    groups = []
    for number, pattern in enumerate(patterns):
        keyed = functools.partial(_keyed, pattern, out)
        found = pipeline | f"pattern {number}" >> beam.Create([_pattern(pattern)])
        found |= f"match {number}" >> fileio.MatchAll()
        groups.append(found | f"name {number}" >> beam.FlatMap(keyed))
    groups = groups | "all" >> beam.Flatten() | beam.GroupByKey()
    first = groups | "first" >> beam.MapTuple(lambda _, photos: min(photos))
    return first, groups | "others" >> beam.FlatMapTuple(_clashes)


def _keyed(pattern, out, found):
    """(what it writes, Photo) of a file that is a photo by its name; else nothing."""
    root = _root(pattern)
    names = found.path[len(root) :].split("/")
    by_folder = _pattern(pattern) != pattern
    if by_folder and (
        not found.path.lower().endswith(prediction.SUFFIXES)
        or any(name.startswith(".") for name in names)
    ):
        return
    folder = FileSystems.join(out, *names[:-1])
    photo = Photo(found.path, found.last_updated_in_seconds, folder)
    yield f"{folder}/{Path(names[-1]).stem}", photo


def _clashes(_, photos):
    """Outcomes of all photos of a group but the first."""
    first, *others = sorted(set(photos))
    for photo in others:
        yield _failed(
            f"{photo.path}: what it would write is written for {first.path}. Give one of them "
            f"another name, or write to another folder with --out."
        )


def _pattern(given):
    """A pattern that all files in a folder have, or the pattern that was given."""
    if given.endswith("/") or (not _is_remote(given) and os.path.isdir(given)):
        return given.rstrip("/") + "/**"
    return given


def _root(pattern):
    """The folder that all photos of a pattern are in, with its /."""
    fixed = _pattern(pattern)
    for sign in SIGNS:
        fixed = fixed.split(sign)[0]
    return fixed[: fixed.rfind("/") + 1]


def _counted(outcome):
    Metrics.counter(__name__, outcome.kind).inc()
    return outcome


def _write(found, kinds, out, name, head=None):
    """Writes a file with the texts of these kinds of outcomes."""
    texts = found | f"for {name}" >> beam.Filter(lambda outcome: outcome.kind in kinds)
    texts |= f"text of {name}" >> beam.Map(lambda outcome: outcome.text)
    texts | name >> beam.io.WriteToText(
        FileSystems.join(out, name),
        append_trailing_newlines=False,
        num_shards=1,
        shard_name_template="",
        header=head,
    )


def _is_remote(path):
    return "://" in path


def _fetched(photo, scratch):
    """Where the photo lies on this machine, with its date."""
    if not _is_remote(photo.path):
        return Path(photo.path)
    local = Path(scratch, photo.path.rsplit("/", 1)[1])
    _download(photo.path, local)
    os.utime(local, (photo.updated, photo.updated))
    return local


def _earlier(photo, targets):
    """Fetches what was written before of a photo: dict, file here -> path there."""
    remote = {target: FileSystems.join(photo.folder, target.name) for target in targets}
    targets[0].parent.mkdir()
    for target, path in remote.items():
        if FileSystems.exists(path):
            _download(path, target)
    return remote


def _download(path, local):
    with FileSystems.open(path, compression_type="uncompressed") as there, open(local, "wb") as f:
        shutil.copyfileobj(there, f)


def _copy(local, path):
    """Writes a file of this machine elsewhere; it has its name once it is complete."""
    partial = f"{path}{files.PARTIAL}"
    with FileSystems.create(partial, compression_type="uncompressed") as there:
        there.write(local.read_bytes())
    FileSystems.rename([partial], [path])


if __name__ == "__main__":  # not this module's copy of that name: workers import what they run
    from experiments import many_photos

    many_photos.main()
