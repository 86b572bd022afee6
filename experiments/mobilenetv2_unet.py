"""The recipe of the U-Net on MobileNetV2.

    python -m experiments.mobilenetv2_unet --size 128

trains it on Oxford-IIIT Pet and writes ``experiments/results/mobilenetv2_unet_128.json`` and
``experiments/weights/mobilenetv2_unet_128.safetensors``; 256 likewise. A run that was killed
resumes when it is started again. Both sizes train in one folder: the larger continues from the
smaller. Notebook 03 takes the same numbers.
"""

import argparse

from experiments import publish
from helpers.classes import PETS
from helpers.models import mobilenetv2_unet
from helpers.training import Run, Stage

# The decoder first, on the encoder as it is: one epoch of small steps at a high rate. It is so
# short that augmentation would only slow it. Then the encoder too, at a smaller rate, but for its
# first blocks: over five epochs, leaving them as they are cost nothing on validation, and an epoch
# takes less time.
FIRST_TRAINED = "block_4_expand"
AT_128 = (
    Stage(128, 1, 8, 4e-3, augmented=False, train_encoder=False),
    Stage(128, 18, 16, 3e-4, train_encoder=FIRST_TRAINED),
)
# A large image costs four times as much, so only the last epochs see one.
STAGES = {128: AT_128, 256: (*AT_128, Stage(256, 10, 16, 3e-4, train_encoder=FIRST_TRAINED))}
ARGUMENTS = {"classes": len(PETS), "decoder": "light"}
RUN = Run("runs/mobilenetv2_unet", seed=42)


def build(size):
    """The network that is trained, for images of a size or (height, width)."""
    return mobilenetv2_unet(size, **ARGUMENTS)


def main():
    parser = argparse.ArgumentParser(prog="python -m experiments.mobilenetv2_unet")
    parser.add_argument("--size", type=int, choices=STAGES, default=128, help="pixels")
    publish.add_run(parser)
    options = parser.parse_args()
    publish.train_and_publish(
        f"mobilenetv2_unet_{options.size}",
        STAGES[options.size],
        "mobilenetv2_unet",
        ARGUMENTS,
        command=f"python -m experiments.mobilenetv2_unet --size {options.size}",
        run=RUN,
        options=options,
    )


if __name__ == "__main__":
    main()
