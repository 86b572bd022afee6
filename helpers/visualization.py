"""Figures: arrays in, a matplotlib ``Figure`` out. Nothing is shown, predicted or saved on the way.

Shapes and ranges, the same for every function here:

- images: (N, H, W, 3), RGB, uint8 or float, 0..255; one image is (H, W, 3).
- masks and predictions: (N, H, W, 1) or (N, H, W), integer class ids: 0 pet, 1 background,
  2 border; one mask is (H, W, 1) or (H, W).
- anything that ``np.asarray`` takes will do: NumPy arrays, lists, tensors.

``source`` says where the data comes from. It has no default and is printed on the figure, so that
a score on drawn pets is never taken for one on photographs.

Sizes are pinned for a given number of panels. Text is 12 points or more on figures of at most 10
inches: still legible on a phone. A script that draws many figures calls ``plt.close(fig)``.
"""

import io
import os
import pathlib
import textwrap

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch

CLASS_NAMES = ("pet", "background", "border")
# Viridis at 0, 0.5 and 1: purple, teal, yellow. Dark, medium, light: they hold up in grey too.
CLASS_COLORS = ((68, 1, 84), (32, 144, 140), (253, 231, 36))
ERROR_COLOR = (176, 16, 48)  # dark red; it is drawn on a lightened photo, so grey shows it too
RUN_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#000000", "^"), ("#009E73", "D"))
STAR = {"marker": "*", "markersize": 17, "markeredgecolor": "black", "linestyle": "none"}
BAR_STYLES = (("#0072B2", ""), ("#E8B25A", "//"), ("#555555", ".."), ("#DDDDDD", "xx"))

DPI = 100
FONT_SIZE = 12  # points
MAX_ROWS = 16


def color_mask(mask):
    """The mask in the class colours.

    Args:
        mask: (H, W, 1) or (H, W) integer class ids, 0..2.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: wrong shape, dtype or class ids.
    """
    return _paint(_check_labels(mask, "mask"))


def overlay(image, mask, alpha=0.4):
    """The image tinted with the class colours, the pet outlined in black and white.

    Args:
        image: (H, W, 3) uint8 or float, 0..255.
        mask: (H, W, 1) or (H, W) integer class ids, 0..2.
        alpha: strength of the tint, 0..1.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: wrong shape, dtype, range or class ids.
    """
    image = _check_images(image, "image", ndim=3)
    labels = _check_labels(mask, "mask", image.shape[:2])
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha is {alpha}: give a number from 0 (photo only) to 1 (mask only).")
    tinted = np.rint((1.0 - alpha) * image + alpha * _paint(labels)).astype(np.uint8)
    # A dark line beside a light one stands out on any photo, without colour.
    pet = labels == 0
    width = max(1, round(max(pet.shape) / 160))
    tinted[pet & _grow(~pet, width)] = 0
    tinted[~pet & _grow(pet, width)] = 255
    return tinted


def plot_samples(images, masks, *, source, names=None):
    """One row a sample: image, mask, and one laid over the other.

    Args:
        images, masks: N of each, at most 16; see the top of this module.
        source: str, where the data comes from.
        names: optional list of N str, written below the images.

    Returns:
        matplotlib Figure.

    Raises:
        ValueError: wrong shapes, dtypes, ranges or lengths.
    """
    images, masks = _check_batch(images, masks)
    overlays = [overlay(image, mask) for image, mask in zip(images, masks)]
    columns = [
        ("Image", images, _check_names(names, images)),
        ("Mask", _paint(masks), None),
        ("Overlay", overlays, None),
    ]
    return _picture_grid(columns, source)


def plot_predictions(images, masks, predictions, *, source, names=None, differences=True):
    """One row a sample: input, ground truth, prediction with its Dice, wrong pixels.

    Dice is that of the single image: for the pet, and the mean over the three classes. A class
    absent from both truth and prediction scores 1.

    Args:
        images, masks, predictions: N of each, at most 16; see the top of this module.
        source: str, where the data comes from.
        names: optional list of N str, written below the images.
        differences: False drops the fourth column.

    Returns:
        matplotlib Figure.

    Raises:
        ValueError: wrong shapes, dtypes, ranges or lengths.
    """
    images, masks = _check_batch(images, masks)
    predictions = _check_labels(predictions, "predictions", images.shape[:3])
    scores = [_dice(truth, guess) for truth, guess in zip(masks, predictions)]
    captions = [f"pet Dice {dice[0]:.2f}\nmean Dice {dice.mean():.2f}" for dice in scores]
    columns = [
        ("Input", images, _check_names(names, images)),
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
        images, masks: N of each, at most 16; see the top of this module.
        predictions: dict of 1 to 3 entries, model name -> its N predicted masks.
        source: str, where the data comes from.
        names: optional list of N str, written below the images.

    Returns:
        matplotlib Figure.

    Raises:
        ValueError: wrong shapes, dtypes, ranges or lengths.
    """
    images, masks = _check_batch(images, masks)
    _check_named(predictions, "predictions", "model name -> its predicted masks", most=3)
    columns = [
        ("Input", images, _check_names(names, images)),
        ("Ground truth", _paint(masks), None),
    ]
    for model, guesses in predictions.items():
        guesses = _check_labels(guesses, f"predictions[{model!r}]", images.shape[:3])
        dice = [_dice(truth, guess).mean() for truth, guess in zip(masks, guesses)]
        columns.append((model, _paint(guesses), [f"mean Dice {value:.2f}" for value in dice]))
    return _picture_grid(columns, source)


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

    Raises:
        ValueError: no epochs, a missing key, or lists of different lengths.
    """
    runs = _check_runs(history, metric)
    columns = 3 if len(runs) == 1 else 2
    entries = -(-3 * len(runs) // columns)  # rows of the legend
    fig, axes = _new_figure(1, 2, (8.0, 3.8 + 0.25 * entries), source)
    handles = []
    for (name, run), style in zip(runs.items(), RUN_STYLES):
        handles += _draw_run(axes[0], run, metric, name, *style)
    epochs = max(len(run["loss"]) for run in runs.values())
    for ax, key in zip(axes[0], ("loss", metric)):
        ax.set_title(_text(key.replace("_", " ").title(), 3.4), fontsize=FONT_SIZE + 1)
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

    Raises:
        ValueError: not three values in 0..1 for each name.
    """
    _check_named(scores, "scores", "name -> one score per class", most=len(BAR_STYLES))
    fig, axes = _new_figure(1, 1, (7.5, 4.5), source)
    ax, width = axes[0, 0], 0.84 / len(scores)
    for i, (name, values) in enumerate(scores.items()):
        color, hatch = BAR_STYLES[i]
        places = np.arange(3) + (i - (len(scores) - 1) / 2) * width
        values = _check_scores(values, name)
        style = {"color": color, "hatch": hatch, "edgecolor": "black"}
        bars = ax.bar(places, values, width, label=_text(name, 3.0), **style)
        ax.bar_label(bars, fmt="%.2f", fontsize=FONT_SIZE, padding=2)
    ax.set_xticks(range(3), CLASS_NAMES)
    ax.set_ylim(0, 1.1)
    ax.set_yticks(np.linspace(0, 1, 6))
    _legend(fig, ax.get_legend_handles_labels()[0], 2)
    return fig


def plot_confusion_matrix(matrix, *, source, class_names=CLASS_NAMES):
    """Of each true class, the share of its pixels that went to each predicted class.

    Args:
        matrix: (C, C) pixel counts, rows truth, columns prediction.
        source: str, where the data comes from.
        class_names: C str.

    Returns:
        matplotlib Figure. A class without pixels has dashes in its row.

    Raises:
        ValueError: not (C, C), or a negative or infinite count.
    """
    matrix = _check_matrix(matrix, class_names)
    totals = matrix.sum(axis=1, keepdims=True)
    percent = 100.0 * matrix / np.maximum(totals, 1)
    fig, axes = _new_figure(1, 1, (6.5, 5.5), source)
    ax = axes[0, 0]
    ax.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(percent):
        text = f"{value:.1f} %" if totals[row, 0] else "–"
        color = "white" if value > 50 else "black"
        ax.text(column, row, text, ha="center", va="center", color=color, fontsize=FONT_SIZE + 2)
    ax.set_xticks(range(len(class_names)), class_names, fontsize=FONT_SIZE)
    ax.set_yticks(range(len(class_names)), class_names, fontsize=FONT_SIZE)
    ax.set_xlabel("predicted", fontsize=FONT_SIZE + 1)
    ax.set_ylabel("truth (each row sums to 100 %)", fontsize=FONT_SIZE + 1)
    return fig


def class_legend(figure, extra=()):
    """Adds the legend of the class colours below the figure's panels.

    Args:
        figure: matplotlib Figure with constrained or compressed layout.
        extra: further labelled patches to list after the classes.

    Returns:
        matplotlib Legend.
    """
    patches = [_patch(color, name) for color, name in zip(CLASS_COLORS, CLASS_NAMES)]
    return _legend(figure, patches + list(extra), len(patches) + len(extra))


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
    if path.suffix.lower() != ".png":
        raise ValueError(f"Cannot save to {path}: give a file name that ends in .png.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Cannot save {path}: create the folder {path.parent} first.")
    png = io.BytesIO()
    with matplotlib.rc_context({"savefig.bbox": "standard"}):  # the pinned size, not a cropped one
        figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(png.getvalue())
        os.replace(partial, path)
    except OSError as error:
        raise OSError(f"Cannot save {path}: {error.strerror or error}.") from error
    finally:
        partial.unlink(missing_ok=True)


# Drawing


def _picture_grid(columns, source, extra=()):  # columns: (heading, N pictures, N captions or None)
    rows, (high, wide) = len(columns[0][1]), columns[0][1][0].shape[:2]
    width = 3.6 + 1.2 * len(columns)
    row_height = (width / len(columns) - 0.1) * high / wide + 0.5
    fig, axes = _new_figure(rows, len(columns), (width, rows * row_height + 1.5), source)
    for column, (heading, pictures, captions) in enumerate(columns):
        axes[0, column].set_title(_text(heading, width / len(columns)), fontsize=FONT_SIZE + 1)
        for row, picture in enumerate(pictures):
            ax = axes[row, column]
            ax.imshow(picture)
            ax.set(xticks=[], yticks=[])
            if captions is not None:
                caption = _text(captions[row], width / len(columns))
                ax.set_xlabel(caption, fontsize=FONT_SIZE)
    class_legend(fig, extra)
    return fig


def _new_figure(rows, columns, size, source):
    if not isinstance(source, str) or not source.strip():
        raise ValueError(
            f"source is {source!r}: say where the data comes from, for instance "
            f"'drawn pets (synthetic)'."
        )
    title = _text(f"Data: {source.strip()}", size[0])
    # Two lines fit the pinned size; only a longer source makes the figure taller.
    spare = max(0, title.count("\n") - 1) * 1.3 * FONT_SIZE / 72
    size = (size[0], round(size[1] + spare, 1))
    fig, axes = plt.subplots(
        rows, columns, figsize=size, dpi=DPI, squeeze=False, layout="constrained"
    )
    fig.suptitle(title, fontsize=FONT_SIZE)
    for ax in axes.flat:
        ax.tick_params(labelsize=FONT_SIZE)
    return fig, axes


def _text(text, inches):
    # Wrapped to the width there is; letters average 0.6 of the font size. A lone $ stays a $.
    width = max(8, int(inches * 72 / (0.6 * FONT_SIZE)))
    lines = [textwrap.fill(line, width) for line in str(text).splitlines()]
    return "\n".join(lines).replace("$", r"\$")


def _legend(fig, handles, columns):
    return fig.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=FONT_SIZE,
        frameon=False, columnspacing=1.4, handletextpad=0.5,
    )  # fmt: skip


def _patch(color, label):
    return Patch(facecolor=np.divide(color, 255), edgecolor="black", label=label)


def _draw_run(axes, run, metric, name, color, marker):  # -> legend handles
    epochs = np.arange(1, len(run["loss"]) + 1)
    every = max(1, len(epochs) // 10)  # a marker on each of 60 epochs would hide the line
    style = {"color": color, "marker": marker, "markevery": every, "markersize": 6}
    best = _best_epoch(run.get(f"val_{metric}"))
    name = f"{name}: " if name else ""
    for ax, key in zip(axes, ("loss", metric)):
        lines = ax.plot(epochs, run[key], "-", label=f"{name}training", **style)
        if f"val_{key}" in run:
            style_of_validation = {"markerfacecolor": "white", **style}
            values = run[f"val_{key}"]
            lines += ax.plot(epochs, values, "--", label=f"{name}validation", **style_of_validation)
            if best is not None:
                label = f"{name}best epoch {best + 1}, {run[f'val_{metric}'][best]:.3f}"
                lines += ax.plot(best + 1, values[best], label=label, **STAR, color=color)
    return lines


def _best_epoch(scores):  # index of the highest; None without a finite one
    if scores is None or not np.isfinite(scores).any():
        return None
    return int(np.nanargmax(scores))


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
        padded = np.pad(region, 1)
        region = (
            region | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
        )
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
    except ValueError as error:  # NumPy's words for lists of different lengths are hard to read
        raise ValueError(f"{name} are not all of one size: resize them to one first.") from error
    if array.size == 0:
        raise ValueError(f"{name} has shape {array.shape} and so nothing to draw: pass at least 1.")
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
        raise ValueError(
            f"{name} has values in 0..{images.max():.3g}, but 0..255 is expected: multiply by 255."
        )
    return np.rint(images).astype(np.uint8)


def _check_labels(labels, name, shape=None):  # -> intp, without the last axis of 1
    labels = _as_array(labels, name)
    ndim = 2 if shape is None else len(shape)
    given = labels.shape
    if labels.ndim == ndim + 1 and given[-1] == 1:
        labels = labels[..., 0]
    if labels.ndim != ndim or (shape is not None and labels.shape != shape):
        expected = ("(H, W)" if ndim == 2 else "(N, H, W)") if shape is None else tuple(shape)
        raise ValueError(
            f"{name} has shape {given}: expected {expected}, one class id per pixel of the image; "
            f"of scores per class, take np.argmax(..., axis=-1)."
        )
    if labels.dtype.kind not in "ui":
        raise ValueError(
            f"{name} is {labels.dtype}: expected integer class ids; convert with .astype('uint8')."
        )
    if labels.min() < 0 or labels.max() >= len(CLASS_NAMES):
        raise ValueError(
            f"{name} has class ids {labels.min()}..{labels.max()}: expected 0 pet, 1 background, "
            f"2 border; a trimap of 1..3 needs 1 subtracted."
        )
    return labels.astype(np.intp)


def _check_batch(images, masks):
    images = _check_images(images, "images", ndim=4)
    if len(images) > MAX_ROWS:
        raise ValueError(
            f"{len(images)} images are too many for one figure: pass at most {MAX_ROWS}, such as "
            f"images[:8]."
        )
    return images, _check_labels(masks, "masks", images.shape[:3])


def _check_names(names, images):
    if names is not None and (isinstance(names, str) or len(names) != len(images)):
        raise ValueError(f"names is {names!r}: give a list of {len(images)}, one for each image.")
    return names


def _check_named(entries, name, content, most):
    if not isinstance(entries, dict) or not 1 <= len(entries) <= most:
        count = f" of {len(entries)}" if isinstance(entries, dict) else ""
        raise ValueError(
            f"{name} is a {type(entries).__name__}{count}: expected a dict of 1 to {most}, {content}."
        )


def _check_runs(history, metric):  # -> {name: history}; a single one gets the name ""
    if isinstance(history, dict) and not any(isinstance(run, dict) for run in history.values()):
        history = {"": history} if history else {}
    _check_named(history, "history", "name -> model.fit(...).history", most=len(RUN_STYLES))
    for run in history.values():
        missing = [key for key in ("loss", metric) if key not in run]
        if missing:
            raise ValueError(f"history lacks {missing[0]!r}: it has {', '.join(run) or 'no keys'}.")
        keys = [key for key in run if key in {"loss", metric, "val_loss", f"val_{metric}"}]
        lengths = {key: len(run[key]) for key in keys}
        if len(set(lengths.values())) > 1 or not lengths["loss"]:
            raise ValueError(
                f"history has these numbers of epochs: {lengths}; expected one value per epoch for "
                f"each key, and at least one epoch."
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


def _check_matrix(matrix, class_names):
    matrix = _as_array(matrix, "matrix")
    size = len(class_names)
    if matrix.shape != (size, size):
        raise ValueError(
            f"matrix has shape {matrix.shape}: expected {(size, size)}, one row and one column per "
            f"class."
        )
    if not (np.isfinite(matrix).all() and matrix.min() >= 0):
        raise ValueError("matrix has negative or infinite entries: expected counts of pixels.")
    return matrix
