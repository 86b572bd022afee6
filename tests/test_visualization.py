"""Figures: what is on them, that nothing is cut off, and that they read without colour."""

import re
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.text import Text

from helpers import visualization as viz

matplotlib.use("Agg")

SOURCE = "Oxford-IIIT Pet, official test split (3,669), 320-px copies"
LONG_SOURCE = f"{SOURCE}; " + "pets chosen by a hash of the file name, " * 6 + "W" * 150


def square(top, left):
    """(32, 32, 1): a 10x10 pet, a border of 2 around it, background elsewhere."""
    mask = np.ones((32, 32, 1), np.uint8)
    mask[top - 2 : top + 12, left - 2 : left + 12] = 2
    mask[top : top + 10, left : left + 10] = 0
    return mask


IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
MASKS = np.stack([square(10, 10), square(8, 15)])
SHIFTED = np.stack([square(10, 15), square(8, 15)])  # half of the first pet; all of the second
NAMES = ["Abyssinian_12", "a_very_long_file_name_without_a_single_space_in_it_107"]
HISTORY = {
    "loss": [1.0, 0.8, 0.7],
    "val_loss": [1.1, 0.9, 0.95],
    "mean_dice": [0.4, 0.6, 0.7],
    "val_mean_dice": [0.3, 0.62, 0.6],
    "learning_rate": [1e-3, 1e-3, 1e-4],
}
RUNS = {f"a run with a long name, number {i}": HISTORY for i in range(4)}
LONG_SCORES = {f"Dice of a model with a long name {i}": [1.0, 1.0, 0.0] for i in range(4)}
MODELS = {"U-Net with skip connections": SHIFTED, "b": MASKS, "MobileNetV2 encoder": MASKS}
# Channels 0 to 3 vary ever more.
MAPS = {"block_1_expand_relu": np.random.default_rng(1).random((16, 16, 4)) * [1, 2, 3, 4]}
PROGRESS = {
    "The tutorial": ([60, 120, 185], [0.6, 0.65, 0.7]),
    "A recipe with a long name, two epochs with the encoder frozen": ([30, 61], [0.7, 0.75]),
}
PROBABILITIES = np.where(MASKS[..., 0] == 0, 0.9, np.where(MASKS[..., 0] == 2, 0.5, 0.1))
INTERVALS = {
    "20 validation images, a name that takes two lines": (0.95, 0.91, 0.97),
    "test": (0.93, 0.927, 0.933),
}
BINS = [
    {"confidence": 0.55, "accuracy": 0.5, "share": 0.1},
    {"confidence": 0.97, "accuracy": 0.99, "share": 0.9},
]
DISTANCES = [
    {"from_px": 0, "to_px": 64, "wrong": 0.4, "share_of_errors": 0.8},
    {"from_px": 64, "to_px": None, "wrong": 0.02, "share_of_errors": 0.2},
]
PLACES = np.linspace(0, 0.2, 256).reshape(16, 16)
COUNTS = [[90, 6, 4], [0, 0, 0], [1, 1, 2]]

FIGURES = {
    "samples": lambda source: viz.plot_samples(IMAGES, MASKS, source=source, names=NAMES),
    "predictions": lambda source: viz.plot_predictions(
        IMAGES, MASKS, SHIFTED, source=source, names=NAMES
    ),
    "hero": lambda source: viz.plot_predictions(
        IMAGES, MASKS, SHIFTED, source=source, differences=False
    ),
    "comparison": lambda source: viz.plot_comparison(IMAGES, MASKS, MODELS, source=source),
    "rules": lambda source: viz.plot_border_rules(IMAGES, MASKS, source=source, names=NAMES),
    "probabilities": lambda source: viz.plot_probabilities(
        IMAGES, MASKS, PROBABILITIES, source=source, threshold=0.4
    ),
    "thresholds": lambda source: viz.plot_thresholds(
        [0.2, 0.5, 0.8], [0.7, 0.9, 0.8], source=source, ylabel="Dice on validation, border as pet"
    ),
    "intervals": lambda source: viz.plot_intervals(INTERVALS, source=source, xlabel="Dice"),
    "curves": lambda source: viz.plot_training_curves(HISTORY, source=source),
    "three curves": lambda source: viz.plot_training_curves(
        dict(list(RUNS.items())[:3]), source=source
    ),
    "four curves": lambda source: viz.plot_training_curves(RUNS, source=source),
    "bars": lambda source: viz.plot_class_bars({"IoU": [0.5, 1, 0]}, source=source),
    "speeds": lambda source: viz.plot_speeds({"decode": 3100, "cache": 98000}, source=source),
    "four bars": lambda source: viz.plot_class_bars(LONG_SCORES, source=source),
    "features": lambda source: viz.plot_feature_maps(IMAGES[0], MAPS, source=source),
    "progress": lambda source: viz.plot_progress(PROGRESS, source=source),
    "cost": lambda source: viz.plot_accuracy_and_time(
        {"a quick one": (1.4, 0.747), "a slow one": (95, 0.81)}, source=source
    ),
    "confusion": lambda source: viz.plot_confusion_matrix(COUNTS, source=source),
    "calibration": lambda source: viz.plot_calibration(BINS, source=source),
    "distances": lambda source: viz.plot_errors_by_distance(DISTANCES, source=source),
    "places": lambda source: viz.plot_places(PLACES, source=source),
    "gallery": lambda source: viz.plot_gallery(IMAGES, MASKS, SHIFTED, source=source, names=NAMES),
    "heat": lambda source: viz.plot_heat(
        IMAGES, MASKS, SHIFTED, PROBABILITIES, source=source, heading="Changed", names=NAMES
    ),
}
SIZES = {  # pixels: what a notebook prints as <Figure size ...>
    "samples": (720, 730),
    "predictions": (840, 670),
    "hero": (720, 690),
    "comparison": (960, 570),
    "rules": (960, 710),
    "probabilities": (840, 580),
    "thresholds": (700, 440),
    "intervals": (800, 230),
    "curves": (800, 400),
    "three curves": (800, 540),
    "four curves": (800, 540),
    "bars": (750, 450),
    "speeds": (800, 220),
    "four bars": (750, 450),
    "features": (840, 300),
    "progress": (800, 480),
    "cost": (800, 460),
    "confusion": (650, 550),
    "calibration": (650, 600),
    "distances": (850, 460),
    "places": (650, 560),
    "gallery": (400, 480),
    "heat": (840, 670),
}


def texts(fig):
    hidden = set()  # ticks beyond the ends of an axis have labels, which are not drawn
    for ax in fig.axes:
        for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            low, high = min(low, high), max(low, high)
            ticks = zip(axis.get_ticklocs(), axis.get_ticklabels())
            hidden |= {label for place, label in ticks if not low <= place <= high}
    return [text for text in fig.findobj(Text) if text.get_text().strip() and text not in hidden]


def words(fig):
    """All text on the figure as one string, line breaks as spaces."""
    return " ".join(" ".join(text.get_text().split()) for text in texts(fig))


@pytest.mark.parametrize("name", FIGURES)
def test_size_is_pinned_and_source_is_printed(name):
    fig = FIGURES[name](SOURCE)
    assert isinstance(fig, plt.Figure)
    for drawn in (fig, FIGURES[name]("drawn pets")):
        assert drawn.bbox.size == pytest.approx(SIZES[name])
    assert f"Data: {SOURCE}" in words(fig)


@pytest.mark.parametrize("source", [SOURCE, LONG_SOURCE], ids=["short", "long"])
@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_or_small(name, source):
    fig = FIGURES[name](source)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where a layout does not fit
        fig.canvas.draw()
    assert fig.get_figwidth() <= 10
    assert re.sub(r"\s", "", source) in re.sub(r"\s", "", fig.get_suptitle())
    renderer = fig.canvas.get_renderer()
    for text in texts(fig):
        box = text.get_window_extent(renderer)
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= fig.bbox.x1 and box.y1 <= fig.bbox.y1
        assert inside, (text.get_text(), box)
        assert text.get_fontsize() >= 12, text.get_text()


@pytest.mark.parametrize("name", FIGURES)
def test_texts_do_not_overlap(name):
    fig = FIGURES[name](SOURCE)
    fig.canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(fig)]
    for i, (first, box) in enumerate(boxes):
        for second, other in boxes[i + 1 :]:
            overlap = min(box.x1, other.x1) - max(box.x0, other.x0)
            overlap = min(overlap, min(box.y1, other.y1) - max(box.y0, other.y0))
            assert overlap <= 1, (first, second)


def test_source_is_required():
    with pytest.raises(TypeError, match="source"):
        viz.plot_samples(IMAGES, MASKS)
    for empty in ("", "  ", None):
        with pytest.raises(ValueError, match="say where the data comes from"):
            viz.plot_samples(IMAGES, MASKS, source=empty)


def test_a_dollar_is_no_formula():
    fig = viz.plot_confusion_matrix(COUNTS, source="costs $5 or $6")
    fig.canvas.draw()
    drawn, is_formula = fig._suptitle._preprocess_math(fig.get_suptitle())
    assert (drawn, is_formula) == ("Data: costs $5 or $6", False)


def test_inputs_stay_as_they_are_and_other_types_do():
    images, masks = IMAGES.copy(), MASKS.copy()
    first = viz.plot_predictions(images, masks, SHIFTED, source=SOURCE)
    assert np.array_equal(images, IMAGES) and np.array_equal(masks, MASKS)
    second = viz.plot_predictions(
        IMAGES.astype("float32"), MASKS[..., 0].tolist(), SHIFTED.astype("int64"), source=SOURCE
    )
    for ax, other in zip(first.axes, second.axes):
        assert np.array_equal(ax.images[0].get_array(), other.images[0].get_array())
    image, mask = IMAGES[0].copy(), MASKS[0].copy()
    viz.overlay(image, mask)
    assert np.array_equal(image, IMAGES[0]) and np.array_equal(mask, MASKS[0])


# Colours


def test_color_mask_is_viridis():
    colors = viz.color_mask([[0, 1, 2]])
    assert colors.dtype == np.uint8 and colors.shape == (1, 3, 3)
    assert colors[0].tolist() == [[68, 1, 84], [32, 144, 140], [253, 231, 36]]
    viridis = 255 * colormaps["viridis"]([0.0, 0.5, 1.0])[:, :3]
    assert np.abs(colors[0] - viridis).max() <= 1
    assert np.array_equal(viz.color_mask(MASKS[0]), viz.color_mask(MASKS[0, ..., 0]))


# Viénot, Brettel and Mollon (1999): how linear RGB looks without red or without green cones.
VISIONS = {
    "usual": np.eye(3),
    "protanopia": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deuteranopia": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}


def lightness(color, vision):
    """Perceived lightness, 0..1 (CIE L* / 100), of an RGB colour 0..255."""
    rgb = np.asarray(color) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = np.clip(np.asarray(vision) @ linear, 0, 1) @ [0.2126, 0.7152, 0.0722]
    return 1.16 * np.cbrt(luminance) - 0.16


@pytest.mark.parametrize("vision", VISIONS)
def test_classes_and_errors_differ_in_lightness(vision):
    pet, background, border = (lightness(c, VISIONS[vision]) for c in viz.CLASS_COLORS)
    assert pet + 0.2 < background < border - 0.2
    darkest_photo = viz._mark(np.zeros((1, 1, 1, 3), np.uint8), np.zeros((1, 1, 1), bool))[0, 0, 0]
    gap = lightness(darkest_photo, VISIONS[vision]) - lightness(viz.ERROR_COLOR, VISIONS[vision])
    assert gap > 0.2


def test_classes_differ_in_a_grey_print():
    pet, background, border = np.array(viz.CLASS_COLORS) @ [0.299, 0.587, 0.114] / 255
    assert pet + 0.2 < background < border - 0.2


def test_overlay_outlines_the_pet_dark_and_light():
    image = np.full((32, 32, 3), 128, np.uint8)
    drawn = viz.overlay(image, square(10, 10))
    assert drawn.dtype == np.uint8 and drawn.shape == (32, 32, 3)
    assert np.all(drawn[10, 10:20] == 0) and np.all(drawn[10:20, 10] == 0)  # the pet's edge
    assert np.all(drawn[9, 10:20] == 255) and np.all(drawn[20, 10:20] == 255)  # just outside
    assert drawn[15, 15].tolist() == [104, 77, 110]  # 0.6 x 128 + 0.4 x purple
    assert drawn[0, 0].tolist() == [90, 134, 133]  # and teal
    assert viz.overlay(image, square(10, 10), alpha=0.0)[0, 0].tolist() == [128, 128, 128]


def test_overlay_of_a_mask_without_edges_draws_no_outline():
    image = np.full((8, 8, 3), 100, np.uint8)
    for label in (0, 1):
        drawn = viz.overlay(image, np.full((8, 8), label))
        assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize("percent", range(0, 101, 5))
def test_confusion_text_stands_out(percent):
    fig = viz.plot_confusion_matrix(
        [[percent, 100 - percent], [1, 1]], source="s", class_names="ab"
    )
    cell, label = fig.axes[0].images[0], fig.axes[0].texts[0]
    rgb = np.array(cell.cmap(cell.norm(percent))[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    contrast = (
        (luminance + 0.05) / 0.05 if label.get_color() == "black" else 1.05 / (luminance + 0.05)
    )
    assert contrast >= 4.5  # WCAG's minimum for text


# Contents


def test_dice_by_hand():
    # First image: pets of 100 pixels share 50: 2 x 50 / 200 = 0.5. The squares with their borders
    # have 196 and share 14 x 9 = 126: background shares 1024 - 196 - 196 + 126 = 758 of 828 each:
    # 0.915. Border: 96 each. Second image: the same mask twice.
    dice = viz._dice(MASKS[0, ..., 0], SHIFTED[0, ..., 0])
    border = (MASKS[0] == 2) & (SHIFTED[0] == 2)
    assert dice == pytest.approx([0.5, 758 / 828, border.sum() / 96])
    absent = viz._dice(np.ones((2, 2), int), np.array([[1, 1], [1, 0]]))
    assert absent == pytest.approx([0.0, 6 / 7, 1.0])


def test_predictions_captions():
    truth = np.ones((1, 4, 4), np.uint8)
    truth[0, 0] = 0  # 4 of pet, 12 of background, no border
    guess = truth.copy()
    guess[0, 0, :2] = 1  # pet 2 x 2 / 6 = 0.667; background 2 x 12 / 26 = 0.923; border 1
    images = np.zeros((1, 4, 4, 3), np.uint8)
    fig = viz.plot_predictions(images, truth, guess, source=SOURCE)
    assert [ax.get_title() for ax in fig.axes] == [
        "Input", "Ground truth", "Prediction", "Wrong pixels",
    ]  # fmt: skip
    assert fig.axes[2].get_xlabel() == "pet Dice 0.67\nmean Dice 0.86"
    assert fig.axes[3].get_xlabel() == "12.5 % of pixels"
    shown = fig.axes[3].images[0].get_array()
    wrong = np.all(shown == viz.ERROR_COLOR, axis=-1)
    assert np.array_equal(wrong, (truth != guess)[0])


def test_hero_has_three_columns_and_the_legend():
    fig = FIGURES["hero"](SOURCE)
    assert [ax.get_title() for ax in fig.axes[:3]] == ["Input", "Ground truth", "Prediction"]
    assert len(fig.axes) == 6
    assert [text.get_text() for text in fig.legends[0].get_texts()] == list(viz.CLASS_NAMES)
    faces = [255 * np.array(p.get_facecolor()[:3]) for p in fig.legends[0].get_patches()]
    assert np.allclose(faces, viz.CLASS_COLORS)
    assert np.array_equal(fig.axes[1].images[0].get_array(), viz.color_mask(MASKS[0]))
    assert np.array_equal(fig.axes[2].images[0].get_array(), viz.color_mask(SHIFTED[0]))


def test_comparison_shows_each_model_with_its_dice():
    fig = viz.plot_comparison(
        IMAGES, MASKS, {"a": SHIFTED, "b": MASKS}, source=SOURCE, names=NAMES
    )
    assert [ax.get_title() for ax in fig.axes[:4]] == ["Input", "Ground truth", "a", "b"]
    dice = viz._dice(MASKS[0, ..., 0], SHIFTED[0, ..., 0]).mean()
    assert fig.axes[2].get_xlabel() == f"mean Dice {dice:.2f}" != "mean Dice 1.00"
    assert fig.axes[3].get_xlabel() == fig.axes[6].get_xlabel() == "mean Dice 1.00"
    assert fig.axes[0].get_xlabel() == NAMES[0]


def test_border_rules_paint_the_border_as_they_say():
    fig = viz.plot_border_rules(IMAGES, MASKS, source=SOURCE)
    headings = ["Border as pet", "Border as background", "Border ignored"]
    assert [" ".join(ax.get_title().split()) for ax in fig.axes[2:5]] == headings
    border = MASKS[0, ..., 0] == 2
    for ax, color in zip(fig.axes[2:5], (*viz.CLASS_COLORS[:2], viz.IGNORED_COLOR)):
        shown = np.asarray(ax.images[0].get_array())
        assert (shown[border] == color).all()
        assert np.array_equal(shown[~border], viz.color_mask(MASKS[0])[~border])
    shares = [100 * pet / total for pet, total in ((196, 1024), (100, 1024), (100, 928))]
    assert [ax.get_xlabel() for ax in fig.axes[2:5]] == [f"{share:.1f} % pet" for share in shares]


def test_probabilities_are_drawn_dark_and_cut_at_the_threshold():
    fig = viz.plot_probabilities(IMAGES, MASKS, PROBABILITIES, source=SOURCE, threshold=0.6)
    grey = np.asarray(fig.axes[2].images[0].get_array())
    assert grey[MASKS[0, ..., 0] == 0].max() < grey[MASKS[0, ..., 0] == 1].min()
    pet = np.all(fig.axes[3].images[0].get_array() == viz.CLASS_COLORS[0], axis=-1)
    assert np.array_equal(pet, MASKS[0, ..., 0] == 0)
    assert fig.axes[3].get_xlabel() == f"Dice {2 * 100 / (100 + 196):.2f}"


def test_the_best_threshold_is_starred():
    fig = viz.plot_thresholds([0.2, 0.5, 0.8], [0.7, 0.9, 0.8], source=SOURCE)
    assert fig.axes[0].lines[1].get_xydata().tolist() == [[0.5, 0.9]]
    assert "best: 0.900 at 0.50" in words(fig)


def test_a_gallery_paints_what_is_wrong():
    seven = [np.concatenate([part] * 4)[:7] for part in (IMAGES, MASKS, SHIFTED)]
    fig = viz.plot_gallery(*seven, source=SOURCE)
    drawn = [ax.images[0].get_array() for ax in fig.axes if ax.images]
    assert len(fig.axes) == 8 and len(drawn) == 7
    wrong = (seven[1] != seven[2])[0, ..., 0]
    assert (drawn[0][wrong] == viz.ERROR_COLOR).all() and "0 % wrong" in words(fig)


def test_accuracy_and_time_has_a_dot_for_each_network():
    fig = viz.plot_accuracy_and_time({"a": (1.4, 0.747), "b": (95, 0.81)}, source=SOURCE)
    assert fig.axes[0].collections[0].get_offsets().tolist() == [[1.4, 0.747], [95, 0.81]]
    assert fig.axes[0].get_xscale() == "log" and "b 0.810" in words(fig)
    with pytest.raises(ValueError, match="minutes above 0"):
        viz.plot_accuracy_and_time({"a": (0, 0.5)}, source=SOURCE)


def test_calibration_and_distances_show_their_numbers():
    fig = viz.plot_calibration(BINS, source=SOURCE)
    diagonal, line = fig.axes[0].lines
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert line.get_xydata().tolist() == [[0.55, 0.5], [0.97, 0.99]]
    fig = viz.plot_errors_by_distance(DISTANCES, source=SOURCE)
    assert [bar.get_height() for bar in fig.axes[0].patches] == pytest.approx([40, 2])
    assert "80 %" in words(fig) and "64 and more" in words(fig)
    image = viz.plot_places(PLACES, source=SOURCE).axes[0].images[0]
    assert np.allclose(image.get_array(), 100 * PLACES)
    with pytest.raises(ValueError, match=r"heat has shape .* expected"):
        viz.plot_heat(IMAGES, MASKS, MASKS, PROBABILITIES + 1, source=SOURCE, heading="h")


def test_intervals_are_drawn_in_their_order():
    fig = viz.plot_intervals(INTERVALS, source=SOURCE)
    (segments,) = [lines.get_segments() for lines in fig.axes[0].collections]
    spans = [segment[:, 0].tolist() for segment in segments]
    assert spans == [pytest.approx(list(triple[1:])) for triple in INTERVALS.values()]
    top, bottom = fig.axes[0].get_ylim()[::-1]
    assert top < 0 < 1 < bottom and "0.950" in words(fig)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: viz.plot_probabilities(IMAGES, MASKS, PROBABILITIES + 1, source="s"), r"0\.\.1"),
        (lambda: viz.plot_probabilities(IMAGES, MASKS, PROBABILITIES[:1], source="s"), "expected"),
        (lambda: viz.plot_thresholds([0.5, 0.2], [1, 1], source="s"), "growing"),
        (lambda: viz.plot_intervals({"a": (0.5, 0.6, 0.7)}, source="s"), "low <= value <= high"),
        (lambda: viz.plot_intervals({"a": (50, 40, 60)}, source="s"), "divide percentages"),
    ],
)
def test_what_is_no_probability_and_no_interval_is_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_curves_mark_the_best_validation_epoch():
    fig = viz.plot_training_curves(HISTORY, source=SOURCE)
    loss, metric = fig.axes
    assert (loss.get_title(), metric.get_title()) == ("Loss", "Mean Dice")
    training, validation, star = metric.lines
    assert training.get_xdata().tolist() == [1, 2, 3]
    assert list(training.get_ydata()) == HISTORY["mean_dice"]
    assert list(validation.get_ydata()) == HISTORY["val_mean_dice"]
    assert (training.get_linestyle(), validation.get_linestyle()) == ("-", "--")
    assert star.get_xydata().tolist() == [[2, 0.62]]
    assert loss.lines[2].get_xydata().tolist() == [[2, 0.9]]
    assert "best epoch 2, 0.620" in words(fig)


@pytest.mark.parametrize("epochs", [1, 2, 7, 60])
def test_curves_count_whole_epochs_from_1(epochs):
    history = {"loss": [1.0] * epochs, "mean_dice": [0.5] * epochs}
    fig = viz.plot_training_curves(history, source=SOURCE)
    ticks = fig.axes[0].get_xticks().tolist()
    assert ticks[0] == 1 and ticks == [int(tick) for tick in ticks] and ticks[-1] <= epochs
    assert len(ticks) <= 6 and len(fig.axes[0].lines) == 1


def test_curves_of_runs_differ_in_marker():
    fig = viz.plot_training_curves({"with": HISTORY, "without": HISTORY}, source=SOURCE)
    assert len({line.get_marker() for line in fig.axes[0].lines[::3]}) == 2
    assert "with: training" in words(fig) and "without: validation" in words(fig)


def test_curves_live_with_nan():
    history = {**HISTORY, "val_mean_dice": [np.nan, 0.4, 0.3]}
    assert "best epoch 2" in words(viz.plot_training_curves(history, source=SOURCE))
    history["val_mean_dice"] = [np.nan] * 3
    assert "best" not in words(viz.plot_training_curves(history, source=SOURCE))


def test_bars_have_their_values():
    fig = viz.plot_class_bars({"IoU": [0.875, 0.93, 0.5], "Dice": [1, 0.96, 0]}, source=SOURCE)
    assert [bar.get_height() for bar in fig.axes[0].patches] == [0.875, 0.93, 0.5, 1, 0.96, 0]
    for value in ("0.93", "0.50", "1.00", "0.96", "0.00", "IoU", "Dice", *viz.CLASS_NAMES):
        assert value in words(fig)
    assert len({bar.get_hatch() for bar in fig.axes[0].patches}) == 2


def test_speeds_are_bars_in_the_given_order():
    fig = viz.plot_speeds({"decode": 3100.4, "cache": 98000}, source=SOURCE)
    assert [bar.get_width() for bar in fig.axes[0].patches] == [3100.4, 98000]
    for text in ("decode", "cache", "3,100", "98,000", "images a second"):
        assert text in words(fig)
    assert fig.axes[0].yaxis_inverted()  # the first one on top


def test_feature_maps_show_the_channels_that_vary_most():
    fig = viz.plot_feature_maps(IMAGES[0], MAPS, source=SOURCE, channels=3)
    assert [ax.get_xlabel() for ax in fig.axes[1:]] == ["channel 3", "channel 2", "channel 1"]
    shown = fig.axes[1].images[0]
    assert np.allclose(shown.get_array(), MAPS["block_1_expand_relu"][..., 3])
    assert shown.norm.vmin == shown.get_array().min()
    assert np.array_equal(fig.axes[0].images[0].get_array(), IMAGES[0])
    assert "block_1_expand_relu" in words(fig)


def test_progress_draws_every_score_against_its_seconds():
    fig = viz.plot_progress(PROGRESS, source=SOURCE, ylabel="validation Dice")
    lines = fig.axes[0].get_lines()
    for line, (seconds, scores) in zip(lines, PROGRESS.values(), strict=True):
        assert line.get_xdata().tolist() == seconds and line.get_ydata().tolist() == scores
    assert "The tutorial: 0.700 after 185 s" in words(fig)
    assert fig.axes[0].get_ylabel() == "validation Dice" and fig.axes[0].get_xlim()[0] == 0


def test_confusion_rows_are_percent_of_the_truth():
    fig = viz.plot_confusion_matrix(COUNTS, source=SOURCE)
    cells = [text.get_text() for text in fig.axes[0].texts]
    assert cells == ["90.0 %", "6.0 %", "4.0 %", "–", "–", "–", "25.0 %", "25.0 %", "50.0 %"]
    assert fig.axes[0].get_xlabel() == "predicted" and "truth" in fig.axes[0].get_ylabel()


# Bad input: (function and arguments, what the message says came, what it says to do)


def predictions(images=IMAGES, masks=MASKS, guesses=SHIFTED, **more):
    return viz.plot_predictions(images, masks, guesses, source=SOURCE, **more)


def curves(history, **more):
    return viz.plot_training_curves(history, source=SOURCE, **more)


BAD = {
    "one image": (lambda: predictions(IMAGES[0]), r"\(32, 32, 3\): expected \(N, H, W, 3\)"),
    "grey": (lambda: predictions(IMAGES[..., :1]), r"\(2, 32, 32, 1\): expected \(N, H, W, 3\)"),
    "scaled to 1": (lambda: predictions(IMAGES / 255), "multiply by 255"),
    "scaled to -1": (lambda: predictions(IMAGES / 127.5 - 1), "outside 0..255: undo"),
    "above 255": (lambda: predictions(IMAGES * 0.0 + 256), "outside 0..255"),
    "NaN": (lambda: predictions(IMAGES * np.nan), "outside 0..255"),
    "no images": (lambda: predictions(IMAGES[:0]), "pass at least one"),
    "two sizes": (lambda: predictions([IMAGES[0], IMAGES[1, :9]]), "images differ .* resize"),
    "too many": (lambda: predictions(np.repeat(IMAGES, 9, 0)), r"18 rows.*images\[:8\]"),
    "fewer masks": (
        lambda: predictions(masks=MASKS[:1]),
        r"masks .*\(1, 32, 32, 1\): expected \(2",
    ),
    "fewer guesses": (lambda: predictions(guesses=SHIFTED[:1]), r"predictions has shape \(1, 32"),
    "logits": (lambda: predictions(guesses=np.ones((2, 32, 32, 3))), r"take np\.argmax"),
    "trimap": (lambda: predictions(masks=MASKS + 1), "class ids 1..3: .*subtract 1"),
    "negative": (lambda: viz.color_mask([[-1, 0]]), "mask has class ids -1..0"),
    "float mask": (
        lambda: predictions(masks=MASKS * 1.0),
        r"masks is float64: .*astype\('uint8'\)",
    ),
    "bool mask": (lambda: viz.color_mask([[True]]), "mask is bool"),
    "batch of masks": (lambda: viz.color_mask(MASKS), r"\(2, 32, 32, 1\): expected \(H, W\)"),
    "overlay sizes": (lambda: viz.overlay(IMAGES[0], MASKS[0, :9]), r"expected \(32, 32\)"),
    "alpha": (lambda: viz.overlay(IMAGES[0], MASKS[0], 40), "alpha is 40"),
    "names": (lambda: predictions(names=["a"]), "give a list of 2"),
    "a name": (lambda: predictions(names="ab"), "give a list of 2"),
    "no dict": (
        lambda: viz.plot_comparison(IMAGES, MASKS, SHIFTED, source=SOURCE),
        "predictions is a ndarray: expected a dict of 1 to 3, model name",
    ),
    "four models": (
        lambda: viz.plot_comparison(IMAGES, MASKS, dict.fromkeys("abcd", MASKS), source=SOURCE),
        "dict of 4: expected a dict of 1 to 3",
    ),
    "no history": (lambda: curves({}), "history is a dict of 0: expected"),
    "History object": (lambda: curves(object()), r"history is a object: .*model\.fit"),
    "no epochs": (lambda: curves({"loss": [], "mean_dice": []}), "1 or more"),
    "no metric": (lambda: curves({"loss": [1], "acc": [1]}), r"lacks 'mean_dice'.*'acc'"),
    "half validated": (lambda: curves({**HISTORY, "val_loss": [1]}), r"\[3, 3, 1, 3\] epochs"),
    "five runs": (lambda: curves(dict.fromkeys("abcde", HISTORY)), "dict of 5: .* 1 to 4"),
    "percent": (
        lambda: viz.plot_class_bars({"IoU": [88, 93, 55]}, source=SOURCE),
        "three values in 0..1.*divide percentages by 100",
    ),
    "two classes": (lambda: viz.plot_class_bars({"IoU": [1, 1]}, source=SOURCE), "three values"),
    "no speed": (lambda: viz.plot_speeds({"a": 0.0}, source=SOURCE), "expected numbers above 0"),
    "too few channels": (
        lambda: viz.plot_feature_maps(IMAGES[0], MAPS, source=SOURCE, channels=5),
        r"\(16, 16, 4\): expected \(h, w, C\) for one image, C of 5 or more",
    ),
    "too many channels": (
        lambda: viz.plot_feature_maps(IMAGES[0], MAPS, source=SOURCE, channels=6),
        "expected 1 to 5",
    ),
    "seconds go back": (
        lambda: viz.plot_progress({"a": ([2, 1], [0, 1])}, source=SOURCE),
        "seconds growing",
    ),
    "percent against time": (
        lambda: viz.plot_progress({"a": ([1, 2], [50, 60])}, source=SOURCE),
        "divide percentages by 100",
    ),
    "not square": (
        lambda: viz.plot_confusion_matrix([[1, 2]], source=SOURCE),
        r"\(1, 2\).*\(3, 3\)",
    ),
    "negative count": (
        lambda: viz.plot_confusion_matrix(-np.eye(3), source=SOURCE),
        "values from -1.0: expected pixel counts",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_explained(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()
    assert not plt.get_fignums()  # checked before anything is drawn


# Files


def test_save_writes_the_same_bytes_in_the_pinned_size(tmp_path):
    first, second = tmp_path / "first.png", str(tmp_path / "second.png")
    with matplotlib.rc_context({"savefig.bbox": "tight", "savefig.dpi": 300}):
        viz.save_figure(FIGURES["hero"](SOURCE), first)
    viz.save_figure(FIGURES["hero"](SOURCE), second)
    data = first.read_bytes()
    assert data == (tmp_path / "second.png").read_bytes()
    assert b"Software" not in data and b"tIME" not in data
    assert plt.imread(first).shape[:2] == SIZES["hero"][::-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.png", "second.png"]


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match=r"figure\.png was not written .*No space left"):
        viz.save_figure(plt.figure(), path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["figure.png"]


def test_save_says_what_is_wrong_with_the_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="create the folder .*missing first"):
        viz.save_figure(plt.figure(), tmp_path / "missing" / "figure.png")
    with pytest.raises(ValueError, match=r"ends in \.png"):
        viz.save_figure(plt.figure(), tmp_path / "figure.jpg")
