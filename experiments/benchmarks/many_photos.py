"""Small photos predicted by the plain command, and by the Beam pipeline on two workers.

    make many-photos
    python -m experiments.benchmarks.many_photos

All run in the environment that the pipeline needs, in turns; that one's start is counted in. The
photos are synthetic pets, see ``growth.write_photos``. The plain command works on as many photos
at once as there are cores, up to four.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from experiments import publish
from experiments.benchmarks import growth
from helpers import files

RESULT = Path("experiments/results/many_photos.json")
PYTHON = Path(".venvs/many_photos/bin/python")
TWO = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
CONTESTANTS = {  # module, options, workers
    "plain command": ("helpers.prediction", (), min(4, os.cpu_count())),
    "Apache Beam, 2 workers": ("experiments.many_photos", TWO, 2),
}
PACKAGES = ("apache-beam", "onnxruntime", "pillow", "numpy", "protobuf")


def measure(name, photos):
    """Photos a second and memory of one contestant, on a folder of photos."""
    module, options, workers = CONTESTANTS[name]
    count = len(list(photos.iterdir()))
    with tempfile.TemporaryDirectory() as out:
        start = time.monotonic()
        peak = watch([PYTHON, "-m", module, photos, "--out", out, *options])
        seconds = time.monotonic() - start
        masks = len(list(Path(out).rglob("*_mask.png")))
    if masks != count:
        raise RuntimeError(f"{name} wrote {masks} masks of {count} photos.")
    return {
        "photos_per_s": count / seconds,
        "photos_per_s_per_worker": count / seconds / workers,
        "peak_mb": peak / 1e6,
    }


def watch(command):
    """Runs a command; the most memory, in bytes, that it and its processes had at a time."""
    peak = 0
    running = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.poll() is None:
        try:
            parts = [running, *running.children(recursive=True)]
            peak = max(peak, sum(part.memory_info().rss for part in parts))
        except psutil.NoSuchProcess:
            pass  # it has just ended
        time.sleep(0.2)
    return peak


def main():
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.many_photos")
    parser.add_argument("--count", type=int, default=10_000, help="photos (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="in turns (default: %(default)s)")
    parser.add_argument("--result", type=Path, default=RESULT, help="default: %(default)s")
    options = parser.parse_args()
    files.check_writable(options.result)
    if not PYTHON.exists():
        raise SystemExit(f"There is no {PYTHON}: make many-photos.")
    runs = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        growth.write_photos(photos, options.count)
        for _ in range(options.rounds):
            for name, found in runs.items():
                found.append(measure(name, photos))
                print(f"{name}: {found[-1]}", flush=True)
    medians = {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for name, found in runs.items()
    }
    environment = publish.environment()
    environment["versions"] |= _versions()
    result = {
        "contestants": medians,
        "workers": {name: workers for name, (*_, workers) in CONTESTANTS.items()},
        "photos": options.count,
        "photo_px": growth.PHOTO,
        "rounds": options.rounds,
        "seed": growth.SEED,
        "data_source": f"synthetic pets, {growth.DRAWN} drawings repeated",
        "command": "python -m experiments.benchmarks.many_photos",
        **environment,
    }
    files.write_json(options.result, result)


def _versions():
    """Of the packages there."""
    code = (
        f"import importlib.metadata as m, json; print(json.dumps([*map(m.version, {PACKAGES})]))"
    )
    said = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True)
    return dict(zip(PACKAGES, json.loads(said.stdout)))


if __name__ == "__main__":
    main()
