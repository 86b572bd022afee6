"""The recipe of the binary pipeline: pet against background, on MobileNetV2.

    python -m helpers.binary_unet                  all training images
    python -m helpers.binary_unet --small-subset   100 training and 20 validation images

trains it on Oxford-IIIT Pet and writes ``results/binary_unet.json`` or
``results/binary_small_subset.json``, and the weights under ``weights/``. With ``--files``, prints
which images the small subset has and stops. A run that broke off goes on when it is started again.

With all images, the network is first trained on the three classes, as by ``python -m
helpers.mobilenetv2_unet --size 256`` and in the same folder: if that has been run, it is not
trained again. The small subset starts from ImageNet's weights alone.
"""

import argparse

import numpy as np

from helpers import data, evaluation, mobilenetv2_unet, models, recipe, results, training
from helpers.albumentations_augmentation import albumentations_augment
from helpers.mobilenetv2_unet import FIRST_TRAINED
from helpers.recipe import Stage

THREE_CLASSES = mobilenetv2_unet.STAGES[256]
STAGES = (Stage(256, 3, 16, 1e-4, train_encoder=FIRST_TRAINED),)
SMALL_STAGES = (
    Stage(256, 10, 8, 4e-3, train_encoder=False),
    Stage(256, 25, 8, 3e-4, train_encoder=FIRST_TRAINED),
)
ARGUMENTS = {**mobilenetv2_unet.ARGUMENTS, "classes": 1}
SMALL = {"train": 100, "validation": 20}
BORDER = "pet"
SEED = 42
THRESHOLDS = np.linspace(0.05, 0.95, 19).round(2).tolist()


def build(size):
    """The network that is trained, for images of (size, size)."""
    return models.mobilenetv2_unet(size, **ARGUMENTS)


def from_three_classes(model):
    """The network with one logit that a trained one of three classes becomes, to be trained on.

    The logit starts as pet + border - 2 background: roughly what tells the pet, border included,
    from the background in the three logits, and much nearer to it than a random last layer.

    Args:
        model: a ``models.mobilenetv2_unet`` of three classes.

    Returns:
        Keras model with one logit.
    """
    binary = build(model.input_shape[1])
    for new, old in zip(binary.layers[:-1], model.layers[:-1], strict=True):
        new.set_weights(old.get_weights())
    kernel, bias = model.layers[-1].get_weights()  # (h, w, classes, channels), (classes,)
    mix = np.array([[1.0, -2.0, 1.0]])  # pet, background, border
    binary.layers[-1].set_weights([np.einsum("oc,hwci->hwoi", mix, kernel), mix @ bias])
    return binary


def small_subset(pets):
    """The files of the small subset, spread over the breeds: {"train": 100 names, "validation":
    20 names}. Both come from the training split."""
    return {split: data.spread(pets, split, count) for split, count in SMALL.items()}


def choose_threshold(model, batches, border=BORDER):
    """The threshold of ``THRESHOLDS`` with the best pooled Dice, and the Dice of each."""
    dice = evaluation.threshold_curve(model, batches, THRESHOLDS, border)
    return THRESHOLDS[int(np.argmax(dice))], dice


def run(small=False):
    """Trains, chooses the threshold on validation, reports the test split once, and writes the
    result; returns what was written, see ``recipe.publish``."""
    pets = data.open_pets()
    precision = training.set_precision()
    name = "binary_small_subset" if small else "binary_unet"
    three_classes, stages = ((), SMALL_STAGES) if small else (THREE_CLASSES, STAGES)
    files = small_subset(pets) if small else {"train": None, "validation": None}
    start, before = None, {"seconds": []}
    if three_classes:
        start, before = recipe.train(
            mobilenetv2_unet.build,
            pets,
            three_classes,
            seed=SEED,
            run_dir=mobilenetv2_unet.RUN_DIR,
        )
        start = from_three_classes(start)
    model, history = recipe.train(
        build,
        pets,
        stages,
        seed=SEED,
        run_dir=f"runs/{name}",
        border=BORDER,
        augmentation=albumentations_augment,
        files=files,
        start=start,
        keep_best=not small,  # 20 images cannot tell one epoch from the next
    )
    size = model.input_shape[1]

    def batches(split, files=None):
        return data.evaluation_batches(data.load_split(pets, split, size, files=files), 32)

    held_out = batches("validation", files["validation"])
    threshold, dice = choose_threshold(model, held_out)
    validation = evaluation.binary_matrices(model, held_out, threshold)
    twenty = batches("validation", small_subset(pets)["validation"])
    values = recipe.publish(
        name,
        model,
        pets,
        network="mobilenetv2_unet",
        arguments=ARGUMENTS,
        threshold=threshold,
        border=BORDER,
        protocol=results.PET_AGAINST_BACKGROUND.format(
            border=BORDER, threshold="chosen on validation"
        ),
        settings={
            "model": "binary_unet",
            "encoder": "MobileNetV2, ImageNet weights",
            "training_images": len(files["train"] or []) or data.count_examples(pets, "train"),
            "three_class_stages": [stage._asdict() for stage in three_classes],
            "stages": [stage._asdict() for stage in stages],
            "loss": "binary cross-entropy + Dice",
            "optimizer": "AdamW, weight decay 1e-4, cosine schedule per stage",
            "augmentation": "Albumentations",
            "precision": precision,
            "checkpoint": "last epoch" if small else "best validation Dice of each stage",
        },
        seed=SEED,
        train_seconds=sum(before["seconds"] + history["seconds"]),
        validation={
            "data_source": data.describe(pets, "validation", len(validation)),
            **evaluation.binary_scores(validation, BORDER),
            "dice_by_threshold": dict(zip(map(str, THRESHOLDS), np.round(dice, 4).tolist())),
            "matrices_of_small_subset": evaluation.binary_matrices(
                model, twenty, threshold
            ).tolist(),
            "dice_by_epoch": [round(value, 4) for value in history["val_dice"]],
        },
        command="python -m helpers.binary_unet" + " --small-subset" * small,
    )
    scores = values["binary_scores"][BORDER]
    print(
        f"{values['data_source']}, border as {BORDER}: Dice {scores['dice']:.4f}, IoU "
        f"{scores['iou']:.4f}, pixel accuracy {scores['pixel_accuracy']:.4f}"
    )
    return values


def main():
    parser = argparse.ArgumentParser(prog="python -m helpers.binary_unet")
    parser.add_argument("--small-subset", action="store_true", help="100 training images")
    parser.add_argument("--files", action="store_true", help="print the small subset's files")
    options = parser.parse_args()
    if options.files:
        for split, names in small_subset(data.open_pets()).items():
            print(f"{split}:", *names, sep="\n  ")
    else:
        run(options.small_subset)


if __name__ == "__main__":
    main()
