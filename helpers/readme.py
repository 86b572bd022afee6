"""Fills in the README's numbers from the files under results/.

    python -m helpers.readme

A test fails when the README and the files disagree.
"""

import json
from pathlib import Path

README = Path("README.md")
RESULTS = Path("results")
BEGIN, END = (
    "<!-- results: begin, written by python -m helpers.readme -->",
    "<!-- results: end -->",
)
NAMES = {"unet": "U-Net from scratch", "mobilenetv2_unet": "U-Net on MobileNetV2"}


def table(results):
    """The results as Markdown: one table, and below it how each row was obtained.

    Args:
        results: list of dicts, as ``evaluation.result`` makes them.

    Returns:
        str.
    """
    head = ["Network", "Input", "Pixel accuracy", "Mean IoU", "Dice (border as pet)", "IoU"]
    classes = ", ".join(results[0]["classes"])
    lines = [" | ".join([*head[:-1], f"IoU of {classes}"]), " | ".join(["---"] * len(head))]
    notes = []
    for number, result in enumerate(results, start=1):
        settings = result["settings"]
        lines.append(
            " | ".join(
                [
                    f"{NAMES[settings['model']]}, {settings['parameters'] / 1e6:.1f} M "
                    f"parameters ({number})",
                    f"{result['input_size']} px",
                    f"**{result['pixel_accuracy']:.3f}**",
                    f"**{result['mean_iou']:.3f}**",
                    f"{result['dice_border_as_pet']:.3f}",
                    ", ".join(f"{value:.3f}" for value in result["iou"]),
                ]
            )
        )
        notes.append(_note(number, result))
    rows = "\n".join(f"| {line} |" for line in lines)
    return rows + "\n\n" + "\n".join(notes)


def comparison(result):
    """A run of ``benchmarks.time_to_accuracy`` as Markdown: one row a contestant.

    Args:
        result: dict, as that command writes it.

    Returns:
        str.
    """
    head = ["Trained in one run", "Epochs", "Training time", "Pixel accuracy", "Mean IoU"]
    lines = [head + ["Dice (border as pet)"], ["---"] * 6]
    for name, entry in result["contestants"].items():
        test = entry["test"]
        lines.append(
            [
                name,
                str(len(entry["seconds"])),
                f"{entry['seconds'][-1]:,.0f} s",
                f"{test['pixel_accuracy']:.3f}",
                f"**{test['mean_iou']:.3f}**",
                f"{test['dice_border_as_pet']:.3f}",
            ]
        )
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    note = (
        f"`{result['command']}` on {result['device']}, {result['input_size']} px, seed "
        f"{result['seed']}. {result['data_source']}. All train on the same images, in turns."
    )
    return f"{rows}\n\n{note}"


def filled(readme, results):
    """The README's text with its results replaced.

    Raises:
        ValueError: the two marker lines are not both there, once each.
    """
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f"README.md needs each of these lines once: {BEGIN} and {END}")
    before, rest = readme.split(BEGIN)
    runs = [result for result in results if "contestants" not in result]
    races = [result for result in results if "contestants" in result]
    parts = [before + BEGIN, table(runs), *map(comparison, races), END + rest.split(END)[1]]
    return "\n\n".join(parts)


def load_results(folder=RESULTS):
    """The results under a folder, in the order of their file names."""
    return [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]


def _note(number, result):
    versions = result["versions"]
    return (
        f"({number}) {result['data_source']}. `{result['command']}`, seed {result['seed']}: "
        f"{result['train_seconds'] / 60:.0f} minutes of training in "
        f"{result['settings']['precision']} on {result['device']}; TensorFlow "
        f"{versions['tensorflow']}, Keras {versions['keras']}. {result['protocol']}"
    )


def main():
    README.write_text(filled(README.read_text(), load_results()))


if __name__ == "__main__":
    main()
