"""Fills in the README's numbers from the files under experiments/results, and draws its figures.

    python -m tools.readme

A test fails when the README and the files disagree.
"""

import io
import json
import math
from pathlib import Path

import numpy as np
import PIL.Image
import skimage.data
from PIL.ImageColor import getrgb

from helpers import cutout, files, photos, prediction, visualization, weights
from tools import on_paper

README = Path("README.md")
RESULTS = Path("experiments/results")
COST_FIGURE = RESULTS / "accuracy_and_time.png"
PHOTO_FIGURE = RESULTS / "photograph.png"
CUTOUT_FIGURE = RESULTS / "cutout.png"
GROWTH_FIGURE = RESULTS / "growth.png"
CUTOUT_COLORS = ("steelblue", "whitesmoke")
BEGIN, END = (
    "<!-- results: begin, written by python -m tools.readme -->",
    "<!-- results: end -->",
)
PHOTO_NETWORK = "mobilenetv2_unet_256"
FORMATS = {"onnx": "ONNX", "litert": "LiteRT"}
RUNTIMES = ("onnxruntime", "ai-edge-litert", "tensorflow", "keras")
MANY_PHOTOS = ("apache-beam", "onnxruntime", "pillow")
SCORE_NAMES = {
    "mean_iou": "Mean IoU",
    "border_iou": "Border IoU",
    "boundary_f": "Boundary F",
    "calibration_error": "Calibration error",
}
SEED = " --seed "  # in a command: not the recipe's
NETWORKS = ("mobilenetv2_unet", "unet_from_scratch")  # commands
NAMES = {"unet": "U-Net from scratch", "mobilenetv2_unet": "U-Net on MobileNetV2"}


def table(results):
    """The results as Markdown: one table, and below it how each row was obtained.

    Args:
        results: list of dicts, as ``load_results`` reads them; those of other seeds than the
            recipes' are told in the notes.

    Returns:
        str.
    """
    head = ["Network", "Input", "Pixel accuracy", "Mean IoU (95 % interval)"]
    head += ["Dice (border as pet)", "Boundary F", "IoU"]
    classes = ", ".join(results[0]["classes"])
    lines = [[*head[:-1], f"IoU of {classes}"], ["---"] * len(head)]
    notes = []
    for number, result in enumerate(_published(results), start=1):
        settings = result["settings"]
        low, high = result["intervals"]["mean_iou"]
        lines.append(
            [
                f"{NAMES[settings['model']]}, {settings['parameters'] / 1e6:.1f} M parameters "
                f"({number})",
                f"{result['input_size']} px",
                f"**{result['pixel_accuracy']:.3f}**",
                f"**{result['mean_iou']:.3f}** ({low:.3f} to {high:.3f})",
                f"{result['dice_border_as_pet']:.3f}",
                _outline(result),
                ", ".join(f"{value:.3f}" for value in result["iou"]),
            ]
        )
        notes.append(_note(number, result) + _of_seeds(result, results))
    protocols = dict.fromkeys(result["protocol"] for result in results)  # each once
    return "\n\n".join([_rows(lines), *notes, *protocols, _outline_note(results[0])])


def cost_figure(results):
    """Mean IoU against minutes of training: the networks, and the contestants of the
    time-to-accuracy benchmark but the last, which is one of them.

    Args:
        results: list of dicts, from ``load_results``.

    Returns:
        matplotlib Figure.
    """
    networks, points = _published(_of(results, *NETWORKS)), {}
    for result in networks:
        name = f"{NAMES[result['settings']['model']]}, {result['input_size']} px"
        points[name] = (result["train_seconds"] / 60, result["mean_iou"])
    for result in _of(results, "time_to_accuracy"):
        *others, _ = result["contestants"].items()
        for name, entry in others:
            points[name] = (entry["seconds"][-1] / 60, entry["test"]["mean_iou"])
    return visualization.plot_accuracy_and_time(points, source=networks[0]["data_source"])


def _cost_caption(results):
    networks = _published(_of(results, *NETWORKS)) + _of(results, "time_to_accuracy")
    machines = " and ".join(sorted({result["device"] for result in networks}))
    return f"*Minutes on {machines}: compare times only of those that share a machine.*"


def race_figure(result):
    """Validation mean IoU against seconds of training, of the time-to-accuracy benchmark.

    Returns:
        matplotlib Figure.
    """
    curves = {
        name: (entry["seconds"], entry["validation_mean_iou"])
        for name, entry in result["contestants"].items()
    }
    return visualization.plot_progress(curves, source=result["validation"]["data_source"])


def race_figure_path(result):
    """Where the figure of that benchmark lies."""
    return RESULTS / f"{result['command'].split('.')[-1]}.png"


def binary_table(results):
    """The results of pet against background as Markdown: a row for each run and border rule.

    Args:
        results: list of dicts, as ``load_results`` reads them.

    Returns:
        str.
    """
    head = ["Training images", "Input", "Border as", "Dice (95 % interval)", "Dice per image"]
    lines = [head + ["IoU", "Pixel accuracy", "Boundary F"], ["---"] * 8]
    notes = []
    for number, result in enumerate(results, start=1):
        for rule, scores in result["binary_scores"].items():
            low, high = scores["dice_interval"]
            lines.append(
                [
                    f"{result['settings']['training_images']:,} ({number})",
                    f"{result['input_size']} px",
                    "ignored" if rule == "ignore" else rule,
                    f"**{scores['dice']:.3f}** ({low:.3f} to {high:.3f})",
                    f"{scores['dice_per_image']:.3f}",
                    f"{scores['iou']:.3f}",
                    f"{scores['pixel_accuracy']:.3f}",
                    _outline(result) if rule == "pet" else "",
                ]
            )
        notes.append(_note(number, result))
    protocols = dict.fromkeys(result["protocol"] for result in results)
    return "\n\n".join([_rows(lines), *notes, *protocols])


def views_table(results, published):
    """What further looks at an image bring, as Markdown: for each published network, a row with
    one look and one for each result.

    Args:
        results: list of dicts, as ``experiments.evaluate --mirror`` or ``--enlarge`` write them.
        published: list of dicts, the results of these networks as they were published.

    Returns:
        str.

    Raises:
        ValueError: weights were published anew since.
    """
    by_hash = {once["weights"]["sha256"]: once for once in published}
    for result in results:
        if result["settings"]["sha256"] not in by_hash:
            raise ValueError(
                f"{result['command']} is of other weights than the published ones: run it again, "
                f"with --out and its file under {RESULTS}."
            )
    head = ["Network", "Input", "Looks at", "Time", "Pixel accuracy", "Mean IoU"]
    head += ["Dice (border as pet)"]
    lines = [head, ["---"] * len(head)]
    for sha256, once in by_hash.items():
        found = [r for r in results if r["settings"]["sha256"] == sha256]
        name, size = once["weights"]["file"].split(".")[0], f"{once['input_size']} px"
        for result in [once, *sorted(found, key=_time)] if found else []:
            lines.append([name, size, *_look(result)])
    commands = {r["command"].replace(r["settings"]["source"], "NETWORK") for r in results}
    commands = ", ".join(f"`{command}`" for command in sorted(commands))
    note = (
        f"The logits of all looks are averaged: no other training. What is enlarged, by a "
        f"quarter (chosen on validation), is the network's own input: that adds no detail, but "
        f"gives the network more pixels to place an outline in. Time: by the number of pixels, "
        f"in looks at the image itself. Pixel accuracy of the binary networks: pet with border "
        f"against background. {results[0]['data_source']}. {commands}. For a photo of yours: "
        f"`python -m helpers.prediction cat.jpg --mirror --enlarge --weights "
        f"mobilenetv2_unet_256`."
    )
    return "\n\n".join([_rows(lines), note])


def _time(result):
    """The time that all looks take, in looks at the image itself."""
    mirrored, enlarged = _views(result)
    size = photos.sides(result["input_size"])
    larger = math.prod(photos.enlarged_size(size)) / math.prod(size)
    return (1 + mirrored) * (1 + enlarged * larger)


def _views(result):
    return [result["settings"].get(name, False) for name in ("mirrored", "enlarged")]


def _look(result):  # the cells behind name and size
    binary, (mirrored, enlarged) = result["binary_scores"]["pet"], _views(result)
    looks = ["itself"] + ["mirrored"] * mirrored
    looks += ["both enlarged" if mirrored else "enlarged"] * enlarged
    low, high = result["intervals"]["mean_iou"] if "mean_iou" in result else (None, None)
    return (
        ", ".join(looks),
        f"{_time(result):.2g}",
        f"{result.get('pixel_accuracy', binary['pixel_accuracy']):.3f}",
        "" if low is None else f"{result['mean_iou']:.3f} ({low:.3f} to {high:.3f})",
        f"{binary['dice']:.3f}",
    )


def own_images_table(results):
    """What ``experiments.own_images`` gave as Markdown: one row a run.

    Args:
        results: list of dicts, as that command writes them.

    Returns:
        str.
    """
    head = ["Data", "Network", "Augmentation", "Input", "Pixel accuracy"]
    head += ["Mean IoU (95 % interval)", "Dice by class", "Boundary F by class"]
    lines, notes = [head, ["---"] * len(head)], []
    for number, result in enumerate(results, start=1):
        settings, (low, high) = result["settings"], result["intervals"]["mean_iou"]
        outlines = result["outlines"]["own_size"].values()
        lines.append(
            [
                f"{result['folder'][0].split(':')[0]} ({number})",
                f"{NAMES[settings['model']]}, {settings['parameters'] / 1e6:.1f} M parameters",
                settings["augmentation"],
                f"{result['input_size'][0]} x {result['input_size'][1]} px",
                f"**{result['pixel_accuracy']:.3f}**",
                f"**{result['mean_iou']:.3f}** ({low:.3f} to {high:.3f})",
                _by_class(result["classes"], result["dice"]),
                _by_class(result["classes"], [outline["f"] for outline in outlines]),
            ]
        )
        of_folds = result["test_mean_iou"]
        spread = f" Mean IoU by fold {min(of_folds):.3f} to {max(of_folds):.3f}."
        notes.append(
            f"({number}) {result['data_source']}. `{result['command']}`, seed {result['seed']}: "
            f"{result['train_seconds'] / 60:.0f} minutes of training on {result['device']}."
            + spread
            * (len(of_folds) > 1)
        )
    rows_of = {}
    for number, result in enumerate(results, start=1):
        rows_of.setdefault(result["protocol"], []).append(str(number))
    protocols = [f"({', '.join(rows)}) {protocol}" for protocol, rows in rows_of.items()]
    return "\n\n".join([_rows(lines), *notes, *protocols])


def comparison(result):
    """The time-to-accuracy benchmark as Markdown: one row a contestant, its figure, and how long
    the last takes to the best validation score of the first one.

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
    (first, peer), *_, (last, ours) = result["contestants"].items()
    best = max(peer["validation_mean_iou"])
    theirs, seconds = _seconds_to(peer, best), _seconds_to(ours, best)
    reached = f"{first} has its best validation mean IoU, {best:.3f}, after {theirs:,.0f} s."
    if seconds is not None:
        reached += (
            f" {last} is there after {seconds:,.0f} s, 1/{theirs / seconds:.0f} of that time."
        )
    note = (
        f"`{result['command']}` on {result['device']}, {result['input_size']} px, seed "
        f"{result['seed']}. {result['data_source']}. All train on the same images, in turns. The "
        f"tutorial is written anew from its description; as there, its last epoch is scored, "
        f"{peer['validation_mean_iou'][-1]:.3f} on validation, while ours are scored at "
        f"their best epoch on validation."
    )
    picture = f"![Validation mean IoU against seconds of training]({race_figure_path(result)})"
    return "\n\n".join([_rows(lines), reached, note, picture])


def variants(result):
    """A run of ``experiments.comparison`` as Markdown: one row a variant, and its figure where
    variants take different time.

    Args:
        result: dict, as ``experiments.losses`` and ``experiments.architectures`` write it.

    Returns:
        str.
    """
    *others, (main, entries) = result["budgets"].items()
    titles = [SCORE_NAMES[score] for score in SCORE_NAMES]
    head = ["", *(f"Mean IoU, same {budget}" for budget, _ in others)]
    head += [f"{titles[0]}, same {main}" if others else titles[0], "Difference (95 % interval)"]
    costs = ["Parameters", "Multiply-adds", "Time in the same epochs"] if others else []
    lines = [[*head, *titles[1:], *costs], ["---"] * len(head + titles[1:] + costs)]
    for name, entry in entries.items():
        cost = result["variants"][name]
        cells = [_mean_iou(budget.get(name)) for _, budget in others]
        cells += [f"**{entry['mean']['mean_iou']:.3f}**", _difference(entry)]
        cells += [_with_verdict(entry, score) for score in list(SCORE_NAMES)[1:]]
        if others:
            cells += [f"{cost['parameters'] / 1e6:.1f} M", f"{cost['multiply_adds'] / 1e9:.2f} G"]
            cells.append(f"{cost['time_ratio']:.1f} x")
        lines.append([name, *cells])
    parts = [f"### {result['comparison'].capitalize()} compared", _rows(lines)]
    parts += [_seeds_note(result), _training_note(result), result["protocol"]]
    if "test" in result:
        parts.append(_test_note(result))
    ratios = [cost["time_ratio"] for cost in result["variants"].values() if cost["time_ratio"]]
    if not others:  # one network: its time is held equal with its epochs, or nearly
        parts.append(
            f"A training takes {min(ratios):.2f} to {max(ratios):.2f} times as long as with "
            f"{result['baselines'][0]}."
        )
    if others:
        parts += [
            f"![Mean IoU against minutes of training]({variants_figure_path(result)})",
            f"*In the same {others[0][0]}: up and to the left is better, a larger mark has more "
            f"parameters. Minutes: all steps by the time of one, without validation.*",
        ]
    return "\n\n".join(parts)


def variants_figure(result):
    """Mean IoU on validation against minutes of training in the first budget, the mark's area by
    parameters.

    Args:
        result: dict, as ``experiments.architectures`` writes it.

    Returns:
        matplotlib Figure.
    """
    points = {}
    for name, entry in next(iter(result["budgets"].values())).items():
        minutes, score = entry["step_seconds"] / 60, entry["mean"]["mean_iou"]
        millions = result["variants"][name]["parameters"] / 1e6
        points[name.replace(" from ", "\nfrom ")] = minutes, score, millions
    return visualization.plot_accuracy_and_time(points, source=result["data_source"])


def variants_figure_path(result):
    """Where that figure lies."""
    return RESULTS / f"{result['comparison']}.png"


def pipelines(result):
    """A run of ``experiments.benchmarks.input_pipeline`` as Markdown: one row a contestant."""
    lines = [["Input pipeline", "First epoch", "Later epochs", "Cache"], ["---"] * 4]
    for name, values in result["contestants"].items():
        cache = result["cache_mb"].get(name)
        lines.append(
            [
                name,
                f"{values['first_epoch_images_per_s']:,.0f} images/s",
                f"{values['later_images_per_s']:,.0f} images/s",
                "none" if cache is None else f"{cache:,.0f} MB",
            ]
        )
    return (
        f"{_rows(lines)}\n\n{_benchmark_note(result)} {result['data_source']}. Decoding "
        f"alone: the photos at their own size, and nothing else done to them."
    )


def steps(result):
    """A run of ``experiments.benchmarks.training_step`` as Markdown: one row a contestant."""
    lines = [["Training step", "Speed"], ["---"] * 2]
    for name, values in result["contestants"].items():
        lines.append([name, f"{values['images_per_s']:,.0f} images/s"])
    return f"{_rows(lines)}\n\n{_benchmark_note(result)}"


def exports(result):
    """What ``experiments.export --record`` measured, as Markdown: one row a file.

    Returns:
        str.
    """
    head = ["Network", "Format", "File", "Pixels named as by Keras", "Mean IoU (Keras)"]
    head += ["Network pass (`model.predict`)", "Many photos (Keras)", "One photo, cold (Keras)"]
    lines = [head, ["---"] * len(head)]
    notes = list(dict.fromkeys(map(_export_note, result["exports"])))
    for entry in result["exports"]:
        which = f" ({notes.index(_export_note(entry)) + 1})" * (len(notes) > 1)
        kind = f"{FORMATS[entry['format']]}, {entry['quantize'] or 'float32'}"
        lines.append(
            [
                entry["network"],
                kind + ", flexible" * entry["flexible"] + which,
                f"{entry['bytes'] / 1e6:.1f} MB",
                f"{100 * entry['equal_pixels']:.3f} %",
                f"**{entry['mean_iou']:.4f}** ({entry['keras_mean_iou']:.4f})",
                f"**{entry['pass_ms']:.0f} ms** ({entry['predict_ms']:.0f} ms)",
                f"{entry['photos_per_s']:.0f}/s ({entry['keras_photos_per_s']:.0f}/s)",
                f"{entry['cold_s']:.1f} s ({entry['keras_cold_s']:.1f} s)",
            ]
        )
    if len(notes) > 1:  # rows of different machines are not to be compared by their times
        notes = [f"({number}) {note}" for number, note in enumerate(notes, start=1)]
    return "\n\n".join([_rows(lines), *notes])


def _export_note(entry):
    versions = ", ".join(f"{name} {entry['versions'][name]}" for name in RUNTIMES)
    return (
        f"`python -m experiments.export NETWORK --format FORMAT --record` on "
        f"{entry['device']}; {versions}. {entry['data_source']}. Medians, measured in turns "
        f"with Keras; many photos: from file to files in one run; cold: the whole command. "
        f"Compare times within a row."
    )


def cutouts(result):
    """A run of ``experiments.cutouts`` as Markdown: one row a way to get alpha."""
    lines = [["From", "Alpha", "SAD", "MSE", "Gradient", "Colours"], ["---"] * 6]
    for source, found in result["cutouts"].items():
        for name, errors in found.items():
            values = [f"{errors[key]:.2f}" for key in ("sad", "mse", "gradient", "colors")]
            if name == "cut-out":
                values = [f"**{value}**" for value in values]
            lines.append([source, name, *values])
    large = result["large_photo"]
    note = (
        f"Errors, lower is better. `{result['command']}`, seed {result['seed']}: "
        f"{result['data_source']}. {result['protocol']} A photo of "
        f"{large['pixels'] / 1e6:.0f} megapixels takes {large['core_seconds']:.0f} s on one core "
        f"({result['device'].split(',')[0]}) and {large['gb_beside_the_photo']:.1f} GB of memory "
        f"besides the photo."
    )
    return f"{_rows(lines)}\n\n{note}"


def growth(result):
    """A run of ``experiments.benchmarks.growth`` as Markdown: its figure, and the ends of its
    curves in words."""
    lines = [["Work", "Images", "Time", "Peak memory"]]
    lines.append(["---"] * 4)
    for name, curve in result["growth"].items():
        images, seconds, memory = (curve[key] for key in ("images", "seconds", "memory_mb"))
        lines.append(
            [
                name,
                f"{images[0]:,} to {images[-1]:,}: **{images[-1] / images[0]:.0f} x**",
                f"{seconds[0]:,.0f} to {seconds[-1]:,.0f} s: **{seconds[-1] / seconds[0]:.0f} x**",
                f"{memory[0]:,.0f} to {memory[-1]:,.0f} MB: **{memory[-1] / memory[0]:.1f} x**",
            ]
        )
    most = max(curve["images"][-1] for curve in result["growth"].values())
    note = (
        f"`{result['command']}` on {result['device']}: {result['data_source']}. Batches of "
        f"{result['batch_size']} at {result['input_size']} px, of which {most:,} hold "
        f"{most * result['input_size'] ** 2 * 4 / 1e6:,.0f} MB; with the cache in a file, the "
        f"shuffle draws from {result['buffer']:,} examples, with the cache in RAM, from all. "
        f"Photos of {result['photo_px']} px, at the network's own size. Memory: a process's peak, "
        f"without what it takes before the first image."
    )
    picture = f"![Seconds and memory against the number of images]({GROWTH_FIGURE})"
    return "\n\n".join([picture, _rows(lines), note])


def growth_figure(result):
    """Seconds and memory against the number of images.

    Returns:
        matplotlib Figure.
    """
    curves = {
        name: [curve[key] for key in ("images", "seconds", "memory_mb")]
        for name, curve in result["growth"].items()
    }
    return visualization.plot_growth(curves, source=result["data_source"])


def many_photos(result):
    """A run of ``experiments.benchmarks.many_photos`` as Markdown: one row a contestant."""
    head = [f"{result['photos']:,} small photos", "Workers", "Speed", "A worker", "Peak memory"]
    lines = [head, ["---"] * len(head)]
    for name, values in result["contestants"].items():
        lines.append(
            [
                name,
                str(result["workers"][name]),
                f"{values['photos_per_s']:.1f} photos/s",
                f"{values['photos_per_s_per_worker']:.1f} photos/s",
                f"{values['peak_mb']:,.0f} MB",
            ]
        )
    versions = ", ".join(f"{name} {result['versions'][name]}" for name in MANY_PHOTOS)
    note = (
        f"`{result['command']}` on {result['device']}; {versions}. Photos: "
        f"{result['data_source']}, {result['photo_px']} px; from file to files, the start "
        f"counted in."
    )
    return f"{_rows(lines)}\n\n{note}"


def on_larger_machines(results):
    """What larger machines mean, see ``tools.on_paper``; of all results."""
    found = [_of(results, name)[0] for name in ("on_paper", "training_step", "input_pipeline")]
    entries = [entry for result in _of(results, "export") for entry in result["exports"]]
    kinds = [(entry["format"], entry["quantize"]) for entry in entries]
    rows, paragraphs = on_paper.described(*found, entries[kinds.index(("onnx", "float16"))])
    return "\n\n".join([_rows(rows), *paragraphs])


def filled(readme, results):
    """The README's text with its results replaced.

    Args:
        readme: str.
        results: list of dicts, from ``load_results``.

    Raises:
        ValueError: the two marker lines are not both there, once each.
    """
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f"README.md needs each of these lines once: {BEGIN} and {END}")
    before, rest = readme.split(BEGIN)
    trained = _published(_of(results, *NETWORKS, "binary_unet"))
    parts = [
        table(_of(results, *NETWORKS)),
        f"![Mean IoU against minutes of training]({COST_FIGURE})",
        _cost_caption(results),
        "### Pet against background",
        binary_table(_of(results, "binary_unet")),
    ]
    for heading, writer, *commands in (
        ("Looking more than once", lambda found: views_table(found, trained), "evaluate"),
        ("Other people's images", own_images_table, "own_images"),
        ("Compared with TensorFlow's tutorial", _each(comparison), "time_to_accuracy"),
        (None, _each(variants), "losses", "architectures"),
        ("Speed", _each(pipelines), "input_pipeline"),
        (None, _each(steps), "training_step"),
        ("Without TensorFlow", _each(exports), "export"),
        ("Cut-outs", _each(cutouts), "cutouts"),
        ("Many photos", _each(many_photos), "many_photos"),
        ("As the data grow", _each(growth), "growth"),
        ("On larger machines, on paper", lambda _: on_larger_machines(results), "on_paper"),
    ):
        if found := _of(results, *commands):
            parts += [f"### {heading}"] * bool(heading) + [writer(found)]
    return "\n\n".join([before + BEGIN, *parts, END + rest.split(END)[1]])


def photo_figure():
    """A photograph that is not of the data set, its predicted mask, and one over the other.

    Chelsea, by Stéfan van der Walt, CC0, which ships with scikit-image.

    Returns:
        matplotlib Figure.
    """
    photo = skimage.data.chelsea()
    network = weights.published(PHOTO_NETWORK)
    mask = prediction.predict_photo(network, photo)
    source = "Chelsea (CC0), a photograph that no network here was trained on"
    return visualization.plot_samples(
        photo[None], mask[None], labelling=network.labelling, source=source
    )


def cutout_figure():
    """The same photograph, and its cut-out on two colours: (H, 3 W, 3) uint8."""
    photo = skimage.data.chelsea()
    network = weights.published(PHOTO_NETWORK)
    found = prediction.cut_out(network, photo)
    return np.hstack([photo, *(cutout.compose(found, getrgb(color)) for color in CUTOUT_COLORS)])


def load_results(folder=RESULTS):
    """The results under a folder, in the order of their file names."""
    return [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]


def _published(results):
    """Those whose weights are published: with the seeds of the recipes."""
    return [result for result in results if SEED not in result["command"]]


def _of_seeds(result, results):
    """How far a result is from those of other seeds: a sentence, empty where there are none."""
    same = [r for r in results if r["command"].split(SEED)[0] == result["command"]]
    if len(same) == 1:
        return ""
    seeds = ", ".join(str(r["seed"]) for r in same)
    spreads = []
    for name in ("mean_iou", "pixel_accuracy"):
        values = [r[name] for r in same]
        title = name.replace("_", " ").replace("iou", "IoU")
        spreads.append(f"{title} {np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}")
    return f" Seeds {seeds}, mean and standard deviation: {' and '.join(spreads)}."


def _of(results, *commands):
    """The results of these commands of ``experiments``."""
    return [r for r in results if r["command"].split()[2].split(".")[-1] in commands]


def _each(writer):
    return lambda results: "\n\n".join(map(writer, results))


def _seconds_to(entry, score):
    """The training time of a contestant's first epoch with that score; None if it has none."""
    epochs = zip(entry["seconds"], entry["validation_mean_iou"])
    return next((seconds for seconds, reached in epochs if reached >= score), None)


def _rows(lines):
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _by_class(names, values):
    if len(names) > 3:
        low, high = np.argmin(values), np.argmax(values)
        return f"{values[low]:.3f} ({names[low]}) to {values[high]:.3f} ({names[high]})"
    return ", ".join(f"{name} {value:.3f}" for name, value in zip(names, values))


def _mean_iou(entry):
    return "too slow" if entry is None else f"{entry['mean']['mean_iou']:.3f}"


def _difference(entry):
    if "difference" not in entry:
        return ""
    found = entry["difference"]["mean_iou"]
    low, high = found["interval"]
    return f"{found['value']:+.3f} ({low:+.3f} to {high:+.3f}): {found['verdict']}"


def _with_verdict(entry, score):
    verdict = entry.get("difference", {}).get(score, {}).get("verdict", "")
    found = f" ({verdict})" if verdict.startswith(("better", "worse")) else ""
    return f"{entry['mean'][score]:.3f}{found}"


def _seeds_note(result):
    counts = {len(e["by_seed"]) for budget in result["budgets"].values() for e in budget.values()}
    seeds = f"{min(counts)} to {max(counts)} seeds" if len(counts) > 1 else f"{min(counts)} seed"
    seeds += "s" if counts != {1} and len(counts) == 1 else ""
    planned = len(result["seeds"])
    unfinished = "" if result["complete"] else f" of {planned}, not finished: more may change this"
    versions, machines = result["versions"], ", and on ".join(result["trained_on"])
    return (
        f"{result['data_source']}. `{result['command']}`, {result['input_size']} px, means over "
        f"{seeds}{unfinished}; trained on {machines}; TensorFlow {versions['tensorflow']}, Keras "
        f"{versions['keras']}. Better or worse than {result['baselines'][0]} where it says so; "
        f"elsewhere no difference was found."
    )


def _training_note(result):
    first, (main, *more) = result["baselines"][0], reversed(result["budgets"])
    entry = next(iter(result["budgets"].values()))[first]
    epochs = sum(stage["epochs"] for stage in entry["stages"])
    text = f"Trained for {epochs} epochs"
    if more:
        text += f" or, in the same {main}, the {entry['step_seconds']:.0f} s of them with {first}"
    text += (
        ": that shows how fast something is learnt, not what it reaches; the networks at the top "
        "of these results were trained for longer. The recipe is the published one, made for "
        f"{first} and not tuned for the others. The calibration error is what the training left, "
        "without calibration."
    )
    if more:
        text += f" Columns that do not say which budget are of the same {main}."
    return text


def _test_note(result):
    entries = result["test"]["variants"].items()
    scores = [f"{name} {entry['mean']['mean_iou']:.3f}" for name, entry in entries]
    budget = result["test"]["budget"]
    return (
        f"{result['test']['data_source']}, looked at once, mean IoU in the same {budget}: "
        f"{', '.join(scores)}. There, {result['winner']} was the highest on validation."
    )


def _outline(result):
    first = next(iter(result["outlines"]["own_size"].values()))  # of the pet with its border
    return f"{first['f']:.3f}"


def _outline_note(result):
    return (
        f"Boundary F: how much of the outline of pet with border, true and predicted, lies within "
        f"{result['outlines']['width_px']} pixels of the other one, at the photos' own size."
    )


def _benchmark_note(result):
    return (
        f"`{result['command']}` on {result['device']}, {result['input_size']} px, batches of "
        f"{result['batch_size']}; median of {result['rounds']} rounds in turns."
    )


def _note(number, result):
    versions = result["versions"]
    return (
        f"({number}) {result['data_source']}. `{result['command']}`, seed {result['seed']}: "
        f"{result['train_seconds'] / 60:.0f} minutes of training in "
        f"{result['settings']['precision']} on {result['device']}; TensorFlow "
        f"{versions['tensorflow']}, Keras {versions['keras']}. Weights: "
        f"`experiments/weights/{result['weights']['file']}`, "
        f"{_precision(result['weights']['bits'])}."
    )


def _precision(bits):
    return {16: "float16", 8: "8-bit integers with a scale a channel"}[bits]


def main():
    results = load_results()
    text = filled(README.read_text(), results)
    visualization.save_figure(photo_figure(), PHOTO_FIGURE)
    visualization.save_figure(cost_figure(results), COST_FIGURE)
    png = io.BytesIO()
    PIL.Image.fromarray(cutout_figure()).save(png, "PNG", optimize=True)
    files.write(CUTOUT_FIGURE, png.getvalue())
    for result in _of(results, "growth"):
        visualization.save_figure(growth_figure(result), GROWTH_FIGURE)
    for result in _of(results, "architectures"):
        visualization.save_figure(variants_figure(result), variants_figure_path(result))
    for result in _of(results, "time_to_accuracy"):
        visualization.save_figure(race_figure(result), race_figure_path(result))
    files.write(README, text.encode())


if __name__ == "__main__":
    main()
