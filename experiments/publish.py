"""Keeps what a training gave: the weights, and their scores on the test split."""

import datetime
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras

from experiments import recipe, report
from helpers import (
    calibration,
    datasets,
    distribution,
    evaluation,
    files,
    models,
    photos,
    pipeline,
    run_mode,
    training,
    weights,
)
from helpers.datasets import oxford_pets

OPTIMIZER = "AdamW, weight decay 1e-4, cosine schedule per stage"
PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy")
ALL_CLASSES = (
    "Every pixel of every image counts once, border included as a class of its own, at the "
    "network's input size; masks resized by nearest neighbour; scores pooled over the split "
    "unless it says per image; 95 % bootstrap intervals over images."
)
BINARY = (
    "{first} against {second}; trained with the border as {border}, scored under each border "
    "rule, at the network's input size; masks resized by nearest neighbour; pooled over the split "
    "unless it says per image; threshold {threshold}; 95 % bootstrap intervals over images."
)


def add_run(parser):
    """Arguments of a command that trains and publishes, see ``train_and_publish``."""
    parser.add_argument(
        "--seed",
        type=int,
        help="another than the recipe's: to see how much a result depends on it",
    )
    parser.add_argument("--devices", type=int, default=1, help="that train together")
    parser.add_argument(
        "--shards",
        type=int,
        default=1,
        help="parts that the data is read in: a multiple of the number of processes",
    )


def train_and_publish(name, stages, builder, arguments, *, command, run, options, bits=16):
    """Trains a network of three classes on all of Oxford-IIIT Pet and publishes what comes of it.

    With another seed than the recipe's, the weights stay in the run folder. Joins the other
    processes of the training, where there are some, see ``distribution.start``.

    Args:
        name, bits: as in ``publish``.
        stages, run: as in ``recipe.train``; the recipe's own.
        builder, arguments: as in ``weights.Network``.
        command: str, which command this is, without the arguments of ``add_run``.
        options: argparse.Namespace of a parser with ``add_run``.

    Returns:
        dict: what was written. Of several processes, nothing is published: None.
    """
    distribution.start()
    name, command, run, folder = _as_asked(name, command, run, options)
    check_writable(name, folder)
    pets = oxford_pets.open_pets()
    precision = training.set_precision()

    def build(size):
        return getattr(models, builder)(size, **arguments)

    model, history = recipe.train(build, pets, stages, run)
    if distribution.processes() > 1:
        print(f"Trained, in {run.folder}. To score and publish it, run this by one process.")
        return None
    validation = recipe.evaluate(model, pets, "validation").sum(axis=0)
    temperature = calibrated(model, pets)
    values = {
        "protocol": ALL_CLASSES,
        "settings": {
            "model": builder,
            **arguments,
            "stages": [stage._asdict() for stage in stages],
            "loss": "cross-entropy + Dice",
            "optimizer": OPTIMIZER,
            "precision": precision,
            "checkpoint": "best validation Dice of each stage",
            "temperature": temperature,
        },
        "seed": run.seed,
        "train_seconds": sum(history["seconds"]),
        "validation": {
            "data_source": datasets.describe(pets, "validation"),
            **evaluation.scores(validation),
            "mean_dice_by_epoch": [round(value, 4) for value in history["val_mean_dice"]],
        },
        "command": command,
    }
    network = weights.Network(model, pets.labelling, None, builder, arguments)
    result = publish(name, network, pets, values, bits, folder)
    print(
        f"{result['data_source']}: pixel accuracy {result['pixel_accuracy']:.4f}, "
        f"mean IoU {result['mean_iou']:.4f} -> {weights.RESULTS / name}.json"
    )
    return result


def _as_asked(name, command, run, options):
    """Name, command and run as the options have them, and the folder for the weights."""
    seed = run.seed if options.seed is None else options.seed
    asked = {"seed": seed, "devices": options.devices, "shards": options.shards}
    for option, value in asked.items():
        if value != getattr(run, option):
            command += f" --{option} {value}"
    if seed == run.seed:
        return name, command, run._replace(**asked), weights.FOLDER
    return f"{name}_seed_{seed}", command, run._replace(**asked), Path(run.folder)


def calibrated(model, dataset):
    """Divides a trained network's logits by the temperature that fits the validation split, see
    ``helpers.calibration``, and returns the temperature."""
    size = model.input_shape[1:3]
    batches = pipeline.labelled_batches(dataset, "validation", size, 32, own_masks=False)
    return round(calibration.calibrate(model, batches, dataset.labelling), 4)


def publish(name, network, dataset, values, bits=16, folder=None):
    """Writes a trained network to a folder and its report on the test split to
    ``experiments/results``. Scored are the weights as they are in the file, rounded.

    Args:
        name: of both files.
        network: weights.Network, trained.
        dataset: datasets.Dataset.
        values: dict, what else belongs to the result: ``protocol``, ``settings`` (a dict),
            ``seed``, ``command``, ...
        bits: as in ``weights.save``.
        folder: of the weights; None for ``experiments/weights``.

    Returns:
        dict: what was written.
    """
    path = (folder or weights.FOLDER) / f"{name}{weights.SUFFIX}"
    file = weights.save(network, path, bits)
    network = weights.load(path, file["sha256"])
    settings = {**values["settings"], "parameters": network.model.count_params()}
    result = {**scored(network, dataset, "test", progress=True), **values, "weights": file}
    result["settings"] = settings
    files.write_json(weights.RESULTS / f"{name}.json", result)
    return result


def check_writable(name, folder=None):
    """Raises OSError where ``publish`` could not write, before hours of training."""
    files.check_writable((folder or weights.FOLDER) / f"{name}{weights.SUFFIX}")
    files.check_writable(weights.RESULTS / f"{name}.json")


def check_fits(network, dataset):
    """Raises ValueError where a network's scores on a data set would mean nothing: it is of other
    classes, or was trained on tiles or in margins, which are not made here."""
    names, others = network.labelling.names, dataset.labelling.names
    if names != others:
        raise ValueError(
            f"The network is of other classes ({', '.join(names)}) than {dataset.name} "
            f"({', '.join(others)}): expected the same ones, in the same order."
        )
    if network.view != photos.View():
        raise ValueError(
            "The network was trained on tiles, in margins or on other bands: its scores are in "
            "the report that python -m experiments.own_images wrote beside it."
        )


def scored(network, dataset, split, progress=False):
    """The report of a network on a split, with what it was obtained with.

    Args:
        network: weights.Network.
        dataset: datasets.Dataset.
        split: of which.
        progress: draws Keras's progress bar.

    Returns:
        dict, ready for JSON.

    Raises:
        ValueError: as ``check_fits`` and ``evaluation.measure``.
    """
    check_fits(network, dataset)
    began = time.monotonic()
    size = network.model.input_shape[1:3]
    batches = pipeline.labelled_batches(dataset, split, size, 32)
    images = datasets.count_examples(dataset, split)
    counts = evaluation.measure(
        network.model,
        batches,
        dataset.labelling,
        threshold=network.threshold,
        images=images if progress else None,
    )
    return {
        **report.report(counts, dataset),
        "classes": list(dataset.labelling.names),
        "images": images,
        "input_size": size[0] if size[0] == size[1] else list(size),
        "data_source": datasets.describe(dataset, split),
        "threshold": network.threshold,
        "evaluation_seconds": round(time.monotonic() - began),
        **environment(),
    }


def environment(packages=()):
    """Where and when a result was obtained: versions, Keras's backend, device, date. Those of the
    process that writes it: a training that was resumed elsewhere began with others.
    ``packages``: more of them than all results name."""
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in (*PACKAGES, *packages)},
        },
        "backend": keras.backend.backend(),
        "device": run_mode.device_name(),
        "date": datetime.date.today().isoformat(),
    }


def _version(package):
    # TensorFlow also comes as tensorflow-cpu; a finished training must not be lost over its name.
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
