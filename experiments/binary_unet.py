"""The recipe of the binary pipeline: pet against background, on MobileNetV2.

    python -m experiments.binary_unet                  all training images
    python -m experiments.binary_unet --small-subset   100 training and 20 validation images

trains it on Oxford-IIIT Pet and writes ``binary_unet.json`` or ``binary_small_subset.json`` under
``experiments/results``, and the weights under ``experiments/weights``. With ``--files``, prints
which images the small subset has and stops. A run that was killed resumes when it is started
again.

With all images, the network is first trained on the three classes, as by ``python -m
experiments.mobilenetv2_unet --size 256`` and in the same folder: if that has been run, it is not
trained again. The small subset starts from ImageNet's weights alone.
"""

import argparse

import numpy as np

from experiments import mobilenetv2_unet, publish, recipe
from experiments.mobilenetv2_unet import FIRST_TRAINED
from helpers import datasets, evaluation, models, pipeline, training, weights
from helpers.albumentations_augmentation import albumentations_augment
from helpers.classes import PETS
from helpers.datasets import oxford_pets
from helpers.training import Run, Stage

THREE_CLASSES = mobilenetv2_unet.STAGES[256]
STAGES = (Stage(256, 3, 16, 1e-4, train_encoder=FIRST_TRAINED),)
# 100 images make an epoch of 13 steps: 75 epochs are 1,000 steps. They were better than
# 25 on the whole validation split, which knows more than the subset's 20 images.
SMALL_STAGES = (
    Stage(256, 10, 8, 4e-3, train_encoder=False),
    Stage(256, 75, 8, 3e-4, train_encoder=FIRST_TRAINED),
)
ARGUMENTS = {**mobilenetv2_unet.ARGUMENTS, "classes": 1}
SMALL = {"train": 100, "validation": 20}
BORDER = "pet"
SEED = 42
THRESHOLDS = np.linspace(0.05, 0.95, 19).round(2).tolist()


def build(size):
    """The network that is trained, for images of a size or (height, width)."""
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
    binary = build(model.input_shape[1:3])
    for new, old in zip(binary.layers[:-1], model.layers[:-1], strict=True):
        new.set_weights(old.get_weights())
    kernel, bias = model.layers[-1].get_weights()  # (h, w, classes, channels), (classes,)
    mix = np.array([[1.0, -2.0, 1.0]])  # pet, background, border
    binary.layers[-1].set_weights([np.einsum("oc,hwci->hwoi", mix, kernel), mix @ bias])
    return binary


def small_subset(pets):
    """The part of the data set with 100 training and 20 validation images, spread evenly over the
    breeds. Both come from the official training split."""
    parts = {
        split: datasets.stratified_subset(pets, split, count) for split, count in SMALL.items()
    }
    return datasets.subset(pets, **parts)


def choose_threshold(model, dataset, border=BORDER):
    """The threshold of ``THRESHOLDS`` with the best pooled Dice on validation, and the Dice of
    each."""
    size = model.input_shape[1:3]
    batches = pipeline.labelled_batches(dataset, "validation", size, 32, own_masks=False)
    dice = evaluation.threshold_curve(model, batches, THRESHOLDS, dataset.labelling, border)
    return THRESHOLDS[int(np.argmax(dice))], dice


def train(pets, small):
    """Trains on all images or, from a ``small_subset``, on few.

    Returns:
        model with one logit; history of its stages; seconds of all training.
    """
    start, before = None, {"seconds": []}
    if not small:
        three = recipe.train(mobilenetv2_unet.build, pets, THREE_CLASSES, mobilenetv2_unet.RUN)
        start, before = from_three_classes(three[0]), three[1]
    # 20 images cannot tell one epoch from the next
    run = Run(f"runs/{name(small)}", SEED, keep_best=not small)
    model, history = recipe.train(
        build,
        pets,
        SMALL_STAGES if small else STAGES,
        run,
        border=BORDER,
        augmentation=albumentations_augment,
        start=start,
    )
    return model, history, sum(before["seconds"] + history["seconds"])


def name(small):
    """Of the result's and the weights' files."""
    return "binary_small_subset" if small else "binary_unet"


def run(small=False):
    """Trains, chooses the threshold on validation, reports the test split once, and writes the
    result; returns what was written, see ``publish.publish``."""
    publish.check_writable(name(small))
    pets = oxford_pets.open_pets()
    precision = training.set_precision()
    few = small_subset(pets)
    trained_on = few if small else pets
    model, history, seconds = train(trained_on, small)
    temperature = publish.calibrated(model, trained_on)
    threshold, dice = choose_threshold(model, trained_on)
    validation = recipe.evaluate(model, trained_on, "validation", threshold)
    twenty = recipe.evaluate(model, few, "validation", threshold)
    first, second, _ = PETS.names
    values = {
        "border": BORDER,
        "protocol": publish.BINARY.format(
            first=first.capitalize(),
            second=second,
            border=BORDER,
            threshold="chosen on validation",
        ),
        "settings": {
            "model": "binary_unet",
            "encoder": "MobileNetV2, ImageNet weights",
            "training_images": datasets.count_examples(trained_on, "train"),
            "three_class_stages": [] if small else [stage._asdict() for stage in THREE_CLASSES],
            "stages": [stage._asdict() for stage in (SMALL_STAGES if small else STAGES)],
            "loss": "binary cross-entropy + Dice",
            "optimizer": publish.OPTIMIZER,
            "augmentation": "Albumentations",
            "precision": precision,
            "checkpoint": "last epoch" if small else "best validation Dice of each stage",
            "temperature": temperature,
        },
        "seed": SEED,
        "train_seconds": seconds,
        "validation": {
            "data_source": datasets.describe(trained_on, "validation"),
            **evaluation.binary_scores(validation, PETS.border_rules[BORDER]),
            "dice_by_threshold": dict(zip(map(str, THRESHOLDS), np.round(dice, 4).tolist())),
            "matrices_of_small_subset": twenty.tolist(),
            "dice_by_epoch": [round(value, 4) for value in history["val_dice"]],
        },
        "command": "python -m experiments.binary_unet" + " --small-subset" * small,
    }
    network = weights.Network(model, PETS, threshold, "mobilenetv2_unet", ARGUMENTS)
    result = publish.publish(name(small), network, pets, values)
    scores = result["binary_scores"][BORDER]
    print(
        f"{result['data_source']}, border as {BORDER}: Dice {scores['dice']:.4f}, IoU "
        f"{scores['iou']:.4f}, pixel accuracy {scores['pixel_accuracy']:.4f}"
    )
    return result


def main():
    parser = argparse.ArgumentParser(prog="python -m experiments.binary_unet")
    parser.add_argument("--small-subset", action="store_true", help="100 training images")
    parser.add_argument("--files", action="store_true", help="print the small subset's files")
    options = parser.parse_args()
    if options.files:
        for split, names in small_subset(oxford_pets.open_pets()).parts.items():
            print(f"{split}:", *names, sep="\n  ")
    else:
        run(options.small_subset)


if __name__ == "__main__":
    main()
