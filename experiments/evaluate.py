"""Scores trained weights on a split, by one command.

    python -m helpers.evaluate mobilenetv2_unet_256
    python -m helpers.evaluate runs/mobilenetv2_unet/stage_2/best.keras --split validation

takes the name of published weights, a file of ``helpers.weights``, or a Keras checkpoint, and
prints the report's main numbers; with ``--out``, writes the whole report as JSON.
"""

import argparse
import sys
import time
import zipfile
from pathlib import Path

import keras

from helpers import data, evaluation, report, results, weights


def load(source):
    """A trained network, read without running code: published weights by their hash, numbers
    alone from a .safetensors file, a checkpoint in Keras's safe mode.

    Args:
        source: the name of published weights, or a .safetensors or .keras file.

    Returns:
        model, and its threshold (None with three classes).

    Raises:
        FileNotFoundError, ValueError: there is none, or it is not what its name says, or it holds
            code, or is for other classes.
    """
    path = Path(source)
    if not path.suffix:
        return weights.published(source)
    if path.suffix == weights.SUFFIX:
        model, threshold = weights.load(path)
    elif path.suffix == ".keras":
        model = _checkpoint(path)
        threshold = 0.5 if model.output_shape[-1] == 1 else None
    else:  # .h5, .pkl, .pt: not even opened
        raise ValueError(
            f"{path} is a {path.suffix} file, which may hold code: expected a {weights.SUFFIX} "
            f"file of helpers.weights, a .keras checkpoint, or the name of published weights."
        )
    classes = model.output_shape[-1]
    if classes not in (1, 3):
        raise ValueError(
            f"{path} has {classes} classes: expected 3 (pet, background, border), or one logit."
        )
    return model, threshold


def _checkpoint(path):
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no whole Keras checkpoint: fetch or write it again.")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras's own: of many kinds
        if "safe_mode" in str(error):  # its advice is to switch that off
            raise ValueError(
                f"{path} holds code, such as a Lambda layer, which is not run: give a checkpoint "
                f"of layers alone, as helpers.models builds."
            ) from error
        why = str(error).splitlines()[0]
        raise ValueError(
            f"{path} is no whole Keras checkpoint ({why}): fetch or write it again."
        ) from error


def table(told):
    """The report's main numbers as text."""
    lines = []
    if "mean_iou" in told:
        for name in ("pixel_accuracy", "mean_iou", "mean_dice", "dice_border_as_pet"):
            low, high = told["intervals"][name]
            lines.append((name.replace("_", " "), told[name], low, high))
        for name, iou in zip(told["classes"], told["iou"]):
            lines.append((f"IoU of {name}", iou, None, None))
    for rule, scores in told["binary_scores"].items():
        lines.append((f"Dice, border as {rule}", scores["dice"], *scores["dice_interval"]))
    width = told["outlines"]["width_px"]
    for name, values in told["outlines"]["own_size"].items():
        title = f"outline of {name}, within {width} px, own size"
        lines.append((title, values["f"], *values["interval"]))
    return "\n".join(
        f"{name:62} {value:.4f}" + ("" if low is None else f"  ({low:.4f} to {high:.4f})")
        for name, value, low, high in lines
    )


def main():
    parser = argparse.ArgumentParser(prog="python -m helpers.evaluate")
    parser.add_argument("source", help="name of published weights, .safetensors or .keras file")
    parser.add_argument("--split", choices=data.SPLITS, default="test")
    parser.add_argument("--limit", type=int, help="only the first so many images")
    parser.add_argument("--out", help="write the whole report to this .json file")
    options = parser.parse_args()
    try:
        model, threshold = load(options.source)
        pets, began = data.open_pets(), time.monotonic()
        counts = evaluation.measure(
            model,
            pets,
            options.split,
            threshold=threshold or 0.5,
            limit=options.limit,
            progress=True,
        )
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(str(error))
    if threshold is None:
        protocol = results.PIXELS
    else:
        trained = {"border": "whoever trained it chose", "threshold": threshold}
        protocol = results.PET_AGAINST_BACKGROUND.format(**trained)
    limit = f" --limit {options.limit}" if options.limit else ""
    told = results.result(
        report.report(counts, pets),
        protocol=protocol,
        images=len(counts.files),
        input_size=model.input_shape[1],
        data_source=data.describe(pets, options.split, options.limit),
        settings={"source": options.source, "parameters": model.count_params()},
        seed=None,
        threshold=threshold,
        evaluation_seconds=round(time.monotonic() - began),
        command=f"python -m helpers.evaluate {options.source} --split {options.split}{limit}",
    )
    print(f"{options.source} on {told['data_source']}, at {told['input_size']} px")
    print(table(told))
    if options.out:
        results.write_result(options.out, told)


if __name__ == "__main__":
    main()
