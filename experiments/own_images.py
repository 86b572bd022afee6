"""From a folder of images and a folder of masks to a trained network, for any classes.

    python -m experiments.own_images photos/ masks/ --dry-run
    python -m experiments.own_images photos/ masks/ --out runs/mine

looks at the folders and says what it found; trains a U-Net with settings that follow from the
data; scores a held-out part; and writes into ``--out``:

- ``weights.safetensors``, for ``python -m helpers.prediction photo.jpg --weights ...``;
- ``report.json``, and ``report.html``, a page with figures;
- ``predictions.png``: the worst test images, and ordinary ones.

Nothing is written into the folders of images and masks. A run that was killed resumes when it is
started again.
"""

import argparse
import hashlib
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import outcome, page, publish, recipe
from experiments.mobilenetv2_unet import FIRST_TRAINED
from helpers import (
    datasets,
    evaluation,
    files,
    losses,
    models,
    photos,
    pipeline,
    tiles,
    training,
    visualization,
    weights,
)
from helpers.augmentation import augment
from helpers.datasets import folder
from helpers.datasets.tiled import tiled
from helpers.elastic_augmentation import elastic_augment
from helpers.training import Stage

PIXELS = 360 * 480  # that the network sees of an image; a larger one is made smaller
SEEN = 12_000  # images in all epochs together
EPOCHS = (6, 150)  # at least, at most
FEW = 64  # training examples: below, smaller batches make more steps
TELLING = 20  # validation images: fewer cannot tell one epoch from the next
SHARE = 0.2  # of its even share of the pixels: below, a class is rare
WIDE = (192, 128, 96, 64)  # the decoder's widths for more than four classes
LOSSES = ("cross_entropy_dice", "class_weights", "focal", "tversky")
AUGMENTATIONS = {"standard": augment, "elastic": elastic_augment, "none": None}
NETWORKS = ("mobilenetv2_unet", "unet")
FITTED = {
    "stretch": "images stretched to the network's size",
    "letterbox": "images in margins that keep their aspect ratio",
    "tiles": "images seen in tiles",
}


class Plan(NamedTuple):
    """How to train: a builder of ``helpers.models`` with its arguments, training.Stages, whether
    the best epoch is kept, names of losses, and all of it in words."""

    builder: str
    arguments: dict
    stages: tuple
    keep_best: bool
    losses: tuple
    words: str


def make_plan(sizes, shares, train, validation, options):
    """Settings that follow from the data.

    Args:
        sizes: (height, width) of each image, pixels.
        shares: of the training pixels, by class.
        train: number of training examples, images or tiles.
        validation: number of validation images.
        options: of the command.

    Returns:
        Plan.
    """
    size, epochs = _network_size(sizes, options), options.epochs
    if epochs is None:
        epochs = int(np.clip(round(SEEN / train), *EPOCHS))
    elif epochs < 1:
        raise ValueError(f"--epochs {epochs}: expected 1 or more.")
    batch, arguments = 8 if train >= FEW else 4, {"classes": len(shares)}
    if options.network == "unet":
        stages = (Stage(size, epochs, batch, 1e-3),)
        arguments |= {"width": 16, "depth": 4}
    else:
        frozen = max(1, round(epochs / 10))
        stages = (Stage(size, frozen, batch, 3e-3, train_encoder=False),)
        late = Stage(size, epochs - frozen, batch, 3e-4, train_encoder=FIRST_TRAINED)
        stages += (late,) * (epochs > frozen)
        arguments |= {"decoder": "light", "widths": list(WIDE) if len(shares) > 4 else None}
    keep_best, rare = validation >= TELLING, min(shares) < SHARE / len(shares)
    names = options.loss or ["class_weights" if rare else "cross_entropy_dice"]
    words = (
        f"Settings: {options.network} at {size[0]} x {size[1]} pixels, "
        f"{FITTED[_fit(options)]}; {epochs} epochs of "
        f"{train} examples in batches of {batch}"
        f"{f', {stages[0].epochs} of them on a frozen encoder' * (len(stages) > 1)}; loss "
        f"{', '.join(names)}, as the rarest class has {100 * min(shares):.1f} % of the pixels; "
        f"the {'best' if keep_best else 'last'} epoch counts, as {validation} images validate."
    )
    return Plan(options.network, arguments, stages, keep_best, tuple(names), words)


def make_loss(name, labelling, shares):
    """One of ``LOSSES``. Void is ignored; class weights are 1 / log(1.02 + share), as in ENet
    (Paszke et al., 2016, https://arxiv.org/abs/1606.02147)."""
    ignore = labelling.ignore
    if name == "class_weights":
        by_class = (1 / np.log(1.02 + np.asarray(shares))).tolist()
        pixels = losses.CrossEntropy(ignore=ignore, class_weights=by_class)
        return pixels + losses.DiceLoss(ignore=ignore)
    if name == "focal":
        return losses.FocalLoss(ignore=ignore) + losses.DiceLoss(ignore=ignore)
    if name == "tversky":
        return losses.CrossEntropy(ignore=ignore) + losses.TverskyLoss(ignore=ignore)
    return recipe.default_loss(labelling)


def train(found, opened, options, suffix=""):
    """Trains with each of the losses, writes the network that is best on validation, and counts
    what it gets right in the test split.

    Args:
        found: folder.Look.
        opened: folder.Opened.
        options: of the command.
        suffix: of the file's name.

    Returns:
        outcome.Trained, and a Plan.
    """
    dataset, plan, shares = _planned(found, opened, options)
    print("\n".join([*opened.words, plan.words]), flush=True)
    best, validation, histories = None, {}, {}
    for name in plan.losses:
        folder_of_it = options.out / "training" / _fingerprint(found, opened, options) / name
        model, histories[name] = recipe.train(
            lambda size: getattr(models, plan.builder)(size, **plan.arguments),
            dataset,
            plan.stages,
            training.Run(folder_of_it, options.seed, plan.keep_best),
            loss=make_loss(name, dataset.labelling, shares),
            augmentation=AUGMENTATIONS[options.augmentation],
        )
        model = models.mirrored(model) if options.mirror else model
        pooled = recipe.evaluate(model, dataset, "validation").sum(axis=0)
        validation[name] = evaluation.scores(pooled)
        print(f"Validation mean IoU with {name}: {validation[name]['mean_iou']:.4f}", flush=True)
        if validation[name]["mean_iou"] == max(one["mean_iou"] for one in validation.values()):
            best = model
    temperature = publish.calibrated(best, dataset)
    labelling = opened.dataset.labelling
    view = photos.View(_overlap(options), _fit(options) == "letterbox", found.bands)
    network = weights.Network(
        best, labelling, None, plan.builder, plan.arguments, view, options.mirror
    )
    path = options.out / f"weights{suffix}{weights.SUFFIX}"
    file = weights.save(network, path)
    network = weights.load(path, file["sha256"])  # scored as it is in the file, rounded
    batches = pipeline.labelled_batches(dataset, "test", plan.stages[-1].size, 8)
    counts = evaluation.measure(network.model, batches, dataset.labelling)
    counts = counts if _fit(options) == "stretch" else tiles.by_image(counts)
    trained = outcome.Trained(
        opened.dataset, network, file, counts, validation, histories, temperature
    )
    return trained, plan


def run(options):
    """All of the command; returns the report, None of a dry run."""
    _check_out(options)
    found = folder.look(
        options.images,
        options.masks,
        classes=options.classes,
        void=options.void,
        bands=options.bands,
        snap=options.snap,
        skip_bad=options.skip_bad,
    )
    print(folder.describe(found), flush=True)
    splitting = folder.Splitting(
        options.split, options.seed, folds=options.folds, group=options.group
    )
    folds = range(options.folds or 1)
    opened = [folder.dataset_of(found, splitting._replace(fold=fold)) for fold in folds]
    if options.dry_run:
        print("\n".join([*opened[0].words, _planned(found, opened[0], options)[1].words]))
        return None
    precision = training.set_precision()
    suffixes = [f"_fold_{fold + 1}" for fold in folds] if options.folds else [""]
    results, plans = zip(*(train(found, one, options, end) for one, end in zip(opened, suffixes)))
    words = [*folder.describe(found).splitlines(), *opened[0].words, plans[0].words]
    settings = {
        "settings": {
            "model": plans[0].builder,
            **plans[0].arguments,
            "stages": [stage._asdict() for stage in plans[0].stages],
            "losses": list(plans[0].losses),
            "mirrored": options.mirror,
            "augmentation": options.augmentation,
            "optimizer": publish.OPTIMIZER,
            "precision": precision,
            "checkpoint": "best validation Dice" if plans[0].keep_best else "last epoch",
            "parameters": results[0].network.model.count_params(),
            "temperatures": [trained.temperature for trained in results],
        },
        "seed": options.seed,
        "command": _command(options),
        "tile": options.tile,
        "folder": words,
    }
    result, sheet = outcome.summarize(results, FITTED[_fit(options)], settings)
    _write(result, sheet, results[0].histories, found.encoding.labelling, options.out)
    return result


def main():
    for stream in (sys.stdout, sys.stderr):  # a name that a console cannot show ends nothing
        stream.reconfigure(errors="backslashreplace")
    try:
        options = _parser().parse_args()
        run(options)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.exit(str(error))


def _parser():
    parser = argparse.ArgumentParser(prog="python -m experiments.own_images")
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("masks", type=Path, help="folder of masks, or a COCO JSON file")
    parser.add_argument("--out", type=Path, help="folder to write to")
    parser.add_argument("--dry-run", action="store_true", help="only look")
    parser.add_argument("--classes", help='a table of names, or "membrane=0, cell=255"')
    parser.add_argument("--void", nargs="*", help="names or values that count for nothing")
    parser.add_argument(
        "--bands", type=int, nargs="+", help="channels to use; three are red, green and blue"
    )
    parser.add_argument("--snap", action="store_true", help="take the nearest class everywhere")
    parser.add_argument("--skip-bad", action="store_true", help="leave broken files out")
    parser.add_argument("--split", type=Path, help="list of splits, or folder with train.txt, ...")
    parser.add_argument("--group", help="pattern in names: what agrees in it stays together")
    parser.add_argument("--folds", type=int, help="cross-validation in so many parts")
    parser.add_argument("--seed", type=int, default=42, help="of splits and training")
    parser.add_argument("--network", choices=NETWORKS, default=NETWORKS[0])
    parser.add_argument("--tile", type=int, help="see images in tiles of so many pixels a side")
    parser.add_argument(
        "--fit",
        choices=("stretch", "letterbox"),
        default="stretch",
        help="how a whole image comes to the network's size",
    )
    parser.add_argument(
        "--mirror",
        action="store_true",
        help="predict from the image and its mirror image: a little better, twice the time",
    )
    parser.add_argument("--size", type=int, nargs=2, help="height and width the network sees")
    parser.add_argument("--epochs", type=int, help="passes over the training images")
    parser.add_argument("--loss", nargs="+", choices=LOSSES, help="the best one counts")
    parser.add_argument("--augmentation", choices=AUGMENTATIONS, default="standard")
    return parser


def _command(options):
    """What was called, with the last part of each path alone."""
    parser, words = _parser(), []
    for name, value in vars(options).items():
        if value != parser.get_default(name) and name != "out":
            values = value if isinstance(value, list) else [value] * (value is not True)
            values = [one.name if isinstance(one, Path) else str(one) for one in values]
            is_option = name not in ("images", "masks")
            words += [f"--{name.replace('_', '-')}"] * is_option + values
    return f"{parser.prog} {shlex.join(words)}"


def _check_out(options):
    """Before anything is read: nothing is to be written into the user's folders."""
    if options.dry_run:
        return
    if options.out is None:
        raise ValueError("There is no folder to write to: give --out, or --dry-run to only look.")
    for given in (options.images, options.masks):
        if given.resolve() in [options.out.resolve(), *options.out.resolve().parents]:
            raise ValueError(f"--out {options.out} lies in {given}: write to another folder.")
    files.check_writable(options.out / "report.json")


def _planned(found, opened, options):
    """(dataset, Plan, the classes' shares of the training pixels)."""
    areas = found.areas()[opened.members["train"]].sum(axis=0)
    shares, dataset = areas / areas.sum(), opened.dataset
    sizes = [example.size for example in found.examples]
    if options.tile:
        dataset = tiled(dataset, lambda size: tiles.grid(size, options.tile, _overlap(options)))
    elif options.fit == "letterbox":
        network_size = _network_size(sizes, options)
        dataset = tiled(dataset, lambda size: tiles.frame(size, network_size))
    counts = datasets.count_examples(dataset, "train"), len(opened.members["validation"])
    plan = make_plan(sizes, shares, *counts, options)
    if dataset.channels != 3:
        plan.arguments["channels"] = dataset.channels
    return dataset, plan, shares


def _fit(options):
    return "tiles" if options.tile else options.fit


def _network_size(sizes, options):
    if options.tile:
        return options.tile, options.tile
    if options.size:
        return tuple(options.size)
    median = np.median(sizes, axis=0)
    scale = min(1, (PIXELS / median.prod()) ** 0.5)
    return tuple(max(64, 32 * round(side * scale / 32)) for side in median)


def _overlap(options):
    return options.tile // 4 if options.tile else None


def _fingerprint(found, opened, options):
    """Of the data: a training resumes only on the same."""
    states = [
        (example.pair.name, path.stat().st_size, path.stat().st_mtime_ns)
        for example in found.examples
        for path in (example.pair.image, example.mask)
    ]
    fit = options.tile or options.fit.replace("stretch", "") or None
    known = (states, found.encoding, opened.members, fit, found.bands)
    return hashlib.sha256(repr(known).encode()).hexdigest()[:12]


def _write(result, sheet, histories, labelling, out):
    text = outcome.table(result)
    files.write_json(out / "report.json", result)
    visualization.save_figure(sheet, out / "predictions.png")
    parts = [
        ("Scores", text),
        ("Test images, the worst first", sheet),
        *page.figures(result, histories, labelling),
        ("The folder", "\n".join(result["folder"])),
    ]
    files.write(out / "report.html", page.page(result["data_source"], parts))
    print(f"{text}\n-> {out}")


if __name__ == "__main__":
    main()
