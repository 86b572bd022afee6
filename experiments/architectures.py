"""Architectures compared: decoders on one encoder, and networks from scratch, three seeds each.

    python -m experiments.architectures
    python -m experiments.architectures --seeds 1 --only light fpn

trains them on Oxford-IIIT Pet at 128 pixels, once for the same epochs and once for the same time,
and writes ``experiments/results/architectures.json``. Started again, it trains what is missing.

The same time is counted in steps, by how long each network's take beside the light decoder's: it
does not depend on what else runs on the machine.
"""

from experiments import comparison
from experiments.comparison import EPOCHS, STAGES, TIME, Comparison, Variant
from helpers.classes import PETS
from helpers.losses import CrossEntropy, DiceLoss
from helpers.models import DECODERS

# One epoch each: some of these networks take several times as long as the light decoder.
SHORT = tuple(stage._replace(epochs=1) for stage in STAGES)
# From random weights, everything is trained from the start, at the rate of that recipe.
FROM_SCRATCH = tuple(stage._replace(train_encoder=True, learning_rate=2e-3) for stage in SHORT)
LOSS = CrossEntropy() + DiceLoss()
SMALL = {"classes": len(PETS), "width": 16, "depth": 5}
COMPARISON = Comparison(
    "architectures",
    {
        **{
            name: Variant(LOSS, {"classes": len(PETS), "decoder": name}, SHORT)
            for name in DECODERS
        },
        "U-Net from scratch": Variant(LOSS, SMALL, FROM_SCRATCH, "unet"),
        "residual U-Net from scratch": Variant(LOSS, SMALL, FROM_SCRATCH, "residual_unet"),
    },
    baselines=("light", "pix2pix"),
    budgets=(EPOCHS, TIME),
)


def main():
    comparison.main(COMPARISON)


if __name__ == "__main__":
    main()
