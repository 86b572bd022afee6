"""The recipe of the U-Net from scratch.

    python -m helpers.unet_from_scratch

trains it on Oxford-IIIT Pet and writes ``results/unet_from_scratch.json`` and
``weights/unet_from_scratch.safetensors``. A run that broke off goes on when it is started again.
Notebook 03 takes the same numbers.
"""

import argparse
import functools

from helpers import data, recipe
from helpers.models import unet
from helpers.recipe import Stage

NAME = "unet_from_scratch"

# Small images first: what a pet looks like can be learnt at 64 pixels, at a quarter of the work;
# where its outline runs needs the full size.
STAGES = (
    Stage(64, epochs=24, batch_size=32, learning_rate=2e-3),
    Stage(96, epochs=12, batch_size=16, learning_rate=1.5e-3, jit_compile=True),
    Stage(128, epochs=14, batch_size=16, learning_rate=1e-3, jit_compile=True),
)
WIDTH = 16
DEPTH = 5
ARGUMENTS = {"classes": data.CLASSES, "width": WIDTH, "depth": DEPTH}
SEED = 42
RUN_DIR = f"runs/{NAME}"


def main():
    argparse.ArgumentParser(prog="python -m helpers.unet_from_scratch").parse_args()  # --help
    recipe.run(
        NAME,
        functools.partial(unet, **ARGUMENTS),
        STAGES,
        network="unet",
        arguments=ARGUMENTS,
        bits=8,  # 16 would be 16 MB
        seed=SEED,
        run_dir=RUN_DIR,
        command="python -m helpers.unet_from_scratch",
    )


if __name__ == "__main__":
    main()
