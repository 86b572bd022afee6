"""Figures: what is on them, that nothing is cut off, and that they read without colour."""

import re
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

from helpers import visualization as viz
from helpers.classes import PETS, VOID, Labelling

matplotlib.use("Agg")

SOURCE = "Oxford-IIIT Pet, official test split (3,669), 320-px copies"
LONG_SOURCE = f"{SOURCE}; " + "pets chosen by a hash of the file name, " * 6 + "W" * 150
LABELLED = {"labelling": PETS, "source": SOURCE}


def square(top, left):
    """(32, 32, 1): a 10x10 pet, a border of 2 around it, background elsewhere."""
    mask = np.ones((32, 32, 1), np.uint8)
    mask[top - 2 : top + 12, left - 2 : left + 12] = 2
    mask[top : top + 10, left : left + 10] = 0
    return mask


IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
MASKS = np.stack([square(10, 10), square(8, 15)])
SHIFTED = np.stack([square(10, 15), square(8, 15)])  # half of the first pet; all of the second
BORDER = MASKS[0, ..., 0] == 2
PROBABILITIES = np.where(MASKS[..., 0] == 0, 0.9, np.where(MASKS[..., 0] == 2, 0.5, 0.1))
NAMES = ["Abyssinian_12", "a_very_long_file_name_without_a_single_space_in_it_107"]
STREET = Labelling(
    [f"a class of a street {k}" if k % 5 else f"car {k}" for k in range(20)],
    (255 * matplotlib.colormaps["tab20"](range(20))[:, :3]).astype(int),
    void=99,
)
STREETS = np.arange(2 * 32 * 32).reshape(2, 32, 32) // 40 % 20
STREETS[:, 30:] = VOID
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
GROWTH = {
    "training batches, cache in a file": ([1000, 10_000, 100_000], [7, 49, 299], [29, 76, 170]),
    "prediction": ([300, 1000], [27, 90], [158, 160]),
}
NETWORKS = {  # close together: the names must find their places
    "U-Net": (40, 0.781, 7.8),
    "Attention U-Net": (47, 0.786, 8.2),
    "U-Net++": (52, 0.789, 9.1),
    "DeepLabV3+": (38, 0.792, 11.8),
}
INTERVALS = {
    "20 validation images, a name that takes two lines": (0.95, 0.91, 0.97),
    "test": (0.93, 0.927, 0.933),
}
DIFFERENCES = {
    "found": (0.01, 0.004, 0.013, [0.011, 0.009]),
    "not found": (-0.001, -0.002, 0.002, [-0.003, 0.001]),
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
THRESHOLDS = ([0.2, 0.5, 0.8], [0.7, 0.9, 0.8])
TRUE = (IMAGES, MASKS)
BOTH = (IMAGES, MASKS, SHIFTED)
PETS_NAMED = {"labelling": PETS, "names": NAMES}
IN_STREET = {"labelling": STREET}
FIGURES = {  # size in pixels, what a notebook prints as <Figure size ...>; function; arguments
    "samples": ((720, 730), viz.plot_samples, TRUE, PETS_NAMED),
    "predictions": ((840, 670), viz.plot_predictions, BOTH, PETS_NAMED),
    "comparison": ((960, 570), viz.plot_comparison, (*TRUE, MODELS), {"labelling": PETS}),
    "rules": ((960, 710), viz.plot_border_rules, TRUE, PETS_NAMED),
    "probabilities": ((840, 670), viz.plot_probabilities, (*TRUE, PROBABILITIES), PETS_NAMED),
    "heat": ((840, 670), viz.plot_heat, (*BOTH, PROBABILITIES), {**PETS_NAMED, "heading": "H"}),
    "gallery": ((400, 480), viz.plot_gallery, BOTH, PETS_NAMED),
    "features": ((840, 300), viz.plot_feature_maps, (IMAGES[0], MAPS), {}),
    "thresholds": ((700, 440), viz.plot_thresholds, THRESHOLDS, {"labelling": PETS}),
    "intervals": ((800, 230), viz.plot_intervals, (INTERVALS,), {}),
    "differences": ((800, 300), viz.plot_differences, (DIFFERENCES,), {"found": ["found"]}),
    "curves": ((800, 400), viz.plot_training_curves, (HISTORY,), {}),
    "four curves": ((800, 540), viz.plot_training_curves, (RUNS,), {}),
    "bars": ((750, 450), viz.plot_class_bars, ({"IoU": [0.5, 1, 0]},), {"labelling": PETS}),
    "four bars": ((750, 450), viz.plot_class_bars, (LONG_SCORES,), {"labelling": PETS}),
    "speeds": ((800, 220), viz.plot_speeds, ({"decode": 3100.4, "cache": 98000},), {}),
    "progress": ((800, 480), viz.plot_progress, (PROGRESS,), {"ylabel": "validation Dice"}),
    "growth": ((900, 520), viz.plot_growth, (GROWTH,), {}),
    "cost": ((800, 460), viz.plot_accuracy_and_time, ({"a": (1.4, 0.7), "b": (95, 0.81)},), {}),
    "cost and size": ((800, 510), viz.plot_accuracy_and_time, (NETWORKS,), {}),
    "confusion": ((650, 550), viz.plot_confusion_matrix, (COUNTS,), {"labelling": PETS}),
    "calibration": ((650, 600), viz.plot_calibration, (BINS,), {}),
    "distances": ((850, 460), viz.plot_errors_by_distance, (DISTANCES,), {}),
    "places": ((650, 560), viz.plot_places, (PLACES,), {}),
    "20 classes": ((840, 770), viz.plot_predictions, (IMAGES, STREETS, STREETS), IN_STREET),
    "20 bars": ((750, 860), viz.plot_class_bars, ({"IoU": np.linspace(0, 1, 20)},), IN_STREET),
    "20 by 20": ((1000, 1000), viz.plot_confusion_matrix, (np.eye(20) + 1,), IN_STREET),
}


def figure(name, source=SOURCE):
    _, function, arguments, settings = FIGURES[name]
    return function(*arguments, **settings, source=source)


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


def picture(fig, panel):
    return np.asarray(fig.axes[panel].images[0].get_array())


@pytest.mark.parametrize("name", FIGURES)
def test_size_is_pinned_and_texts_do_not_overlap(name):
    fig = figure(name)
    assert fig.bbox.size == pytest.approx(FIGURES[name][0])
    assert f"Data: {SOURCE}" in words(fig)
    fig.canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(fig)]
    for i, (first, box) in enumerate(boxes):
        for second, other in boxes[i + 1 :]:
            overlap = min(box.x1, other.x1) - max(box.x0, other.x0)
            overlap = min(overlap, min(box.y1, other.y1) - max(box.y0, other.y0))
            assert overlap <= 1, (first, second)


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_or_small(name):
    with matplotlib.rc_context({"font.size": 7, "axes.titlesize": 7, "legend.fontsize": 7}):
        fig = figure(name, LONG_SOURCE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where a layout does not fit
        fig.canvas.draw()
    assert fig.get_figwidth() <= 10
    assert re.sub(r"\s", "", LONG_SOURCE) in re.sub(r"\s", "", fig.get_suptitle())
    for text in texts(fig):
        box = text.get_window_extent()
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= fig.bbox.x1 and box.y1 <= fig.bbox.y1
        assert inside and text.get_fontsize() == 13, (text.get_text(), box)


def test_source_is_required_and_a_dollar_in_it_is_no_formula():
    with pytest.raises(TypeError, match="source"):
        viz.plot_samples(IMAGES, MASKS, labelling=PETS)
    for empty in ("", "  ", None):
        with pytest.raises(ValueError, match="say where the data comes from"):
            viz.plot_samples(IMAGES, MASKS, labelling=PETS, source=empty)
    title = figure("confusion", "costs $5 or $6")._suptitle
    assert title._preprocess_math(title.get_text()) == ("Data: costs $5 or $6", False)


def test_inputs_stay_as_they_are_and_other_types_do():
    images, masks = IMAGES.copy(), MASKS.copy()
    first = viz.plot_samples(images, masks, **LABELLED)
    assert np.array_equal(images, IMAGES) and np.array_equal(masks, MASKS)
    second = viz.plot_samples(IMAGES.astype("float32"), MASKS[..., 0].tolist(), **LABELLED)
    assert all(np.array_equal(picture(first, k), picture(second, k)) for k in range(6))


# Pictures


def test_overlay_outlines_the_first_class_dark_and_light():
    image = np.full((32, 32, 3), 128, np.uint8)
    drawn = viz.overlay(image, square(10, 10), PETS)
    assert drawn.dtype == np.uint8 and drawn.shape == (32, 32, 3)
    assert np.all(drawn[10, 10:20] == 0) and np.all(drawn[10:20, 10] == 0)  # the pet's edge
    assert np.all(drawn[9, 10:20] == 255) and np.all(drawn[20, 10:20] == 255)  # just outside
    assert drawn[15, 15].tolist() == [104, 77, 110]  # 0.6 x 128 + 0.4 x purple
    assert drawn[0, 0].tolist() == [90, 134, 133]  # and teal
    assert viz.overlay(image, square(10, 10), PETS, alpha=0.0)[0, 0].tolist() == [128, 128, 128]
    one_class = viz.overlay(image, np.ones((32, 32), int), PETS)
    assert len(np.unique(one_class.reshape(-1, 3), axis=0)) == 1  # no outline


def test_overlay_of_many_classes_outlines_each():
    mask = np.repeat([[3, 3, 7, 7, VOID, VOID]], 4, axis=0)
    drawn = viz.overlay(np.full((4, 6, 3), 128), mask, STREET)
    assert drawn[0, 1].tolist() == [0, 0, 0] and drawn[0, 4].tolist() == [255, 255, 255]
    assert drawn[0, 5].tolist() == [167, 167, 167]  # 0.6 x 128 + 0.4 x light grey


def test_void_is_grey_and_counts_for_nothing():
    masks = MASKS.copy()
    masks[0, :20] = VOID  # all of the first pet; what is left of the prediction is background
    fig = viz.plot_predictions(IMAGES[:1], masks[:1], np.ones((1, 32, 32), int), **LABELLED)
    assert (picture(fig, 1)[:20] == 225).all()
    assert fig.axes[2].get_xlabel() == "pet Dice 1.00\nmean Dice 0.65"  # border 0
    assert fig.axes[3].get_xlabel() == f"{100 * 2 * 14 / (12 * 32):.1f} % of pixels"
    assert "void wrong" in words(fig) and "void" not in words(figure("predictions"))
    fig = viz.plot_gallery(IMAGES[:1], masks[:1], np.ones((1, 32, 32), int), **LABELLED)
    assert "7 % wrong" in words(fig)


def test_predictions_show_dice_and_what_is_wrong():
    truth = np.ones((1, 4, 4), np.uint8)
    truth[0, 0] = 0  # 4 of pet, 12 of background, no border
    guess = truth.copy()
    guess[0, 0, :2] = 1  # pet 2 x 2 / 6 = 0.667; background 2 x 12 / 26 = 0.923; border 1
    fig = viz.plot_predictions(np.zeros((1, 4, 4, 3), np.uint8), truth, guess, **LABELLED)
    titles = ["Input", "Ground truth", "Prediction", "Wrong pixels"]
    assert [ax.get_title() for ax in fig.axes] == titles
    assert fig.axes[2].get_xlabel() == "pet Dice 0.67\nmean Dice 0.86"
    assert fig.axes[3].get_xlabel() == "12.5 % of pixels"
    red = picture(fig, 3)[(truth != guess)[0]]
    grey = picture(fig, 3)[(truth == guess)[0]]
    assert (red[:, 0] > red[:, 1]).all() and red.mean() < 0.6 * grey.min()  # grey shows it too
    assert np.array_equal(picture(fig, 1), viz.color_mask(truth[0], PETS))
    assert np.array_equal(picture(fig, 2), viz.color_mask(guess[0], PETS))
    patches = fig.legends[0].get_patches()
    assert [patch.get_label() for patch in patches] == [*PETS.names, "wrong"]
    faces = [255 * np.array(patch.get_facecolor()[:3]) for patch in patches]
    assert np.allclose(faces[:3], PETS.colors)


def test_comparison_shows_each_model_with_its_dice():
    fig = viz.plot_comparison(*TRUE, {"a": SHIFTED, "b": MASKS}, **LABELLED)
    assert [ax.get_title() for ax in fig.axes[:4]] == ["Input", "Ground truth", "a", "b"]
    border = (BORDER & (SHIFTED[0, ..., 0] == 2)).sum() / 96
    assert fig.axes[2].get_xlabel() == f"mean Dice {(50 / 100 + 758 / 828 + border) / 3:.2f}"
    assert fig.axes[3].get_xlabel() == fig.axes[6].get_xlabel() == "mean Dice 1.00"


def test_border_rules_paint_the_border_as_they_say():
    fig = viz.plot_border_rules(IMAGES, MASKS, **LABELLED)
    headings = ["Border as pet", "Border as background", "Border ignored"]
    assert [" ".join(ax.get_title().split()) for ax in fig.axes[2:5]] == headings
    for panel, color in zip((2, 3, 4), (*PETS.colors[:2], (225, 225, 225))):
        shown = picture(fig, panel)
        assert (shown[BORDER] == color).all()
        assert np.array_equal(shown[~BORDER], viz.color_mask(MASKS[0], PETS)[~BORDER])
    shares = [100 * pet / total for pet, total in ((196, 1024), (100, 1024), (100, 928))]
    assert [ax.get_xlabel() for ax in fig.axes[2:5]] == [f"{share:.1f} % pet" for share in shares]


@pytest.mark.parametrize(
    "labelling, border, dice",
    [(PETS, None, 200 / 296), (PETS, "ignore", 1), (PETS.binary, None, 1)],
)
def test_probabilities_are_drawn_dark_and_cut_at_the_threshold(labelling, border, dice):
    masks = np.where(MASKS == 2, VOID, MASKS) if len(labelling) == 2 else MASKS
    settings = {"labelling": labelling, "border": border, "threshold": 0.6, "source": SOURCE}
    fig = viz.plot_probabilities(IMAGES, masks, PROBABILITIES, **settings)
    grey, pet = picture(fig, 2), MASKS[0, ..., 0] == 0
    assert grey[pet].max() < grey[~pet].min()
    assert np.array_equal(np.all(picture(fig, 3) == PETS.colors[0], axis=-1), pet)
    assert fig.axes[3].get_xlabel() == f"Dice {dice:.2f}" and "Probability of pet" in words(fig)


def test_feature_maps_show_the_channels_that_vary_most():
    fig = viz.plot_feature_maps(IMAGES[0], MAPS, source=SOURCE, channels=3)
    assert [ax.get_xlabel() for ax in fig.axes[1:]] == ["channel 3", "channel 2", "channel 1"]
    assert np.allclose(picture(fig, 1), MAPS["block_1_expand_relu"][..., 3])
    assert np.array_equal(picture(fig, 0), IMAGES[0]) and "block_1_expand_relu" in words(fig)


# Charts


def test_numbers_are_written_on_the_charts():
    for name, expected in {
        "thresholds": ["best: 0.900 at 0.50", "probability of pet"],
        "intervals": ["0.950", "0.930", "20 validation images"],
        "curves": ["Loss", "Mean Dice", "best epoch 2, 0.620"],
        "bars": ["0.50", "1.00", "0.00", "IoU", *PETS.names],
        "20 bars": ["0.05", "0.95", "1.00", *STREET.names],
        "speeds": ["decode", "3,100", "98,000", "images a second"],
        "progress": ["The tutorial: 0.700 after 185 s", "validation Dice"],
        "cost": ["b 0.810", "minutes of training"],
        "cost and size": ["Attention U-Net 0.786", "5 million 10 million"],
        "distances": ["80 %", "64 and more"],
    }.items():
        drawn = words(figure(name))
        assert all(text in drawn for text in expected), (name, drawn)


def test_points_and_lines_lie_where_their_numbers_say():
    def lines(name):
        return [line.get_xydata().tolist() for line in figure(name).axes[-1].get_lines()]

    assert lines("thresholds")[1] == [[0.5, 0.9]]
    assert lines("curves")[2] == [[2, 0.62]]  # the best epoch
    assert lines("progress")[1] == [[30, 0.7], [61, 0.75]]
    assert lines("calibration") == [[[0, 0], [1, 1]], [[0.55, 0.5], [0.97, 0.99]]]
    (spans,) = figure("intervals").axes[0].collections
    assert spans.get_segments()[0][:, 0].tolist() == pytest.approx([0.91, 0.97])
    bars = [bar.get_height() for bar in figure("distances").axes[0].patches]
    assert bars == pytest.approx([40, 2])
    assert np.allclose(picture(figure("places"), 0), 100 * PLACES)


def test_the_area_of_a_mark_shows_the_parameters():
    fig = figure("cost and size")
    marks = fig.axes[0].collections[-1]
    assert marks.get_offsets().tolist() == [[x, y] for x, y, _ in NETWORKS.values()]
    areas = marks.get_sizes()
    assert np.allclose(areas / areas.max(), [size / 11.8 for *_, size in NETWORKS.values()])
    legend = [handle.get_sizes()[0] for handle in fig.legends[0].legend_handles]
    assert legend == pytest.approx([areas.max() * 5 / 11.8, areas.max() * 10 / 11.8])


def test_runs_and_groups_differ_without_colour():
    curves = figure("four curves").axes[0].lines[::3]
    assert len({line.get_marker() for line in curves}) == 4
    assert len({bar.get_hatch() for bar in figure("four bars").axes[0].patches}) == 4


@pytest.mark.parametrize("epochs", [1, 2, 7, 60])
def test_curves_count_whole_epochs_from_1(epochs):
    history = {"loss": [1.0] * epochs, "mean_dice": [0.5] * epochs}
    fig = viz.plot_training_curves(history, source=SOURCE)
    ticks = fig.axes[0].get_xticks().tolist()
    assert ticks[0] == 1 and ticks == [int(tick) for tick in ticks] and ticks[-1] <= epochs
    assert len(ticks) <= 6 and len(fig.axes[0].lines) == 1


def test_curves_live_with_nan():
    history = {**HISTORY, "val_mean_dice": [np.nan, 0.4, 0.3]}
    assert "best epoch 2" in words(viz.plot_training_curves(history, source=SOURCE))
    history["val_mean_dice"] = [np.nan] * 3
    assert "best" not in words(viz.plot_training_curves(history, source=SOURCE))


def test_confusion_rows_are_percent_of_the_truth():
    cells = [text.get_text() for text in figure("confusion").axes[0].texts]
    assert cells == ["90.0 %", "6.0 %", "4.0 %", "–", "–", "–", "25.0 %", "25.0 %", "50.0 %"]
    cells = [text.get_text() for text in figure("20 by 20").axes[0].texts]
    assert cells[:3] == ["10", "5", "5"]  # of 2 + 19


def test_confusion_text_stands_out():
    shares = np.linspace(0.3, 1, 20)  # from where the blue is light to where it is dark
    counts = np.diag(shares) + np.roll(np.diag(1 - shares), 1, axis=1)
    ax = viz.plot_confusion_matrix(counts, labelling=STREET, source="s").axes[0]
    for share, label in zip(shares, ax.texts[::21]):
        rgb = np.array(ax.images[0].cmap(share)[:3])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        luminance = linear @ [0.2126, 0.7152, 0.0722] + 0.05
        contrast = luminance / 0.05 if label.get_color() == "black" else 1.05 / luminance
        assert contrast >= 4.5  # WCAG's minimum for text


# Bad input


def predictions(images=IMAGES, masks=MASKS, guesses=SHIFTED, **more):
    return viz.plot_predictions(images, masks, guesses, **{**LABELLED, **more})


def chart(function, *arguments, **more):
    return lambda: function(*arguments, source=SOURCE, **more)


BAD = {
    "one image": (lambda: predictions(IMAGES[0]), r"\(32, 32, 3\): expected \(N, H, W, 3\)"),
    "scaled to 1": (lambda: predictions(IMAGES / 255), "multiply by 255"),
    "NaN": (lambda: predictions(IMAGES * np.nan), "outside 0..255"),
    "two sizes": (lambda: predictions([IMAGES[0], IMAGES[1, :9]]), "images differ in size"),
    "too many": (lambda: predictions(np.repeat(IMAGES, 9, 0)), r"18 rows.*images\[:8\]"),
    "logits": (lambda: predictions(guesses=np.ones((2, 32, 32, 3))), r"take np\.argmax"),
    "trimap": (
        lambda: predictions(masks=MASKS + 1),
        "1..3: expected 0 pet, 1 background, 2 border.* stored values; decode them: subtract 1",
    ),
    "stored void": (lambda: viz.color_mask([[3, 99]], STREET), "3..99: .* stored values; decode"),
    "another labelling": (lambda: predictions(masks=MASKS + 5), "5..7: .*Check the labelling"),
    "float mask": (lambda: predictions(masks=MASKS * 1.0), r"float64: .*astype\('uint8'\)"),
    "a name": (lambda: predictions(names="ab"), "give a list of 2"),
    "no dict": (lambda: viz.plot_comparison(*BOTH, **LABELLED), "is a ndarray: expected a dict"),
    "no rules": (
        lambda: viz.plot_border_rules(IMAGES, STREETS, labelling=STREET, source=SOURCE),
        "labelling.border_rules is a dict of 0",
    ),
    "unknown rule": (
        lambda: viz.plot_probabilities(*TRUE, PROBABILITIES, **LABELLED, border="border"),
        "border='border': expected one of .*'pet', 'background', 'ignore'",
    ),
    "percentages": (
        chart(viz.plot_heat, *BOTH, PROBABILITIES * 100, labelling=PETS, heading="h"),
        r"heat .* expected .* 0\.\.1",
    ),
    "no metric": (chart(viz.plot_training_curves, {"loss": [1], "acc": [1]}), r"1 or more.*'acc'"),
    "two scores": (chart(viz.plot_class_bars, {"a": [1, 1]}, labelling=PETS), r"expected \(3,\)"),
    "no interval": (chart(viz.plot_intervals, {"a": (0.5, 0.6, 0.7)}), "low <= value <= high"),
    "no interval around it": (
        chart(viz.plot_differences, {"a": (0.5, 0.6, 0.7, [0.5])}, found=()),
        "low <= value <= high",
    ),
    "no speed": (chart(viz.plot_speeds, {"a": 0.0}), "expected numbers above 0"),
    "seconds go back": (chart(viz.plot_progress, {"a": ([2, 1], [0, 1])}), "numbers that grow"),
    "images shrink": (chart(viz.plot_growth, {"a": ([2, 1], [1, 2], [1, 2])}), "images growing"),
    "no memory": (chart(viz.plot_growth, {"a": ([1, 2], [1, 2], [0, 2])}), "numbers above 0"),
    "fewer seconds": (chart(viz.plot_growth, {"a": ([1, 2], [1], [1, 2])}), "as many of each"),
    "sizes of some": (
        chart(viz.plot_accuracy_and_time, {"a": (1, 0.5), "b": (1, 0.5, 3)}),
        "a third number",
    ),
    "not square": (chart(viz.plot_confusion_matrix, [[1, 2]], labelling=PETS), r"\(3, 3\)"),
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
        viz.save_figure(figure("samples"), first)
    viz.save_figure(figure("samples"), second)
    data = first.read_bytes()
    assert data == (tmp_path / "second.png").read_bytes()
    assert b"Software" not in data and b"tIME" not in data
    assert plt.imread(first).shape[:2] == FIGURES["samples"][0][::-1]


def test_save_says_what_is_wrong_with_the_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="create the folder .*missing first"):
        viz.save_figure(plt.figure(), tmp_path / "missing" / "figure.png")
    with pytest.raises(ValueError, match=r"ends in \.png"):
        viz.save_figure(plt.figure(), tmp_path / "figure.jpg")


def test_a_difference_is_grey_where_none_was_found():
    fig = viz.plot_differences(DIFFERENCES, found=["found"], source="Data")
    found, _, _, not_found, *_ = (line.get_color() for line in fig.axes[0].lines)
    assert (found, not_found) == ("#0072B2", "#666666")
