"""Training steps: our MobileNetV2 U-Net beside segmentation_models_pytorch's, same size and batch.

    python -m experiments.benchmarks.training_step

Both on the device that they find: on a GPU that supports it, ours trains in float16, smp's in
float32. Ours also gets its batch from NumPy in each step and counts a metric; smp's batch lies on
the device. Random weights and random pixels: neither changes the speed.
"""

import json
import sys
import time
from pathlib import Path

RESULT = Path("experiments/results/training_step.json")
SIZE = 128
BATCH = 32
CLASSES = 3  # any small number
STEPS = 12
WARM_UP = 3
ROUNDS = 3


def ours(frozen, decoder="light"):
    import numpy as np

    from helpers import models, training
    from helpers.dice import MeanDice
    from helpers.losses import CrossEntropyDiceLoss

    training.set_precision()
    model = models.mobilenetv2_unet(SIZE, CLASSES, weights=None, decoder=decoder)
    models.train_encoder(model, not frozen)
    options = {"loss": CrossEntropyDiceLoss(), "metric": MeanDice(CLASSES), "learning_rate": 1e-3}
    training.compile_model(model, steps=1000, **options)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8)
    masks = rng.integers(0, CLASSES, (BATCH, SIZE, SIZE, 1), np.uint8)
    return lambda: model.train_on_batch(images, masks)


def smp(frozen):
    import segmentation_models_pytorch
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = segmentation_models_pytorch.Unet("mobilenet_v2", encoder_weights=None, classes=CLASSES)
    model = model.to(device, memory_format=torch.channels_last)
    if frozen:
        model.encoder.eval()  # ours freezes batch normalization too
        for weight in model.encoder.parameters():
            weight.requires_grad = False
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], 1e-3)
    dice = segmentation_models_pytorch.losses.DiceLoss("multiclass")
    images = torch.rand(BATCH, 3, SIZE, SIZE, device=device)
    images = images.to(memory_format=torch.channels_last)
    masks = torch.randint(0, CLASSES, (BATCH, SIZE, SIZE), device=device)

    def step():
        optimizer.zero_grad()
        logits = model(images)
        loss = torch.nn.functional.cross_entropy(logits, masks) + dice(logits, masks)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


CONTESTANTS = {
    "ours, light decoder, encoder frozen": lambda: ours(frozen=True),
    "ours, light decoder, whole": lambda: ours(frozen=False),
    "ours, pix2pix decoder, encoder frozen": lambda: ours(frozen=True, decoder="pix2pix"),
    "smp.Unet, encoder frozen": lambda: smp(frozen=True),
    "smp.Unet, whole": lambda: smp(frozen=False),
}


def measure(name):
    """Images a second of one contestant."""
    step = CONTESTANTS[name]()
    for _ in range(WARM_UP):
        step()
    start = time.monotonic()
    for _ in range(STEPS):
        step()
    return {"images_per_s": BATCH * STEPS / (time.monotonic() - start)}


def main():
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    from experiments import publish
    from experiments.benchmarks import rounds
    from helpers import files

    files.check_writable(RESULT)
    medians = rounds.measure("experiments.benchmarks.training_step", list(CONTESTANTS), ROUNDS)
    files.write_json(
        RESULT,
        {
            "contestants": medians,
            "batch_size": BATCH,
            "input_size": SIZE,
            "rounds": ROUNDS,
            "data_source": "random pixels",
            "command": "python -m experiments.benchmarks.training_step",
            **publish.environment(),
        },
    )


if __name__ == "__main__":
    main()
