"""What goes into the README's arithmetic on larger machines: the networks' cost, counted here, and
what others state of GPUs, each with its source. Nothing of it is measured.

    python -m experiments.on_paper

writes ``experiments/results/on_paper.json`` in seconds; ``tools/readme.py`` does the arithmetic,
with the benchmarks' numbers beside it.
"""

from pathlib import Path

import keras
import numpy as np

from experiments import publish
from helpers import files, models
from helpers.classes import PETS

RESULT = Path("experiments/results/on_paper.json")
SIZE, BATCH = 128, 32  # of the recipe's first stage
# One pass of MobileNetV2 without training at 224 px: so many images in so many milliseconds.
GPUS = {
    "T4": {
        "images": 4,
        "ms": 2.819,
        "how": "Paddle Inference 2.3 with TensorRT 8, float32, batches of 4",
        "source": "https://paddlepaddle.org.cn/inference/guides/benchmark/benchmark_gpu.html",
    },
    "A100": {
        "images": 32,
        "ms": 3.8,
        "how": "Keras Applications, batches of 32",
        "source": "https://keras.io/api/applications/",
    },
}
# Gigabytes a second that one device sends.
LINKS = {
    "NVLink": {
        "gb_per_s": 300,
        "how": "A100, 600 GB/s in both directions together",
        "source": "https://www.nvidia.com/en-us/data-center/a100/",
    },
    "10 Gbit/s Ethernet": {"gb_per_s": 10 / 8, "how": "by its name", "source": None},
}


def main():
    files.check_writable(RESULT)
    ours = models.mobilenetv2_unet(SIZE, len(PETS), weights=None)
    theirs = keras.applications.MobileNetV2(weights=None)
    files.write_json(
        RESULT,
        {
            "multiply_adds": models.count_multiply_adds(ours),
            "stated_multiply_adds": models.count_multiply_adds(theirs),
            "gradients": int(sum(np.prod(v.shape) for v in ours.trainable_variables)),
            "gpus": GPUS,
            "links": LINKS,
            "input_size": SIZE,
            "batch_size": BATCH,
            "command": "python -m experiments.on_paper",
            **publish.environment(),
        },
    )


if __name__ == "__main__":
    main()
