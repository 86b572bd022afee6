"""The recipe of the U-Net on MobileNetV2.

    python -m helpers.mobilenetv2_unet --size 128

trains it on Oxford-IIIT Pet and writes ``results/mobilenetv2_unet_128.json`` and
``weights/mobilenetv2_unet_128.safetensors``; 256 likewise. A run that broke off goes on when it is
started again. Both sizes train in one folder: the larger goes on behind the smaller. Notebook 02
takes the same numbers.
"""

import argparse

from helpers import data, recipe
from helpers.models import mobilenetv2_unet
from helpers.recipe import Stage

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
ARGUMENTS = {"classes": data.CLASSES, "decoder": "light"}
SEED = 42
RUN_DIR = "runs/mobilenetv2_unet"


def build(size):
    """The network that is trained, for images of (size, size)."""
    return mobilenetv2_unet(size, **ARGUMENTS)


def main():
    parser = argparse.ArgumentParser(prog="python -m helpers.mobilenetv2_unet")
    parser.add_argument("--size", type=int, choices=STAGES, default=128, help="pixels")
    options = parser.parse_args()
    recipe.run(
        f"mobilenetv2_unet_{options.size}",
        build,
        STAGES[options.size],
        network="mobilenetv2_unet",
        arguments=ARGUMENTS,
        seed=SEED,
        run_dir=RUN_DIR,
        command=f"python -m helpers.mobilenetv2_unet --size {options.size}",
    )


if __name__ == "__main__":
    main()
