"""Input pipelines: ours, the tutorial's, and PyTorch's DataLoader with Albumentations.

    python -m experiments.benchmarks.input_pipeline

All read the same records of the training split and give batches of 32 at 128 pixels. What they do
to them differs, as it does in practice: the tutorial only flips; ours and Albumentations flip,
scale, crop, rotate and change colours. Beside them, JPEG decoding alone, on all
cores: the photos at their own size, and nothing else done to them.
"""

import json
import os
import sys
import time
from pathlib import Path

RESULT = Path("experiments/results/input_pipeline.json")
SIZE = 128
BATCH = 32
LATER_EPOCHS = 5
ROUNDS = 3


def decode_alone(pets):
    import tensorflow as tf

    from helpers import datasets

    records = datasets.read_records(pets, "train")
    return records.map(
        lambda record: tf.io.decode_jpeg(record["image"], channels=3),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def ours(pets):
    from helpers import pipeline

    return pipeline.training_batches(pipeline.load_split(pets, "train", SIZE), BATCH, seed=42)


def tutorials(pets):
    from experiments.benchmarks import tutorial
    from helpers import datasets

    tutorial.BATCH = BATCH
    steps = round(datasets.count_examples(pets, "train") / BATCH)  # a batch may span two epochs
    batches = iter(tutorial.batches(pets, "train", training=True))  # repeats without end

    class Epochs:
        def __iter__(self):
            return (next(batches) for _ in range(steps))

    return Epochs()


def pytorch(pets):
    import albumentations as A
    import cv2
    import numpy as np
    import torch

    from helpers import datasets

    records = [
        (record["image"], record["segmentation_mask"])
        for record in datasets.read_records(pets, "train").as_numpy_iterator()
    ]
    change = A.Compose(
        [
            A.Resize(SIZE, SIZE, interpolation=cv2.INTER_AREA),
            A.HorizontalFlip(p=0.5),
            A.Affine(scale=(0.9, 1.5), rotate=(-15, 15), translate_percent=(-0.1, 0.1), p=1.0),
            A.ColorJitter(brightness=0.15, contrast=0.25, saturation=0.4, hue=0.0, p=1.0),
        ]
    )

    class Pets(torch.utils.data.Dataset):
        def __len__(self):
            return len(records)

        def __getitem__(self, index):
            image, mask = (np.frombuffer(part, np.uint8) for part in records[index])
            image = cv2.cvtColor(cv2.imdecode(image, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            mask = cv2.imdecode(mask, cv2.IMREAD_GRAYSCALE)
            both = change(image=image, mask=mask)
            return both["image"], both["mask"] - 1

    cv2.setNumThreads(0)  # the workers are the parallelism
    return torch.utils.data.DataLoader(
        Pets(), BATCH, shuffle=True, num_workers=os.cpu_count(), persistent_workers=True
    )


CONTESTANTS = {
    "JPEG decode alone": decode_alone,
    "ours": ours,
    "TensorFlow's tutorial": tutorials,
    "PyTorch DataLoader, Albumentations": pytorch,
}


def measure(name):
    """One contestant's first epoch and later epochs, images a second."""
    from helpers import datasets
    from helpers.datasets import oxford_pets

    pets = oxford_pets.open_pets()
    count = datasets.count_examples(pets, "train")
    next(iter(datasets.read_records(pets, "train")))  # TensorFlow's own start is nobody's epoch

    start = time.monotonic()
    epochs = CONTESTANTS[name](pets)
    for _ in epochs:
        pass
    first = time.monotonic() - start
    start = time.monotonic()
    for _ in range(LATER_EPOCHS):
        for _ in epochs:
            pass
    later = (time.monotonic() - start) / LATER_EPOCHS
    return {
        "first_epoch_images_per_s": count / first,
        "later_images_per_s": count / later,
    }


def main():
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    from experiments import publish
    from experiments.benchmarks import rounds
    from helpers import datasets, files
    from helpers.datasets import oxford_pets

    files.check_writable(RESULT)
    pets = oxford_pets.open_pets()
    medians = rounds.measure("experiments.benchmarks.input_pipeline", list(CONTESTANTS), ROUNDS)
    pixels = datasets.count_examples(pets, "train") * SIZE * SIZE
    files.write_json(
        RESULT,
        {
            "contestants": medians,
            "cache_mb": {
                "ours": pixels * (3 + 1) / 1e6,  # uint8 image, uint8 mask
                "TensorFlow's tutorial": pixels * (3 * 4 + 1) / 1e6,  # float32 image, uint8 mask
            },
            "batch_size": BATCH,
            "input_size": SIZE,
            "rounds": ROUNDS,
            "data_source": datasets.describe(pets, "train"),
            "command": "python -m experiments.benchmarks.input_pipeline",
            **publish.environment(),
        },
    )


if __name__ == "__main__":
    main()
