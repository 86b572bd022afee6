"""Scores trained weights on a split, by one command.

    python -m experiments.evaluate mobilenetv2_unet_256
    python -m experiments.evaluate mobilenetv2_unet_256 --mirror --enlarge
    python -m experiments.evaluate runs/mobilenetv2_unet/stage_2_.../best.keras --split validation

takes the name of published weights, a file of ``helpers.weights``, a Keras checkpoint, or an
exported network, and prints the report's main numbers; with ``--out``, writes the whole report as
JSON. With ``--mirror``, the network looks at each image's mirror image too, in twice the time;
with ``--enlarge``, at each image enlarged by a quarter too, in 2.6 times the time; with both, five
times.
"""

import argparse
import sys

from experiments import publish
from helpers import datasets, files, weights
from helpers.datasets import oxford_pets


def table(report):
    """The report's main numbers as text."""
    lines = []
    for name, (low, high) in _single(report["intervals"]):
        if name in report:
            lines.append((name.replace("_", " "), report[name], low, high))
    for name, iou in zip(report["classes"], report.get("iou", [])):
        lines.append((f"IoU of {name}", iou, None, None))
    for rule, scores in report["binary_scores"].items():
        lines.append((f"Dice, border as {rule}", scores["dice"], *scores["dice_interval"]))
    width = report["outlines"]["width_px"]
    for name, values in report["outlines"]["own_size"].items():
        title = f"outline of {name}, within {width} px, own size"
        lines.append((title, values["f"], *values["interval"]))
    return "\n".join(
        f"{name:62} {value:.4f}" + ("" if low is None else f"  ({low:.4f} to {high:.4f})")
        for name, value, low, high in lines
    )


def _single(intervals):  # those of one number, not one a class
    return [(name, pair) for name, pair in intervals.items() if isinstance(pair[0], float)]


def _size(model):  # exported networks do not say
    return {"parameters": model.count_params()} if hasattr(model, "count_params") else {}


def main():
    parser = argparse.ArgumentParser(prog="python -m experiments.evaluate")
    parser.add_argument("source", help="published weights' name, or a file of a network")
    parser.add_argument("--split", choices=datasets.SPLITS, default="test")
    parser.add_argument("--limit", type=int, help="only the first so many images")
    parser.add_argument("--mirror", action="store_true", help="look at the mirror image too")
    parser.add_argument("--enlarge", action="store_true", help="look at it enlarged too")
    parser.add_argument("--out", help="write the whole report to this .json file")
    options = parser.parse_args()
    try:
        if options.out:
            files.check_writable(options.out)
        network = weights.open_network(options.source)
        network = weights.with_views(network, options.mirror, options.enlarge)
        pets = datasets.subset(oxford_pets.open_pets(), **{options.split: options.limit})
        report = publish.scored(network, pets, options.split, progress=True)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.exit(str(error))
    protocol = publish.ALL_CLASSES
    if network.threshold is not None:
        first, second, *_ = pets.labelling.names
        protocol = publish.BINARY.format(
            first=first.capitalize(),
            second=second,
            border="whoever trained it chose",
            threshold=network.threshold,
        )
    command = f"python -m experiments.evaluate {options.source} --split {options.split}"
    command += " --mirror" * options.mirror + " --enlarge" * options.enlarge
    report |= {
        "protocol": protocol,
        "settings": {
            "source": options.source,
            "sha256": network.sha256,
            "mirrored": network.mirrored,
            "enlarged": network.enlarged,
            **_size(network.model),
        },
        "seed": None,
        "command": command + (f" --limit {options.limit}" if options.limit else ""),
    }
    print(f"{options.source} on {report['data_source']}, at {report['input_size']} px")
    print(table(report))
    if options.out:
        files.write_json(options.out, report)


if __name__ == "__main__":
    main()
