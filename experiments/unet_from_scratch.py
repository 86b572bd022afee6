"""The recipe of the U-Net from scratch.

    python -m experiments.unet_from_scratch

trains it on Oxford-IIIT Pet and writes ``experiments/results/unet_from_scratch.json`` and
``experiments/weights/unet_from_scratch.safetensors``. A run that was killed resumes when it is
started again. Notebook 02 takes the same numbers.
"""

import argparse

from experiments import publish
from helpers.classes import PETS
from helpers.training import Run, Stage

# Small images first: what a pet looks like can be learnt at 64 pixels, at a quarter of the work;
# where its outline runs needs the full size.
STAGES = (
    Stage(64, epochs=24, batch_size=32, learning_rate=2e-3),
    Stage(96, epochs=12, batch_size=16, learning_rate=1.5e-3),
    Stage(128, epochs=20, batch_size=16, learning_rate=1e-3),
)
WIDTH = 16
DEPTH = 5
ARGUMENTS = {"classes": len(PETS), "width": WIDTH, "depth": DEPTH}
RUN = Run("runs/unet_from_scratch", seed=42)


def main():
    parser = argparse.ArgumentParser(prog="python -m experiments.unet_from_scratch")
    publish.add_run(parser)
    publish.train_and_publish(
        "unet_from_scratch",
        STAGES,
        "unet",
        ARGUMENTS,
        command="python -m experiments.unet_from_scratch",
        run=RUN,
        options=parser.parse_args(),
        bits=8,  # 16 would be 16 MB
    )


if __name__ == "__main__":
    main()
