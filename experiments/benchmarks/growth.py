"""How time and memory grow with the number of images: of an epoch of training batches, with the
cache in a file and in RAM, and of prediction with an exported network.

    python -m experiments.benchmarks.growth
    python -m experiments.benchmarks.growth "training batches, cache in RAM"    # that curve anew

The records of the training split are repeated up to the number that is wanted; so are, as files,
small synthetic pets, which the plain command predicts. Each point is measured in a process of its
own, from the first record to the last batch. Memory is the process's peak, without what it takes
before that: Python, TensorFlow, the opened data set.

glibc's malloc gives threads arenas of their own and keeps in each what was freed there. With one
arena for all (MALLOC_ARENA_MAX=1), the peak is nearer to what is held at a time.
"""

import contextlib
import dataclasses
import io
import json
import re
import sys
import tempfile
import time
from pathlib import Path

RESULT = Path("experiments/results/growth.json")
SIZE = 64  # of the input pipeline
BATCH = 32
SEED = 42
BUFFER = 1_000  # examples that are shuffled at once
PHOTO = 160  # the long side of the photos
DRAWN = 100  # synthetic pets, which then repeat
ARENA = ", one malloc arena"
CURVES = {  # numbers of images
    "training batches, cache in a file": (1_000, 10_000, 100_000),
    "training batches, cache in a file" + ARENA: (1_000, 10_000, 100_000),
    "training batches, cache in RAM": (1_000, 3_000, 10_000),
    "prediction, exported network": (300, 1_000, 2_000),
}


def training_batches(count, cache):
    from helpers import datasets, pipeline
    from helpers.datasets import oxford_pets

    pets = oxford_pets.open_pets()
    repeated = dataclasses.replace(
        pets, read=lambda split: pets.read(split).repeat().take(count), sizes={"train": count}
    )
    next(iter(datasets.read_records(pets, "train")))  # TensorFlow's own start

    def run():
        examples = pipeline.load_split(repeated, "train", SIZE, cache)
        buffer = BUFFER if cache == "file" else None
        batches = pipeline.training_batches(examples, BATCH, seed=SEED, buffer=buffer)
        return sum(len(masks) for _, masks in batches)

    return run


def prediction(count):
    from helpers.prediction.__main__ import main as predict

    folder = tempfile.TemporaryDirectory()
    photos, out = Path(folder.name, "photos"), Path(folder.name, "masks")
    write_photos(photos, count)

    def run():
        sys.argv[1:] = [str(photos), "--out", str(out)]
        with folder:
            with contextlib.suppress(SystemExit):
                predict()
            return len(list(out.glob("*_mask.png")))

    return run


def contestant(name, count):
    """A function that does the work of one point."""
    if name.startswith("prediction"):
        return prediction(count)
    return training_batches(count, "RAM" if "RAM" in name else "file")


def write_photos(folder, count):
    """Small synthetic pets as JPEG files, of which each ``DRAWN`` are different."""
    import numpy as np
    import PIL.Image

    from helpers.datasets.synthetic_pets import builder

    folder.mkdir(parents=True)
    for number in range(min(count, DRAWN)):
        rng = np.random.default_rng([SEED, number])
        image, *_ = builder.draw_pet(rng, number % len(builder.BREEDS))
        picture, jpeg = PIL.Image.fromarray(image), io.BytesIO()
        picture.thumbnail((PHOTO, PHOTO))
        picture.save(jpeg, "JPEG")
        for other in range(number, count, DRAWN):
            (folder / f"{other:06}.jpg").write_bytes(jpeg.getvalue())


def measure(name, count):
    """Seconds, and megabytes at the peak, of one point."""
    run = contestant(name, count)
    before, start = memory("VmRSS"), time.monotonic()
    done = run()
    assert done == count, done
    return {
        "seconds": time.monotonic() - start,
        "memory_mb": (memory("VmHWM") - before) / 1e6,
    }


def memory(name):
    """Bytes of this process, now (VmRSS) or at its peak (VmHWM), as Linux says."""
    return 1024 * int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def main():
    names = sys.argv[1:]
    if len(names) == 2 and names[1].isdigit():  # one point
        print(json.dumps(measure(names[0], int(names[1]))))
        return
    from experiments import publish
    from helpers import files
    from helpers.datasets import oxford_pets

    if unknown := {*names} - {*CURVES}:
        sys.exit(f"There is no curve {min(unknown)!r}: expected some of {list(CURVES)}.")
    files.check_writable(RESULT)
    pets, names = oxford_pets.open_pets(), names or list(CURVES)
    curves = json.loads(RESULT.read_text())["growth"] if RESULT.exists() else {}
    curves |= {name: curve(name) for name in names}
    files.write_json(
        RESULT,
        {
            "growth": {name: curves[name] for name in CURVES if name in curves},
            "input_size": SIZE,
            "batch_size": BATCH,
            "buffer": BUFFER,
            "photo_px": PHOTO,
            "seed": SEED,
            "data_source": f"{pets.name}, training split repeated; synthetic pets as photos",
            "command": "python -m experiments.benchmarks.growth",
            **publish.environment(("onnxruntime",)),
        },
    )


def curve(name):
    """All points of a curve: a dict of lists."""
    from experiments.benchmarks import rounds

    module, counts = "experiments.benchmarks.growth", CURVES[name]
    variables = {"MALLOC_ARENA_MAX": "1"} if name.endswith(ARENA) else {}
    found = [rounds.run(module, (name, count), variables) for count in counts]
    return {"images": list(counts)} | {key: [run[key] for run in found] for key in found[0]}


if __name__ == "__main__":
    main()
