"""Losses compared: one network, one recipe, three seeds each.

    python -m experiments.losses
    python -m experiments.losses --seeds 1 --only "cross-entropy + Dice" Dice

trains the U-Net on MobileNetV2 with each loss on Oxford-IIIT Pet at 128 pixels, and writes
``experiments/results/losses.json``. Started again, it trains what is missing.
"""

from experiments import comparison
from experiments.comparison import STAGES, Comparison, Variant
from experiments.mobilenetv2_unet import ARGUMENTS
from helpers.losses import (
    BoundaryLoss,
    CrossEntropy,
    DiceLoss,
    FocalLoss,
    GeneralizedDiceLoss,
    LovaszLoss,
    TverskyLoss,
)

# Left out as close relatives: Jaccard of Dice, focal Tversky of Tversky.
LOSSES = {
    "cross-entropy + Dice": CrossEntropy() + DiceLoss(),
    "cross-entropy": CrossEntropy(),
    "balanced cross-entropy": CrossEntropy(class_weights="balanced"),
    "label-smoothed cross-entropy": CrossEntropy(label_smoothing=0.1),
    "focal": FocalLoss(),
    "Dice": DiceLoss(),
    "generalized Dice": GeneralizedDiceLoss(),
    "Tversky": TverskyLoss(),
    "cross-entropy + Lovász": CrossEntropy() + LovaszLoss(),
    "cross-entropy + Dice + boundary": CrossEntropy() + DiceLoss() + BoundaryLoss(),
}
COMPARISON = Comparison(
    "losses",
    {name: Variant(loss, ARGUMENTS, STAGES) for name, loss in LOSSES.items()},
    baselines=("cross-entropy + Dice", "cross-entropy"),
)


def main():
    comparison.main(COMPARISON)


if __name__ == "__main__":
    main()
