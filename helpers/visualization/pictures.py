"""Figures of images and masks.

What the functions take (anything ``np.asarray`` does: arrays, lists, tensors), unchanged by them:

- images: (N, H, W, 3) RGB, uint8 or float, 0..255; one image is (H, W, 3).
- masks and predictions: (N, H, W, 1) or (N, H, W) integer class ids of the labelling, and ``VOID``
  where a pixel counts for nothing; one mask is (H, W, 1) or (H, W).
- labelling: ``helpers.classes.Labelling`` that names and colours the classes. Void is light grey.
- names: None, or N str to write below the images.
- N: at most 16.
"""

import numpy as np
from matplotlib.patches import Patch

from helpers.classes import VOID
from helpers.counts import dice_from_counts
from helpers.overlays import (
    VOID_COLOR,
    check_images,
    check_labels,
    first_alone,
    look_up,
    overlay,
)
from helpers.visualization import canvas

WRONG = ((176, 16, 48), "wrong")  # dark red on a lightened photo: grey shows it too


@canvas.styled
def plot_samples(images, masks, *, labelling, source, names=None):
    """One row a sample: image, mask, and one laid over the other."""
    images, masks, names = _check_batch(images, masks, labelling, names)
    overlays = [overlay(image, mask, labelling) for image, mask in zip(images, masks)]
    columns = [("Image", images, names), ("Mask", masks), ("Overlay", overlays)]
    return _picture_grid(columns, labelling, source)


@canvas.styled
def plot_predictions(
    images, masks, predictions, *, labelling, source, names=None, differences=True
):
    """One row a sample: input, ground truth, prediction with its Dice, wrong pixels.

    Dice is the single image's: the mean over the classes, and before it the first class's where
    the others are its background. A class absent from both truth and prediction scores 1. Void
    counts neither for Dice nor as wrong. ``differences=False`` leaves the wrong pixels out.
    """
    images, masks, names = _check_batch(images, masks, labelling, names)
    predictions = check_labels(predictions, "predictions", labelling, masks.shape)
    captions = []
    for truth, guess in zip(masks, predictions):
        dice = _dice(truth, guess, len(labelling))
        first = f"{labelling.names[0]} Dice {dice[0]:.2f}\n" if first_alone(labelling) else ""
        captions.append(f"{first}mean Dice {dice.mean():.2f}")
    columns = [
        ("Input", images, names),
        ("Ground truth", masks),
        ("Prediction", predictions, captions),
    ]
    if not differences:
        return _picture_grid(columns, labelling, source)
    wrong, shares = _wrong(masks, predictions)
    shares = [f"{100 * share:.1f} % of pixels" for share in shares]
    columns.append(("Wrong pixels", _mark(images, wrong), shares))
    return _picture_grid(columns, labelling, source, extra=[WRONG])


@canvas.styled
def plot_comparison(images, masks, predictions, *, labelling, source, names=None):
    """One row a sample: input, ground truth, and each model's prediction with its mean Dice, as in
    ``plot_predictions``. ``predictions``: dict of 1 to 3 entries, model name -> its N masks."""
    images, masks, names = _check_batch(images, masks, labelling, names)
    canvas.check_named(predictions, "predictions", "model name -> its predicted masks", most=3)
    columns = [("Input", images, names), ("Ground truth", masks)]
    for model, guesses in predictions.items():
        guesses = check_labels(guesses, f"predictions[{model!r}]", labelling, masks.shape)
        dice = [_dice(*pair, len(labelling)).mean() for pair in zip(masks, guesses)]
        columns.append((model, guesses, [f"mean Dice {value:.2f}" for value in dice]))
    return _picture_grid(columns, labelling, source)


@canvas.styled
def plot_border_rules(images, masks, *, labelling, source, names=None):
    """One row a sample: image, mask, and the first class against the second under each of the
    labelling's border rules, with the share of the counted pixels that is of the first class."""
    images, masks, names = _check_batch(images, masks, labelling, names)
    rules = labelling.border_rules
    canvas.check_named(rules, "labelling.border_rules", "see Labelling", most=3)
    columns = [("Image", images, names), ("Mask", masks)]
    for name, rule in rules.items():
        two = look_up(masks, rule, VOID)
        shares = (two == 0).sum(axis=(1, 2)) / np.maximum(1, (two != VOID).sum(axis=(1, 2)))
        captions = [f"{100 * share:.1f} % {labelling.names[0]}" for share in shares]
        heading = "Border ignored" if VOID in rule else f"Border as {name}"
        columns.append((heading, two, captions))
    return _picture_grid(columns, labelling, source, void="ignored")


@canvas.styled
def plot_probabilities(
    images, masks, probabilities, *, labelling, source, threshold=0.5, border=None, names=None
):
    """One row a sample: input, ground truth, the probability of the first class, and what a
    threshold makes of it, with its Dice.

    ``probabilities``: (N, H, W) floats, 0..1, drawn from white, 0, to black, 1. A pixel above the
    threshold is predicted as the first class. Dice follows the border rule named ``border``, None
    for the labelling's first; a labelling of two classes needs no rule.
    """
    images, masks, names = _check_batch(images, masks, labelling, names)
    probabilities = canvas.check_shares(probabilities, "probabilities", masks.shape)
    predicted = np.where(probabilities > threshold, 0, 1).astype(np.uint8)
    two = look_up(masks, _border_rule(labelling, border), VOID)
    dice = [f"Dice {_dice(truth, guess, 2)[0]:.2f}" for truth, guess in zip(two, predicted)]
    columns = [
        ("Input", images, names),
        ("Ground truth", masks),
        (f"Probability of {labelling.names[0]}", *_grey(probabilities)),
        (f"Above {threshold:.2f}", predicted, dice),
    ]
    return _picture_grid(columns, labelling, source)


@canvas.styled
def plot_heat(images, masks, predictions, heat, *, labelling, source, heading, names=None):
    """One row a sample: input, ground truth, prediction, and a map of a number for each pixel,
    which ``heading`` names: (N, H, W) floats, drawn from white, 0, to black, 1."""
    images, masks, names = _check_batch(images, masks, labelling, names)
    columns = [
        ("Input", images, names),
        ("Ground truth", masks),
        ("Prediction", check_labels(predictions, "predictions", labelling, masks.shape)),
        (heading, *_grey(canvas.check_shares(heat, "heat", masks.shape))),
    ]
    return _picture_grid(columns, labelling, source)


@canvas.styled
def plot_gallery(images, masks, predictions, *, labelling, source, names=None, columns=4):
    """Up to 24 samples in a grid, ``columns`` in a row: each photo, lightened, with its wrong
    pixels painted, and their share. Void is not wrong."""
    images, masks, names = _check_batch(images, masks, labelling, names, most=24)
    predictions = check_labels(predictions, "predictions", labelling, masks.shape)
    wrong, shares = _wrong(masks, predictions)
    columns = min(columns, len(images))
    rows, panel = -(-len(images) // columns), min(1.9, 10 / columns)
    captions = [
        canvas.wrap(f"{name}\n{100 * share:.0f} % wrong", panel - 0.25)
        for name, share in zip(names, shares)
    ]
    high, wide = images.shape[1:3]
    height = rows * (panel * high / wide + 0.15 + canvas.LINE * canvas.most_lines(captions)) + 1.6
    fig, axes = canvas.new_figure(rows, columns, (max(4.0, columns * panel), height), source)
    for ax, picture, caption in zip(axes.flat, _mark(images, wrong), captions):
        _show(ax, picture, caption)
    for ax in axes.flat[len(images) :]:
        ax.set_axis_off()
    _legend(fig, [WRONG])
    return fig


@canvas.styled
def plot_feature_maps(image, maps, *, source, channels=4):
    """One row a layer: the image, and the 1 to 5 channels that vary most across it, each drawn
    from its lowest value, black, to its highest, white. ``maps``: dict of 1 to 8 entries, layer
    name -> (h, w, C) float activations for that image."""
    image = check_images(image, "image", ndim=3)
    canvas.check_named(maps, "maps", "layer name -> (h, w, C) activations", most=8)
    if not 1 <= channels <= 5:
        raise ValueError(f"channels is {channels}: expected 1 to 5, which fit beside the image.")
    maps = {name: _check_map(values, name, channels) for name, values in maps.items()}
    high, wide = image.shape[:2]
    panel = 8.4 / (1 + channels)
    height = len(maps) * (panel * high / wide + 0.08 + 2 * canvas.LINE) + 0.8
    fig, axes = canvas.new_figure(len(maps), 1 + channels, (8.4, height), source)
    for row, (name, values) in zip(axes, maps.items()):
        _show(row[0], image, canvas.wrap(name, panel - 0.1))
        for ax, channel in zip(row[1:], np.argsort(-values.std(axis=(0, 1)))[:channels]):
            style = {"cmap": "gray", "extent": (0, wide, high, 0)}
            _show(ax, values[..., channel], f"channel {channel}", **style)
    return fig


def _picture_grid(columns, labelling, source, extra=(), void="void"):
    """``columns``: (heading, N pictures or masks), maybe with N captions. In the legend: the
    classes, ``void`` where a mask has any, and ``extra``, (color, label) each."""
    rows, (high, wide) = len(columns[0][1]), columns[0][1][0].shape[:2]
    width = (36 + 12 * len(columns)) / 10  # of floats, the sum could come out a pixel short
    panel = width / len(columns) - 0.1
    headings = [canvas.wrap(heading, panel) for heading, *_ in columns]
    blank = [""] * rows
    captions = [
        [canvas.wrap(text, panel) for text in (*texts, blank)[0]] for _, _, *texts in columns
    ]
    row_height = panel * high / wide + 0.08 + canvas.LINE * max(map(canvas.most_lines, captions))
    height = rows * row_height + 1.0 + canvas.LINE * canvas.most_lines(headings)
    fig, axes = canvas.new_figure(rows, len(columns), (width, height), source)
    for column, (_, pictures, *_) in enumerate(columns):
        axes[0, column].set_title(headings[column])
        if np.ndim(pictures) == 3:  # masks
            pictures = look_up(pictures, labelling.colors, VOID_COLOR)
        for ax, picture, caption in zip(axes[:, column], pictures, captions[column]):
            _show(ax, picture, caption)
    entries = [*zip(labelling.colors, labelling.names), *extra]
    if any(np.ndim(masks) == 3 and (masks == VOID).any() for _, masks, *_ in columns):
        entries.insert(len(labelling), (VOID_COLOR, void))
    _legend(fig, entries)
    return fig


def _show(ax, picture, caption, **style):
    ax.imshow(picture, **style)
    ax.set(xticks=[], yticks=[], xlabel=caption)


def _grey(values):  # -> pictures, captions
    grey = np.rint(255 * (1 - values[..., None])).astype(np.uint8).repeat(3, axis=-1)
    return grey, ["white 0, black 1"] * len(values)


def _legend(fig, entries):  # (color, label) each
    patches = [
        Patch(fc=np.divide(color, 255), ec="black", label=canvas.wrap(label, 5.0))
        for color, label in entries
    ]
    canvas.add_legend(fig, patches, columns=len(patches))


def _mark(images, wrong):
    # The photo becomes light grey, 160..255, against which the dark red stands out by itself.
    grey = images @ np.array([0.299, 0.587, 0.114])
    light = np.repeat((160 + grey * (95 / 255))[..., None], 3, axis=-1).astype(np.uint8)
    light[wrong] = WRONG[0]
    return light


def _border_rule(labelling, name):
    rules = labelling.border_rules or ({None: (0, 1)} if len(labelling) == 2 else {})
    rule = rules.get(next(iter(rules), None) if name is None else name)
    if rule is None:
        raise ValueError(
            f"border={name!r}: expected one of the labelling's border rules, {list(rules)}."
        )
    return rule


def _wrong(masks, predictions):  # (N, H, W) bool, and its share of the counted pixels, (N,)
    counted = masks != VOID
    wrong = counted & (masks != predictions)
    return wrong, wrong.sum(axis=(1, 2)) / np.maximum(1, counted.sum(axis=(1, 2)))


def _dice(truth, prediction, classes):  # two (H, W) -> (classes,)
    def pixels(labels):
        return np.bincount(labels, minlength=classes)[:classes]

    truth, prediction = truth[truth != VOID], prediction[truth != VOID]
    shared = pixels(truth[truth == prediction])
    return dice_from_counts(shared, pixels(truth) + pixels(prediction))


def _check_batch(images, masks, labelling, names, most=16):
    images = check_images(images, "images", ndim=4)
    if len(images) > most:
        raise ValueError(
            f"images has {len(images)} rows, too many for one figure: pass at most {most}, "
            f"such as images[:8]."
        )
    names = [""] * len(images) if names is None else names
    if isinstance(names, str) or len(names) != len(images):
        raise ValueError(f"names is {names!r}: give a list of {len(images)}, one for each image.")
    return images, check_labels(masks, "masks", labelling, images.shape[:3]), names


def _check_map(values, name, channels):
    values = canvas.as_array(values, f"maps[{name!r}]").astype(np.float32)
    if values.ndim != 3 or values.shape[-1] < channels or not np.isfinite(values).all():
        raise ValueError(
            f"maps[{name!r}] has shape {values.shape}: expected (h, w, C) for one image, C of "
            f"{channels} or more, all finite."
        )
    return values
