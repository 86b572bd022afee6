"""Figures: arrays in, a matplotlib ``Figure`` out. Nothing is shown, predicted or saved.

What every function takes (anything ``np.asarray`` does: arrays, lists, tensors), unchanged by it:

- images: (N, H, W, 3) RGB, uint8 or float, 0..255; one image is (H, W, 3).
- masks and predictions: (N, H, W, 1) or (N, H, W) integer class ids: 0 pet, 1 background,
  2 border; one mask is (H, W, 1) or (H, W).
- source: str that says where the data comes from. It has no default and is printed on the figure,
  so that a score on drawn pets is never taken for one on photographs.

Anything else, be it a shape, a type, a range or a length, is a ``ValueError`` that says what came
and what was expected. Sizes are pinned by the number of panels, and all text has 13 points on
at most 10 inches: legible on a phone. A script that draws many figures closes them: ``plt.close``.
"""

import io
import pathlib
import textwrap

import matplotlib
import matplotlib.pyplot as plt
import matplotlib.ticker
import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import text_to_path

from helpers import CLASS_NAMES, files

# Viridis at 0, 0.5 and 1: purple, teal, yellow. Dark, medium, light: they hold up in grey too.
CLASS_COLORS = ((68, 1, 84), (32, 144, 140), (253, 231, 36))
ERROR_COLOR = (176, 16, 48)  # dark red; it is drawn on a lightened photo, so grey shows it too
IGNORED_COLOR = (225, 225, 225)
# One run of a training, or one group of bars, after the other. Colours: Okabe and Ito's.
RUN_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#000000", "^"), ("#009E73", "D"))
BAR_STYLES = (("#0072B2", ""), ("#E69F00", "//"), ("#666666", ".."), ("#DDDDDD", "xx"))
STAR = {"marker": "*", "markersize": 17, "markeredgecolor": "black", "linestyle": "none"}

DPI = 100
FONT_SIZE = 13  # points
LINE = 1.25 * FONT_SIZE / 72  # inches
MAX_ROWS = 16


def color_mask(mask):
    """One mask in the class colours: (H, W, 3) uint8 RGB."""
    return _paint(_check_labels(mask, "mask"))


def overlay(image, mask, alpha=0.4):
    """One image tinted with the class colours, the pet outlined in black and white.

    Args:
        image, mask: one of each.
        alpha: strength of the tint, 0..1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    image = _check_images(image, "image", ndim=3)
    labels = _check_labels(mask, "mask", image.shape[:2])
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha is {alpha}: give a number from 0 (photo only) to 1 (mask only).")
    tinted = np.rint((1.0 - alpha) * image + alpha * _paint(labels)).astype(np.uint8)
    # A dark line beside a light one stands out on any photo, without colour.
    pet, width = labels == 0, max(1, round(max(labels.shape) / 160))
    tinted[pet & _grow(~pet, width)] = 0
    tinted[~pet & _grow(pet, width)] = 255
    return tinted


def plot_samples(images, masks, *, source, names=None):
    """One row a sample: image, mask, and one laid over the other.

    Args:
        images, masks: N of each, at most 16.
        source: str, where the data comes from.
        names: None, or N str to write below the images.

    Returns:
        matplotlib Figure.
    """
    images, masks = _check_batch(images, masks, names)
    overlays = [overlay(image, mask) for image, mask in zip(images, masks)]
    columns = [
        ("Image", images, names),
        ("Mask", _paint(masks), None),
        ("Overlay", overlays, None),
    ]
    return _picture_grid(columns, source)


def plot_predictions(images, masks, predictions, *, source, names=None, differences=True):
    """One row a sample: input, ground truth, prediction with its Dice, wrong pixels.

    Dice is the single image's: of the pet, and the mean of the three classes. A class absent from
    both truth and prediction scores 1.

    Args:
        images, masks, predictions: N of each, at most 16.
        source: str, where the data comes from.
        names: None, or N str to write below the images.
        differences: False leaves the wrong pixels out.

    Returns:
        matplotlib Figure.
    """
    images, masks = _check_batch(images, masks, names)
    predictions = _check_labels(predictions, "predictions", masks.shape)
    scores = [_dice(truth, guess) for truth, guess in zip(masks, predictions)]
    captions = [f"pet Dice {dice[0]:.2f}\nmean Dice {dice.mean():.2f}" for dice in scores]
    columns = [
        ("Input", images, names),
        ("Ground truth", _paint(masks), None),
        ("Prediction", _paint(predictions), captions),
    ]
    if not differences:
        return _picture_grid(columns, source)
    wrong = masks != predictions
    shares = [f"{100 * share:.1f} % of pixels" for share in wrong.mean(axis=(1, 2))]
    columns.append(("Wrong pixels", _mark(images, wrong), shares))
    return _picture_grid(columns, source, extra=[_patch(ERROR_COLOR, "wrong")])


def plot_comparison(images, masks, predictions, *, source, names=None):
    """One row a sample: input, ground truth, and each model's prediction with its mean Dice.

    Args:
        images, masks: N of each, at most 16.
        predictions: dict of 1 to 3 entries, model name -> its N predicted masks.
        source: str, where the data comes from.
        names: None, or N str to write below the images.

    Returns:
        matplotlib Figure.
    """
    images, masks = _check_batch(images, masks, names)
    _check_named(predictions, "predictions", "model name -> its predicted masks", most=3)
    columns = [("Input", images, names), ("Ground truth", _paint(masks), None)]
    for model, guesses in predictions.items():
        guesses = _check_labels(guesses, f"predictions[{model!r}]", masks.shape)
        dice = [_dice(truth, guess).mean() for truth, guess in zip(masks, guesses)]
        columns.append((model, _paint(guesses), [f"mean Dice {value:.2f}" for value in dice]))
    return _picture_grid(columns, source)


def plot_border_rules(images, masks, *, source, names=None):
    """One row a sample: image, mask, and pet against background under each border rule.

    Args:
        images, masks: N of each, at most 16.
        source: str, where the data comes from.
        names: None, or N str to write below the images.

    Returns:
        matplotlib Figure. Below each binary mask, the share of the counted pixels that is pet.
    """
    images, masks = _check_batch(images, masks, names)
    columns = [("Image", images, names), ("Mask", _paint(masks), None)]
    for rule, becomes in (("pet", 0), ("background", 1), ("ignored", 2)):
        binary = np.where(masks == 2, becomes, masks)
        colors = np.array([*CLASS_COLORS[:2], IGNORED_COLOR], np.uint8)
        shares = (binary == 0).sum(axis=(1, 2)) / np.maximum(1, (binary != 2).sum(axis=(1, 2)))
        captions = [f"{100 * share:.1f} % pet" for share in shares]
        heading = f"Border {rule}" if rule == "ignored" else f"Border as {rule}"
        columns.append((heading, colors[binary], captions))
    return _picture_grid(columns, source, extra=[_patch(IGNORED_COLOR, "ignored")])


def plot_probabilities(images, masks, probabilities, *, source, threshold=0.5, names=None):
    """One row a sample: input, ground truth, the probability of pet, and what a threshold makes
    of it, with its Dice (border as pet).

    Args:
        images, masks: N of each, at most 16.
        probabilities: (N, H, W) floats, 0..1; drawn from white, 0, to black, 1.
        source: str, where the data comes from.
        threshold: probability above which a pixel is predicted as pet.
        names: None, or N str to write below the images.

    Returns:
        matplotlib Figure.
    """
    images, masks = _check_batch(images, masks, names)
    probabilities = _as_array(probabilities, "probabilities")
    inside = probabilities.shape == masks.shape and probabilities.min() >= 0
    if not inside or probabilities.max() > 1:
        raise ValueError(
            f"probabilities has shape {probabilities.shape} and values "
            f"{probabilities.min()}..{probabilities.max()}: expected {masks.shape}, 0..1."
        )
    predicted = np.where(probabilities > threshold, 0, 1)
    two = np.where(masks == 2, 0, masks)
    dice = [_dice(truth, guess)[0] for truth, guess in zip(two, predicted)]
    grey = np.rint(255 * (1 - probabilities[..., None])).astype(np.uint8).repeat(3, axis=-1)
    columns = [
        ("Input", images, names),
        ("Ground truth", _paint(masks), None),
        ("Probability of pet", grey, ["white 0, black 1"] * len(images)),
        (f"Above {threshold:.2f}", _paint(predicted), [f"Dice {value:.2f}" for value in dice]),
    ]
    return _picture_grid(columns, source)


def plot_thresholds(thresholds, scores, *, source, ylabel="Dice"):
    """A score against the threshold that it was obtained with, the best one starred.

    Args:
        thresholds: N numbers in 0..1, growing.
        scores: N numbers in 0..1.
        source: str, where the data comes from.
        ylabel: str, what the score is.

    Returns:
        matplotlib Figure.
    """
    thresholds, scores = _check_progress((thresholds, scores), "thresholds")
    fig, axes = _new_figure(1, 1, (7.0, 4.4), source)
    ax, best = axes[0, 0], int(np.argmax(scores))
    color, marker = RUN_STYLES[0]
    ax.plot(thresholds, scores, color=color, marker=marker)
    label = f"best: {scores[best]:.3f} at {thresholds[best]:.2f}"
    ax.plot(thresholds[best], scores[best], **STAR, color=color, label=label)
    ax.set_xlim(0, 1)
    ax.grid(alpha=0.3)
    ax.set_xlabel("threshold on the probability of pet", fontsize=FONT_SIZE)
    ax.set_ylabel(_text(ylabel, 3.5), fontsize=FONT_SIZE)
    _legend(fig, ax.get_legend_handles_labels()[0], columns=1)
    return fig


def plot_intervals(scores, *, source, xlabel="score"):
    """Scores with their intervals, one below the other in the order of the dict.

    Args:
        scores: dict of 1 to 40 entries, name -> (value, low, high), each in 0..1.
        source: str, where the data comes from.
        xlabel: str, what the scores are.

    Returns:
        matplotlib Figure.
    """
    _check_named(scores, "scores", "name -> (value, low, high)", most=40)
    for name, triple in scores.items():
        value, low, high = _check_scores(triple, name)
        if not low <= value <= high:
            raise ValueError(f"scores[{name!r}] is {triple}: expected low <= value <= high.")
    fig, axes = _new_figure(1, 1, (8.0, 1.3 + 0.5 * len(scores)), source)
    ax, values = axes[0, 0], np.array(list(scores.values()), float)
    places = range(len(scores))
    color, marker = RUN_STYLES[0]
    spans = np.stack([values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]])
    ax.errorbar(values[:, 0], places, xerr=spans, color=color, fmt=marker, capsize=5)
    for place, value in zip(places, values[:, 0]):
        ax.annotate(
            f"{value:.3f}",
            (value, place),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=FONT_SIZE,
        )
    ax.set_yticks(places, [_text(name, 3.0) for name in scores])
    ax.set_ylim(len(scores) - 0.5, -0.7)  # the first one on top
    ax.margins(x=0.1)
    ax.grid(axis="x", alpha=0.3)
    ax.set_xlabel(_text(xlabel, 4.5), fontsize=FONT_SIZE)
    ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    return fig


def plot_training_curves(history, *, source, metric="mean_dice"):
    """Loss and metric by epoch: training solid, validation dashed, the best epoch starred.

    The best epoch is the one with the highest validation metric.

    Args:
        history: ``model.fit(...).history``: a dict of lists with the keys ``loss`` and ``metric``
            and, where there was validation, ``val_loss`` and ``val_<metric>``. Or up to four of
            them by name, such as ``{"with skips": ..., "without skips": ...}``.
        source: str, where the data comes from.
        metric: str, the metric's key; higher is better.

    Returns:
        matplotlib Figure.
    """
    runs = _check_runs(history, metric)
    columns = 3 if len(runs) == 1 else 2
    legend_rows = 1 if len(runs) == 1 else 3 * -(-len(runs) // 2)
    fig, axes = _new_figure(1, 2, (8.0, 3.7 + 0.28 * legend_rows), source)
    handles = []
    for (name, run), style in zip(runs.items(), RUN_STYLES):
        handles += _draw_run(axes[0], run, metric, name, *style)
    if len(runs) == 3:  # an empty fourth keeps each run's entries in one column
        handles += 3 * [Line2D([], [], linestyle="none", label=" ")]
    epochs = max(len(run["loss"]) for run in runs.values())
    for ax, key in zip(axes[0], ("loss", metric)):
        ax.set_title(_text(key.replace("_", " ").title(), 3.4), fontsize=FONT_SIZE)
        ax.set_xlabel("epoch", fontsize=FONT_SIZE)
        ax.set_xlim(0.5, epochs + 0.5)
        ax.set_xticks(range(1, epochs + 1, -(-epochs // 6)))  # whole epochs, six ticks at most
        ax.grid(alpha=0.3)
    _legend(fig, handles, columns)
    return fig


def plot_class_bars(scores, *, source):
    """Scores per class as bars, each with its value.

    Args:
        scores: dict of 1 to 4 entries, name -> three numbers in 0..1, in the order of
            ``CLASS_NAMES``; for instance ``{"IoU": iou, "Dice": dice}``.
        source: str, where the data comes from.

    Returns:
        matplotlib Figure.
    """
    _check_named(scores, "scores", "name -> one score per class", most=len(BAR_STYLES))
    scores = {name: _check_scores(values, name) for name, values in scores.items()}
    fig, axes = _new_figure(1, 1, (7.5, 4.5), source)
    ax, width = axes[0, 0], 0.86 / len(scores)
    for i, (name, values) in enumerate(scores.items()):
        color, hatch = BAR_STYLES[i]
        places = np.arange(3) + (i - (len(scores) - 1) / 2) * width
        style = {"color": color, "hatch": hatch, "edgecolor": "black", "label": _text(name, 2.8)}
        bars = ax.bar(places, values, width, **style)
        ax.bar_label(bars, fmt="%.2f", fontsize=FONT_SIZE, padding=2)
    ax.set_xticks(range(3), CLASS_NAMES)
    ax.set_ylim(0, 1.1)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.set_ylabel("score (1 is best)", fontsize=FONT_SIZE)
    _legend(fig, ax.get_legend_handles_labels()[0], columns=2)
    return fig


def plot_speeds(speeds, *, source):
    """Speeds as horizontal bars, each with its value, in the order of the dict.

    Args:
        speeds: dict of 1 to 12 entries, name -> images a second, above 0.
        source: str, where the data comes from.

    Returns:
        matplotlib Figure.
    """
    _check_named(speeds, "speeds", "name -> images a second", most=12)
    if not all(np.isfinite(value) and value > 0 for value in speeds.values()):
        raise ValueError(f"speeds holds {list(speeds.values())}: expected numbers above 0.")
    fig, axes = _new_figure(1, 1, (8.0, 1.3 + 0.45 * len(speeds)), source)
    ax = axes[0, 0]
    names = [_text(name, 3.2) for name in speeds]
    bars = ax.barh(names, list(speeds.values()), color=RUN_STYLES[0][0])
    ax.bar_label(
        bars, [f"{value:,.0f}" for value in speeds.values()], fontsize=FONT_SIZE, padding=4
    )
    ax.invert_yaxis()  # the first one on top
    ax.set_xlabel("images a second", fontsize=FONT_SIZE)
    ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.set_xlim(0, 1.18 * max(speeds.values()))  # room for the longest bar's value
    ax.spines[["top", "right"]].set_visible(False)
    return fig


def plot_feature_maps(image, maps, *, source, channels=4):
    """One row a layer: the image, and the channels that vary most across it.

    Each channel is drawn from its lowest value, black, to its highest, white.

    Args:
        image: one image.
        maps: dict of 1 to 8 entries, layer name -> (h, w, C) float activations for that image.
        source: str, where the data comes from.
        channels: int, how many a layer, 1 to 5.

    Returns:
        matplotlib Figure.
    """
    image = _check_images(image, "image", ndim=3)
    _check_named(maps, "maps", "layer name -> (h, w, C) activations", most=8)
    if not 1 <= channels <= 5:
        raise ValueError(f"channels is {channels}: expected 1 to 5, which fit beside the image.")
    maps = {name: _check_map(values, name, channels) for name, values in maps.items()}
    high, wide = image.shape[:2]
    panel = 8.4 / (1 + channels)
    row_height = panel * high / wide + 0.08 + 2 * LINE
    size = (8.4, len(maps) * row_height + 0.8)
    fig, axes = _new_figure(len(maps), 1 + channels, size, source)
    for row, (name, values) in zip(axes, maps.items()):
        row[0].imshow(image)
        row[0].set_xlabel(_text(name, panel - 0.1), fontsize=FONT_SIZE)
        for ax, channel in zip(row[1:], np.argsort(-values.std(axis=(0, 1)))[:channels]):
            ax.imshow(values[..., channel], cmap="gray", extent=(0, wide, high, 0))
            ax.set_xlabel(f"channel {channel}", fontsize=FONT_SIZE)
        for ax in row:
            ax.set(xticks=[], yticks=[])
    return fig


def plot_progress(runs, *, source, ylabel="validation mean IoU"):
    """A score against the seconds of training that it took.

    Args:
        runs: dict of 1 to 4 entries, name -> (seconds, scores): two lists of the same length,
            seconds growing, scores in 0..1.
        source: str, where the data comes from.
        ylabel: str, what the score is.

    Returns:
        matplotlib Figure.
    """
    _check_named(runs, "runs", "name -> (seconds, scores)", most=len(RUN_STYLES))
    runs = {name: _check_progress(run, name) for name, run in runs.items()}
    fig, axes = _new_figure(1, 1, (8.0, 4.2 + 0.28 * len(runs)), source)
    ax = axes[0, 0]
    for (name, (seconds, scores)), (color, marker) in zip(runs.items(), RUN_STYLES):
        label = _text(f"{name}: {scores[-1]:.3f} after {seconds[-1]:,.0f} s", 7.2)
        ax.plot(seconds, scores, color=color, marker=marker, label=label)
    ax.set_xlim(left=0)
    ax.grid(alpha=0.3)
    ax.set_xlabel("seconds of training", fontsize=FONT_SIZE)
    ax.set_ylabel(_text(ylabel, 3.5), fontsize=FONT_SIZE)
    _legend(fig, ax.get_legend_handles_labels()[0], columns=1)
    return fig


def plot_accuracy_and_time(points, *, source, ylabel="mean IoU"):
    """A score against the minutes of training that it took, one dot a network.

    Args:
        points: dict of 1 to 8 entries, name -> (minutes above 0, score in 0..1).
        source: str, where the data comes from.
        ylabel: str, what the score is.

    Returns:
        matplotlib Figure. Minutes are on a logarithmic axis.
    """
    _check_named(points, "points", "name -> (minutes, score)", most=8)
    minutes, scores = np.array(list(points.values()), float).T
    if not (minutes.min() > 0 and scores.min() >= 0 and scores.max() <= 1):
        raise ValueError(f"points holds {points}: expected minutes above 0 and scores in 0..1.")
    fig, axes = _new_figure(1, 1, (8.0, 4.6), source)
    ax, color = axes[0, 0], RUN_STYLES[0][0]
    ax.scatter(minutes, scores, s=70, color=color, zorder=3)
    middle = np.sqrt(minutes.min() * minutes.max())
    for name, (x, y) in points.items():
        left = x > middle  # the name goes where there is room
        ax.annotate(
            f"{_text(name, 3.0)}\n{y:.3f}",
            (x, y),
            xytext=(-10 if left else 10, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=FONT_SIZE,
        )
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    ax.margins(x=0.12, y=0.2)
    ax.grid(alpha=0.3)
    ax.set_xlabel("minutes of training", fontsize=FONT_SIZE)
    ax.set_ylabel(_text(ylabel, 3.5), fontsize=FONT_SIZE)
    return fig


def plot_confusion_matrix(matrix, *, source, class_names=CLASS_NAMES):
    """Of each true class, the share of its pixels that went to each predicted class.

    Args:
        matrix: (C, C) pixel counts, rows truth, columns prediction.
        source: str, where the data comes from.
        class_names: C str.

    Returns:
        matplotlib Figure. A class without pixels has dashes in its row.
    """
    matrix = _check_matrix(matrix, len(class_names))
    totals = matrix.sum(axis=1, keepdims=True)
    percent = 100.0 * matrix / np.where(totals > 0, totals, 1)
    fig, axes = _new_figure(1, 1, (6.5, 5.5), source)
    ax = axes[0, 0]
    ax.imshow(percent, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(percent):
        text = f"{value:.1f} %" if totals[row, 0] else "–"
        color = "white" if value > 71 else "black"  # there the blue is dark enough
        ax.text(column, row, text, ha="center", va="center", color=color, fontsize=FONT_SIZE)
    names = [_text(name, 1.3) for name in class_names]
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("predicted", fontsize=FONT_SIZE)
    ax.set_ylabel("truth (each row sums to 100 %)", fontsize=FONT_SIZE)
    return fig


def plot_calibration(bins, *, source):
    """How often a pixel is right, by how sure the network was of it.

    Args:
        bins: list of dicts with ``confidence``, ``accuracy`` and ``share`` of the pixels, each in
            0..1, such as ``report.report`` gives under ``calibration``.
        source: str, where the data comes from.

    Returns:
        matplotlib Figure. Above the diagonal the network is better than it believes, below it
        believes too much. A dot's area is its share of the pixels.
    """
    confidence, accuracy, share = (
        np.array([entry[key] for entry in bins], float)
        for key in ("confidence", "accuracy", "share")
    )
    fig, axes = _new_figure(1, 1, (6.5, 6.0), source)
    ax, color = axes[0, 0], RUN_STYLES[0][0]
    ax.plot([0, 1], [0, 1], color="black", linestyle="--", label="as sure as it is right")
    ax.plot(confidence, accuracy, color=color, label="network; area: share of the pixels")
    ax.scatter(confidence, accuracy, s=20 + 600 * share, color=color)
    low = 0.1 * np.floor(10 * max(0, min(confidence.min(), accuracy.min())))
    low = low - 0.03 if low else 0.0  # no tick in the corner
    ax.set(xlim=(low, 1.02), ylim=(low, 1.02))
    ax.set_xlabel("probability of the predicted class", fontsize=FONT_SIZE)
    ax.set_ylabel("share of pixels that are right", fontsize=FONT_SIZE)
    ax.grid(alpha=0.3)
    _legend(fig, ax.get_legend_handles_labels()[0], columns=1)
    return fig


def plot_errors_by_distance(rows, *, source):
    """The share of wrong pixels by their distance from the nearest change of the true class.

    Args:
        rows: list of dicts, such as ``report.report`` gives under ``errors_by_distance``.
        source: str, where the data comes from.

    Returns:
        matplotlib Figure. Above each bar: which share of all wrong pixels lies there.
    """
    names = [
        f"{row['from_px']} to {row['to_px']}" if row["to_px"] else f"{row['from_px']} and more"
        for row in rows
    ]
    fig, axes = _new_figure(1, 1, (8.5, 4.6), source)
    ax = axes[0, 0]
    bars = ax.bar(names, [100 * row["wrong"] for row in rows], color=RUN_STYLES[0][0])
    labels = [f"{100 * row['share_of_errors']:.0f} %" for row in rows]
    ax.bar_label(bars, labels, fontsize=FONT_SIZE, padding=2)
    ax.margins(y=0.15)
    ax.set_xticks(range(len(names)), [name.replace(" and", "\nand") for name in names])
    ax.set_xlabel("pixels from the nearest true change of class", fontsize=FONT_SIZE)
    ax.set_ylabel("wrong, %", fontsize=FONT_SIZE)
    ax.annotate(
        "above each bar: its share of all errors",
        (0.98, 0.95),
        xycoords="axes fraction",
        ha="right",
        va="top",
        fontsize=FONT_SIZE,
    )
    return fig


def plot_places(grid, *, source):
    """Where in the image the errors are: the share of wrong pixels by cell.

    Args:
        grid: (rows, columns) floats in 0..1, the top left of the image first.
        source: str, where the data comes from.

    Returns:
        matplotlib Figure.
    """
    grid = 100 * _as_array(grid, "grid")
    fig, axes = _new_figure(1, 1, (6.5, 5.6), source)
    ax = axes[0, 0]
    drawn = ax.imshow(grid, cmap="Greys", vmin=0)
    ax.set(xticks=[], yticks=[])
    bar = fig.colorbar(drawn, ax=ax)
    bar.set_label("wrong pixels, %", fontsize=FONT_SIZE)
    bar.ax.tick_params(labelsize=FONT_SIZE)
    return fig


def plot_heat(images, masks, predictions, heat, *, source, heading, names=None):
    """One row a sample: input, ground truth, prediction, and a map of a number for each pixel.

    Args:
        images, masks, predictions: N of each, at most 16.
        heat: (N, H, W) floats, 0..1; drawn from white, 0, to black, 1.
        source: str, where the data comes from.
        heading: str, what the map shows.
        names: None, or N str to write below the images.

    Returns:
        matplotlib Figure.
    """
    images, masks = _check_batch(images, masks, names)
    predictions = _check_labels(predictions, "predictions", masks.shape)
    heat = _as_array(heat, "heat")
    if heat.shape != masks.shape or not (heat.min() >= 0 and heat.max() <= 1):
        raise ValueError(
            f"heat has shape {heat.shape} and values {heat.min()}..{heat.max()}: expected "
            f"{masks.shape}, 0..1."
        )
    grey = np.rint(255 * (1 - heat[..., None])).astype(np.uint8).repeat(3, axis=-1)
    columns = [
        ("Input", images, names),
        ("Ground truth", _paint(masks), None),
        ("Prediction", _paint(predictions), None),
        (heading, grey, ["white 0, black 1"] * len(images)),
    ]
    return _picture_grid(columns, source)


def plot_gallery(images, masks, predictions, *, source, names=None, columns=4):
    """Many samples in a grid: each photo with its wrong pixels painted, and their share.

    Args:
        images, masks, predictions: N of each, at most 24.
        source: str, where the data comes from.
        names: None, or N str to write below the images.
        columns: int, pictures in a row.

    Returns:
        matplotlib Figure.
    """
    images, masks = _check_batch(images, masks, names, most=24)
    predictions = _check_labels(predictions, "predictions", masks.shape)
    wrong = masks != predictions
    painted = _mark(images, wrong)
    columns = min(columns, len(images))
    rows, panel = -(-len(images) // columns), 1.9
    high, wide = images.shape[1:3]
    captions = [
        _text(
            f"{'' if names is None else names[i]}\n{100 * wrong[i].mean():.0f} % wrong",
            panel - 0.25,
        )
        for i in range(len(images))
    ]
    height = rows * (panel * high / wide + 0.15 + LINE * _most_lines(captions)) + 1.6
    fig, axes = _new_figure(rows, columns, (max(4.0, columns * panel), height), source)
    for number, ax in enumerate(axes.flat):
        if number >= len(images):
            ax.set_axis_off()
            continue
        ax.imshow(painted[number])
        ax.set(xticks=[], yticks=[])
        ax.set_xlabel(captions[number], fontsize=FONT_SIZE)
    _legend(fig, [_patch(ERROR_COLOR, "wrong")], columns=1)
    return fig


def class_legend(figure, extra=()):
    """Adds the legend of the class colours below the panels of a figure in constrained layout.

    Args:
        figure: matplotlib Figure.
        extra: further labelled patches to list after the classes.

    Returns:
        matplotlib Legend.
    """
    patches = [_patch(color, name) for color, name in zip(CLASS_COLORS, CLASS_NAMES)]
    return _legend(figure, patches + list(extra), columns=len(patches) + len(extra))


def save_figure(figure, path):
    """Writes the figure as PNG: the whole file or nothing, and the same bytes every time.

    Args:
        figure: matplotlib Figure.
        path: str or path that ends in .png; its folder must exist. A file there is replaced.

    Raises:
        ValueError: the path does not end in .png.
        OSError: the folder is missing or cannot be written to; an old file then stays as it was.
    """
    path = pathlib.Path(path)
    if path.suffix != ".png":
        raise ValueError(f"Cannot save to {path}: give a file name that ends in .png.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Cannot save {path}: create the folder {path.parent} first.")
    png = io.BytesIO()
    with matplotlib.rc_context({"savefig.bbox": "standard"}):  # the pinned size, not a cropped one
        figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    files.write(path, png.getvalue())


# Drawing


def _picture_grid(columns, source, extra=()):  # columns: (heading, N pictures, N captions or None)
    rows, (high, wide) = len(columns[0][1]), columns[0][1][0].shape[:2]
    width = (36 + 12 * len(columns)) / 10  # of floats, the sum could come out a pixel short
    panel = width / len(columns) - 0.1
    headings = [_text(heading, panel) for heading, _, _ in columns]
    captions = [[_text(text, panel) for text in texts or [""] * rows] for _, _, texts in columns]
    caption_lines = max(_most_lines(texts) for texts in captions)
    row_height = panel * high / wide + 0.08 + LINE * caption_lines
    height = rows * row_height + 1.0 + LINE * _most_lines(headings)
    fig, axes = _new_figure(rows, len(columns), (width, height), source)
    for column, (_, pictures, _) in enumerate(columns):
        axes[0, column].set_title(headings[column], fontsize=FONT_SIZE)
        for row, picture in enumerate(pictures):
            ax = axes[row, column]
            ax.imshow(picture)
            ax.set(xticks=[], yticks=[])
            ax.set_xlabel(captions[column][row], fontsize=FONT_SIZE)
    class_legend(fig, extra)
    return fig


def _new_figure(rows, columns, size, source):
    if not isinstance(source, str) or not source.strip():
        raise ValueError(
            f"source is {source!r}: say where the data comes from, for instance "
            f"'drawn pets (synthetic)'."
        )
    width, height = size
    title = _text(f"Data: {source.strip()}", width - 0.3)
    # Two lines fit the pinned size; only a longer source makes the figure taller.
    height = round(height + LINE * max(0, _most_lines([title]) - 2), 1)
    fig, axes = plt.subplots(
        rows, columns, figsize=(width, height), dpi=DPI, squeeze=False, layout="constrained"
    )
    fig.suptitle(title, fontsize=FONT_SIZE)
    for ax in axes.flat:
        ax.tick_params(labelsize=FONT_SIZE)
    return fig, axes


def _text(text, inches):
    # matplotlib neither breaks long words nor wraps legends, so measure and wrap here.
    letters, font = 120, FontProperties(size=FONT_SIZE)
    while True:
        lines = [part for line in str(text).splitlines() for part in textwrap.wrap(line, letters)]
        widths = [
            text_to_path.get_text_width_height_descent(line, font, False)[0] for line in lines
        ]
        fits = 72 * inches / max(widths, default=1)
        if fits >= 1 or letters == 1:
            return "\n".join(lines).replace("$", r"\$")  # or a pair of them would start a formula
        letters = max(1, int(letters * min(fits, 0.95)))


def _most_lines(texts):
    return max(len(text.splitlines()) for text in texts)


def _legend(fig, handles, columns):
    style = {"fontsize": FONT_SIZE, "frameon": False, "columnspacing": 1.4, "handletextpad": 0.5}
    return fig.legend(handles=handles, loc="outside lower center", ncols=columns, **style)


def _patch(color, label):
    return Patch(facecolor=np.divide(color, 255), edgecolor="black", label=label)


def _draw_run(axes, run, metric, name, color, marker):  # -> legend handles
    epochs = np.arange(1, len(run["loss"]) + 1)
    every = max(1, len(epochs) // 10)  # a marker on each of 60 epochs would hide the line
    solid = {"color": color, "marker": marker, "markevery": every, "linestyle": "-"}
    dashed = {**solid, "linestyle": "--", "markerfacecolor": "white"}
    name, best = f"{name}: " if name else "", _best_epoch(run, metric)
    for ax, key in zip(axes, ("loss", metric)):
        handles = ax.plot(epochs, run[key], **solid, label=_text(f"{name}training", 3.3))
        if "val_loss" in run:
            label = _text(f"{name}validation", 3.3)
            handles += ax.plot(epochs, run[f"val_{key}"], **dashed, label=label)
        if best is not None:
            label = _text(f"{name}best epoch {best + 1}, {run[f'val_{metric}'][best]:.3f}", 3.3)
            handles += ax.plot(best + 1, run[f"val_{key}"][best], **STAR, color=color, label=label)
    return handles  # of one panel: the other's are the same


def _best_epoch(run, metric):  # its index; None without validation, or where all of it is NaN
    scores = run.get(f"val_{metric}", [np.nan])
    return int(np.nanargmax(scores)) if np.isfinite(scores).any() else None


def _paint(labels):  # (...) integer class ids -> (..., 3) uint8
    return np.array(CLASS_COLORS, np.uint8)[labels]


def _mark(images, wrong):
    # The photo becomes light grey, 160..255, against which the dark red stands out by itself.
    grey = images @ np.array([0.299, 0.587, 0.114])
    light = np.repeat((160 + grey * (95 / 255))[..., None], 3, axis=-1).astype(np.uint8)
    light[wrong] = ERROR_COLOR
    return light


def _grow(region, steps):  # (H, W) bool: the region and all within `steps` pixels of it
    for _ in range(steps):
        wide = np.pad(region, 1)
        region = region | wide[2:, 1:-1] | wide[:-2, 1:-1] | wide[1:-1, 2:] | wide[1:-1, :-2]
    return region


def _dice(truth, prediction):  # two (H, W) -> (3,); a class absent from both scores 1
    ids = np.arange(len(CLASS_NAMES))[:, None, None]
    in_truth, in_prediction = truth == ids, prediction == ids
    shared = (in_truth & in_prediction).sum(axis=(1, 2))
    total = in_truth.sum(axis=(1, 2)) + in_prediction.sum(axis=(1, 2))
    return np.where(total > 0, 2.0 * shared / np.maximum(total, 1), 1.0)


# Checks


def _as_array(values, name):
    try:
        array = np.asarray(values)
    except ValueError as error:  # NumPy's own words for this are hard to read
        raise ValueError(f"{name} differ in size among themselves: resize them first.") from error
    if array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}, nothing to draw: pass at least one.")
    return array


def _check_images(images, name, ndim):  # -> uint8
    images = _as_array(images, name)
    if images.ndim != ndim or images.shape[-1] != 3:
        expected = "(N, H, W, 3)" if ndim == 4 else "(H, W, 3)"
        raise ValueError(f"{name} has shape {images.shape}: expected {expected}, RGB.")
    if images.dtype.kind not in "uif" or not (images.min() >= 0 and images.max() <= 255):
        raise ValueError(
            f"{name} ({images.dtype}) has values outside 0..255: undo the model's scaling first."
        )
    if images.dtype.kind == "f" and 0 < images.max() <= 1:
        raise ValueError(f"{name} has values in 0..1: expected 0..255, so multiply by 255.")
    return np.rint(images).astype(np.uint8)


def _check_labels(labels, name, shape=None):  # -> intp, without a last axis of 1
    labels = _as_array(labels, name)
    given, ndim = labels.shape, 2 if shape is None else len(shape)
    if labels.ndim == ndim + 1 and given[-1] == 1:
        labels = labels[..., 0]
    if labels.ndim != ndim or labels.shape != (shape or labels.shape):
        raise ValueError(
            f"{name} has shape {given}: expected {shape or '(H, W)'}, one class id for each pixel "
            f"of the image; take np.argmax(..., axis=-1) of scores per class."
        )
    if labels.dtype.kind not in "ui":
        raise ValueError(
            f"{name} is {labels.dtype}: expected integer class ids; convert with .astype('uint8')."
        )
    if labels.min() < 0 or labels.max() >= len(CLASS_NAMES):
        raise ValueError(
            f"{name} has class ids {labels.min()}..{labels.max()}: expected 0 pet, 1 background, "
            f"2 border; subtract 1 from a trimap of 1..3."
        )
    return labels.astype(np.intp)


def _check_batch(images, masks, names, most=MAX_ROWS):
    images = _check_images(images, "images", ndim=4)
    if len(images) > most:
        raise ValueError(
            f"images has {len(images)} rows, too many for one figure: pass at most {most}, "
            f"such as images[:8]."
        )
    if names is not None and (isinstance(names, str) or len(names) != len(images)):
        raise ValueError(f"names is {names!r}: give a list of {len(images)}, one for each image.")
    return images, _check_labels(masks, "masks", images.shape[:3])


def _check_named(entries, name, content, most):
    if not isinstance(entries, dict) or not 1 <= len(entries) <= most:
        given = f"dict of {len(entries)}" if isinstance(entries, dict) else type(entries).__name__
        raise ValueError(f"{name} is a {given}: expected a dict of 1 to {most}, {content}.")


def _check_runs(history, metric):  # -> {name: history}; a single one gets the name ""
    if isinstance(history, dict) and not all(isinstance(run, dict) for run in history.values()):
        history = {"": history}
    _check_named(history, "history", "name -> model.fit(...).history", most=len(RUN_STYLES))
    for run in history.values():
        keys = ["loss", metric]
        if "val_loss" in run or f"val_{metric}" in run:
            keys += ["val_loss", f"val_{metric}"]
        missing = [key for key in keys if key not in run]
        if missing:
            raise ValueError(f"history lacks {missing[0]!r}: its keys are {list(run)}.")
        lengths = [len(run[key]) for key in keys]
        if len(set(lengths)) > 1 or lengths[0] == 0:
            raise ValueError(
                f"history has {lengths} epochs of {keys}: expected the same number, 1 or more."
            )
    return history


def _check_scores(values, name):
    values = _as_array(values, f"scores[{name!r}]")
    if values.shape != (3,) or not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"scores[{name!r}] is {values.tolist()}: expected three values in 0..1, for "
            f"{', '.join(CLASS_NAMES)}; divide percentages by 100."
        )
    return values


def _check_map(values, name, channels):
    values = _as_array(values, f"maps[{name!r}]").astype(np.float32)
    if values.ndim != 3 or values.shape[-1] < channels or not np.isfinite(values).all():
        raise ValueError(
            f"maps[{name!r}] has shape {values.shape}: expected (h, w, C) for one image, C of "
            f"{channels} or more, all finite."
        )
    return values


def _check_progress(run, name):
    seconds, scores = (_as_array(values, f"runs[{name!r}]") for values in run)
    if seconds.shape != scores.shape or seconds.ndim != 1 or (np.diff(seconds) <= 0).any():
        raise ValueError(
            f"runs[{name!r}] has {seconds.shape} seconds and {scores.shape} scores: expected two "
            f"lists of the same length, seconds growing."
        )
    if not (scores.min() >= 0 and scores.max() <= 1):
        raise ValueError(f"runs[{name!r}] has scores outside 0..1: divide percentages by 100.")
    return seconds, scores


def _check_matrix(matrix, size):
    matrix = _as_array(matrix, "matrix")
    if matrix.shape != (size, size) or not (np.isfinite(matrix).all() and matrix.min() >= 0):
        raise ValueError(
            f"matrix has shape {matrix.shape} and values from {matrix.min()}: expected pixel "
            f"counts of shape {(size, size)}, 0 or more."
        )
    return matrix
