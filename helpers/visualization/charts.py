"""Figures of numbers: scores, curves, speeds, confusion, calibration, places of errors.

Scores are in 0..1; ``source`` and what is returned are as everywhere in the package; ``ylabel``
and ``xlabel`` say what the scores are.
"""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from helpers.visualization import canvas
from helpers.visualization.canvas import wrap

# One run of a training, or one group of bars, after the other. Colours: Okabe and Ito's.
RUN_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#000000", "^"), ("#009E73", "D"))
BAR_STYLES = (("#0072B2", ""), ("#E69F00", "//"), ("#666666", ".."), ("#DDDDDD", "xx"))
BLUE = RUN_STYLES[0][0]
STAR = {"marker": "*", "markersize": 17, "markeredgecolor": "black", "linestyle": "none"}


@canvas.styled
def plot_thresholds(thresholds, scores, *, labelling, source, ylabel="Dice"):
    """A score against the threshold on the probability of the labelling's first class that it was
    obtained with, the best one starred: twice N numbers, thresholds in 0..1 and growing."""
    thresholds, scores = _check_curve((thresholds, scores), "thresholds and scores")
    fig, ax = canvas.new_chart((7.0, 4.4), source)
    best = int(np.argmax(scores))
    ax.plot(thresholds, scores, color=BLUE, marker="o")
    label = f"best: {scores[best]:.3f} at {thresholds[best]:.2f}"
    (star,) = ax.plot(thresholds[best], scores[best], **STAR, color=BLUE, label=label)
    ax.grid()
    xlabel = wrap(f"threshold on the probability of {labelling.names[0]}", 6.0)
    ax.set(xlim=(0, 1), xlabel=xlabel, ylabel=wrap(ylabel, 3.5))
    canvas.add_legend(fig, [star], columns=1)
    return fig


@canvas.styled
def plot_intervals(scores, *, source, xlabel="score"):
    """Scores with their intervals, one below the other in the order of the dict: 1 to 40 entries,
    name -> (value, low, high)."""
    canvas.check_named(scores, "scores", "name -> (value, low, high)", most=40)
    slack = 1e-5  # reports round their intervals
    for name, triple in scores.items():
        value, low, high = triple if len(triple) == 3 else 3 * [np.nan]
        if not (0 <= low <= value + slack and value - slack <= high <= 1):
            raise ValueError(
                f"scores[{name!r}] is {triple}: expected value, low and high, "
                f"0 <= low <= value <= high <= 1; divide percentages by 100."
            )
    fig, ax = canvas.new_chart((8.0, 1.3 + 0.5 * len(scores)), source)
    values, lows, highs = np.array(list(scores.values()), float).T
    places = range(len(scores))
    spans = np.maximum(0, [values - lows, highs - values])
    ax.errorbar(values, places, xerr=spans, color=BLUE, fmt="o", capsize=5)
    above = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center"}
    for place, value in zip(places, values):
        ax.annotate(f"{value:.3f}", (value, place), **above)
    ax.set_yticks(places, [wrap(name, 3.0) for name in scores])
    ax.set(ylim=(len(scores) - 0.5, -0.7), xlabel=wrap(xlabel, 4.5))  # the first one on top
    ax.margins(x=0.1)
    ax.grid(axis="x")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    return fig


@canvas.styled
def plot_differences(differences, *, found, source, xlabel="difference"):
    """Differences from a reference, which is the line at 0, with their intervals and what each
    seed gave as an open marker: 1 to 40 entries, name -> (value, low, high, values by seed), one
    below the other. Grey, but for the names in ``found``, for which a difference was found."""
    canvas.check_named(differences, "differences", "name -> (value, low, high, by seed)", most=40)
    for name, (value, low, high, _) in differences.items():
        if not low <= value <= high:
            raise ValueError(
                f"differences[{name!r}] is {value} with the interval {low} to {high}: expected "
                f"low <= value <= high."
            )
    fig, ax = canvas.new_chart((8.0, 2.0 + 0.5 * len(differences)), source)
    for place, (name, (value, low, high, by_seed)) in enumerate(differences.items()):
        color = BLUE if name in found else "#666666"
        ax.plot([low, high], [place, place], color=color, marker="|", markersize=12)
        ax.plot(value, place, "o", color=color)
        dots = {"markerfacecolor": "white", "markeredgecolor": color, "zorder": 1}
        ax.plot(by_seed, [place - 0.25] * len(by_seed), "o", markersize=5, **dots)
    ax.axvline(0, color="black", linestyle="--")
    ax.set_yticks(range(len(differences)), [wrap(name, 3.0) for name in differences])
    ax.set(ylim=(len(differences) - 0.5, -0.6), xlabel=wrap(xlabel, 4.5))  # the first one on top
    ax.grid(axis="x")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    colors = {"difference found": BLUE} if set(found) & set(differences) else {}
    colors |= {"no difference found": "#666666"} if set(differences) - set(found) else {}
    handles = [Line2D([], [], color=c, marker="o", label=name) for name, c in colors.items()]
    style = {"color": "black", "linestyle": "none", "markerfacecolor": "white"}
    handles.append(Line2D([], [], marker="o", markersize=5, label="one seed", **style))
    canvas.add_legend(fig, handles, columns=3)
    return fig


@canvas.styled
def plot_training_curves(history, *, source, metric="mean_dice"):
    """Loss and metric by epoch: training solid with filled markers, validation dashed with open
    ones, the best epoch, that of the highest validation metric, starred.

    Args:
        history: ``model.fit(...).history``: a dict of lists with the keys ``loss`` and ``metric``
            and, where there was validation, ``val_loss`` and ``val_<metric>``. Or up to four of
            them by name, such as ``{"with skips": ..., "without skips": ...}``.
        metric: str, the metric's key; higher is better.
    """
    runs = _check_runs(history, metric)
    columns = 3 if len(runs) == 1 else 2
    legend_rows = 1 if len(runs) == 1 else 3 * -(-len(runs) // 2)
    fig, axes = canvas.new_figure(1, 2, (8.0, 3.7 + 0.28 * legend_rows), source)
    handles = []
    for (name, run), style in zip(runs.items(), RUN_STYLES):
        handles += _draw_run(axes[0], run, metric, name, *style)
    if len(runs) == 3:  # an empty fourth keeps each run's entries in one column
        handles += 3 * [Line2D([], [], linestyle="none", label=" ")]
    epochs = max(len(run["loss"]) for run in runs.values())
    ticks = range(1, epochs + 1, -(-epochs // 6))  # whole epochs, six at most
    for ax, key in zip(axes[0], ("loss", metric)):
        title = wrap(key.replace("_", " ").title(), 3.4)
        ax.set(title=title, xlabel="epoch", xlim=(0.5, epochs + 0.5), xticks=ticks)
        ax.grid()
    canvas.add_legend(fig, handles, columns)
    return fig


@canvas.styled
def plot_class_bars(scores, *, labelling, source):
    """Scores per class as bars, each with its value; where these are many, one below the other.
    ``scores``: dict of 1 to 4 entries, name -> one score for each class of the labelling, for
    instance ``{"IoU": iou, "Dice": dice}``."""
    canvas.check_named(scores, "scores", "name -> one score per class", most=len(BAR_STYLES))
    for name, values in scores.items():
        canvas.check_shares(values, f"scores[{name!r}]", (len(labelling),))
    classes, groups = len(labelling), len(scores)
    upright = classes <= 5 and classes * groups <= 12
    rows = classes * (0.1 + 0.24 * groups) + 0.28 * -(-groups // 2)  # with the legend's
    height = 4.5 if upright else 1.5 + rows
    fig, ax = canvas.new_chart((7.5, height), source)
    room = 6.2 / classes if upright else 2.4  # for a class's name
    handles, width = [], 0.86 / groups
    for i, (name, values) in enumerate(scores.items()):
        color, hatch = BAR_STYLES[i]
        places = np.arange(classes) + (i - (groups - 1) / 2) * width
        style = {"color": color, "hatch": hatch, "edgecolor": "black", "label": wrap(name, 2.8)}
        handles.append((ax.bar if upright else ax.barh)(places, values, width, **style))
        ax.bar_label(handles[-1], fmt="%.2f", padding=2)
    names, score = [wrap(name, room) for name in labelling.names], "score (1 is best)"
    if upright:
        ax.set_xticks(range(classes), names)
        ax.set(ylim=(0, 1.1), yticks=np.linspace(0, 1, 6), ylabel=score)
    else:
        ax.set_yticks(range(classes), names)
        ax.set(xlim=(0, 1.1), xticks=np.linspace(0, 1, 6), xlabel=score)
        ax.set_ylim(classes - 0.5, -0.5)  # the first one on top
    canvas.add_legend(fig, handles, columns=2)
    return fig


@canvas.styled
def plot_speeds(speeds, *, source):
    """Speeds as horizontal bars, each with its value, in the order of the dict: 1 to 12 entries,
    name -> images a second, above 0. Where they differ by more than a factor of 30, as dots on a
    logarithmic axis: on another, the slow ones would all look alike."""
    canvas.check_named(speeds, "speeds", "name -> images a second", most=12)
    values = list(speeds.values())
    if not all(np.isfinite(value) and value > 0 for value in values):
        raise ValueError(f"speeds holds {values}: expected numbers above 0.")
    fig, ax = canvas.new_chart((8.0, 1.3 + 0.45 * len(speeds)), source)
    names = [wrap(name, 3.2) for name in speeds]
    if max(values) > 30 * min(values):
        ax.plot(values, names, "o", markersize=9, color=BLUE)
        for value, name in zip(values, names):
            place = {"xytext": (10, 0), "textcoords": "offset points", "va": "center"}
            ax.annotate(f"{value:,.0f}", (value, name), **place)
        ax.set(xscale="log", xlim=(min(values) / 2, 6 * max(values)))  # room for the values
        ax.set_xlabel("images a second, logarithmic axis")
        ax.grid(alpha=0.3)
    else:
        bars = ax.barh(names, values, color=BLUE)
        ax.bar_label(bars, fmt="{:,.0f}", padding=4)
        ax.set(xlabel="images a second", xlim=(0, 1.18 * max(values)))
        ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.invert_yaxis()  # the first one on top
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.spines[["top", "right"]].set_visible(False)
    return fig


@canvas.styled
def plot_progress(runs, *, source, ylabel="validation mean IoU"):
    """A score against the seconds of training that it took. ``runs``: dict of 1 to 4 entries, name
    -> (seconds, scores): two lists of the same length, seconds growing."""
    canvas.check_named(runs, "runs", "name -> (seconds, scores)", most=len(RUN_STYLES))
    runs = {name: _check_curve(run, f"runs[{name!r}]") for name, run in runs.items()}
    fig, ax = canvas.new_chart((8.0, 4.2 + 0.28 * len(runs)), source)
    handles = []
    for (name, (seconds, scores)), (color, marker) in zip(runs.items(), RUN_STYLES):
        label = wrap(f"{name}: {scores[-1]:.3f} after {seconds[-1]:,.0f} s", 7.2)
        alone = {"ls": "none", "ms": 11, "mfc": "none"} if len(seconds) == 1 else {}
        handles += ax.plot(seconds, scores, color=color, marker=marker, label=label, **alone)
    ax.grid()
    ax.set(xlabel="seconds of training", ylabel=wrap(ylabel, 3.5))
    ax.set_xlim(left=0)
    canvas.add_legend(fig, handles, columns=1)
    return fig


@canvas.styled
def plot_growth(curves, *, source):
    """Seconds and memory against the number of images, on logarithmic axes; a dotted line shows
    what grows in proportion. ``curves``: dict of 1 to 4 entries, name -> (images, seconds,
    megabytes): three lists of the same length, images growing."""
    canvas.check_named(curves, "curves", "name -> (images, seconds, MB)", most=len(RUN_STYLES))
    for name, lists in curves.items():
        table = np.array(lists, float) if len({len(part) for part in lists}) == 1 else np.zeros(0)
        if (
            table.ndim != 2
            or len(table) != 3
            or table.min() <= 0
            or (np.diff(table[0]) <= 0).any()
        ):
            raise ValueError(
                f"curves[{name!r}] is {lists}: expected images, seconds and megabytes, numbers "
                f"above 0 and as many of each, the images growing."
            )
    fig, axes = canvas.new_figure(1, 2, (9.0, 4.6 + 0.28 * len(curves)), source)
    handles = []
    for (name, (images, *values)), (color, marker) in zip(curves.items(), RUN_STYLES):
        for ax, numbers in zip(axes[0], values):
            lines = ax.plot(images, numbers, color=color, marker=marker, label=wrap(name, 7.5))
            along = np.array([images[0], images[-1]])
            ax.plot(along, numbers[0] * along / images[0], ":", color=color)
        handles += lines
    for ax, title in zip(axes[0], ("seconds", "peak memory, MB")):
        ax.set(xscale="log", yscale="log", xlabel="images", title=title)
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.yaxis.set_major_formatter("{x:,.0f}")
        ax.grid()
    handles.append(Line2D([], [], linestyle=":", color="black", label="in proportion to images"))
    canvas.add_legend(fig, handles, columns=1)
    return fig


@canvas.styled
def plot_accuracy_and_time(points, *, source, ylabel="mean IoU"):
    """A score against the minutes of training that it took, on a logarithmic axis, one mark a
    network. ``points``: dict of 1 to 12 entries, name -> (minutes, score), or for all of them name
    -> (minutes, score, millions of parameters), which the mark's area then shows."""
    minutes, scores, *millions = _check_points(points)
    fig, ax = canvas.new_chart((8.0, 5.1 if millions else 4.6), source)
    areas, style = 70, {"color": BLUE, "zorder": 3}
    if millions:  # whose marks are large and may overlap
        most = millions[0].max()
        areas, style = 500 * millions[0] / most, {**style, "alpha": 0.6, "edgecolor": "black"}
        steps = MaxNLocator(3, steps=[1, 2, 5]).tick_values(0, most)
        steps = steps[(steps > 0) & (steps <= most)]
        handles = [
            ax.scatter([], [], 500 * step / most, label=f"{step:g} million", **style)
            for step in steps
        ]
        canvas.add_legend(fig, handles, len(steps), title="parameters", handleheight=1.2)
    ax.scatter(minutes, scores, areas, **style)
    ax.set(xscale="log", xlabel="minutes of training", ylabel=wrap(ylabel, 3.5))
    if minutes.max() < 20 * minutes.min():  # powers of ten alone would be one tick or two
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.margins(x=0.12, y=0.25)
    ax.grid()
    labels = [f"{wrap(name, 3.0)}\n{score:.3f}" for name, score in zip(points, scores)]
    _label_marks(ax, labels, np.stack([minutes, scores], axis=1), np.sqrt(areas) / 2)
    return fig


@canvas.styled
def plot_confusion_matrix(matrix, *, labelling, source):
    """Of each true class, the share of its pixels that went to each predicted class.

    ``matrix``: (C, C) pixel counts of the labelling's C classes, rows truth, columns prediction. A
    class without pixels has dashes in its row. With more than four classes, percentages are whole
    numbers, and cells below 0.5 % stay empty.
    """
    matrix, count = canvas.as_array(matrix, "matrix"), len(labelling)
    if matrix.shape != (count, count) or not (np.isfinite(matrix).all() and matrix.min() >= 0):
        raise ValueError(
            f"matrix has shape {matrix.shape} and values from {matrix.min()}: expected pixel "
            f"counts of shape {(count, count)}, 0 or more."
        )
    totals, few = matrix.sum(axis=1, keepdims=True), count <= 4
    percent = 100.0 * matrix / np.where(totals > 0, totals, 1)
    side = min(10.0, 3.5 + 0.55 * count)
    fig, ax = canvas.new_chart((6.5, 5.5) if few else (side, side), source)
    ax.imshow(percent, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(percent):
        text = f"{value:.1f} %" if few else f"{value:.0f}" if value >= 0.5 else ""
        text = text if totals[row, 0] else "–"
        color = "white" if value > 71 else "black"  # there the blue is dark enough
        ax.text(column, row, text, ha="center", va="center", color=color)
    names = [wrap(name, min(1.3, 4.6 / count) if few else 2.0) for name in labelling.names]
    ax.set_xticks(range(count), names, rotation=0 if few else 90)
    ax.set_yticks(range(count), names)
    ax.set_xlabel("predicted" if few else "predicted (%, empty below 0.5)")
    ax.set_ylabel("truth (each row sums to 100 %)")
    return fig


@canvas.styled
def plot_calibration(bins, *, source):
    """How often a pixel is right, by how sure the network was of it: underconfident above the
    diagonal, overconfident below it. A dot's area is its share of the pixels. ``bins``: list of
    dicts with ``confidence``, ``accuracy`` and ``share``, each in 0..1, such as a report has under
    ``calibration``."""
    confidence, accuracy, share = (
        np.array([entry[key] for entry in bins], float)
        for key in ("confidence", "accuracy", "share")
    )
    fig, ax = canvas.new_chart((6.5, 6.0), source)
    handles = ax.plot([0, 1], [0, 1], color="black", linestyle="--", label="perfectly calibrated")
    label = "network; area: share of the pixels"
    handles += ax.plot(confidence, accuracy, color=BLUE, label=label)
    ax.scatter(confidence, accuracy, s=20 + 600 * share, color=BLUE)
    low = 0.1 * np.floor(10 * max(0, min(confidence.min(), accuracy.min())))
    low = low - 0.03 if low else 0.0  # no tick in the corner
    ax.set(xlim=(low, 1.02), ylim=(low, 1.02))
    ax.set(xlabel="probability of the predicted class", ylabel="share of pixels that are right")
    ax.grid()
    canvas.add_legend(fig, handles, columns=1)
    return fig


@canvas.styled
def plot_errors_by_distance(rows, *, source):
    """The share of wrong pixels by their distance from the nearest change of the true class; above
    each bar, which share of all wrong pixels lies there. ``rows``: list of dicts with ``from_px``,
    ``to_px`` (None: no end), ``wrong`` and ``share_of_errors``, both in 0..1, such as a report has
    under ``errors_by_distance``."""
    names = [
        f"{row['from_px']} to {row['to_px']}" if row["to_px"] else f"{row['from_px']}\nand more"
        for row in rows
    ]
    fig, ax = canvas.new_chart((8.5, 4.6), source)
    bars = ax.bar(names, [100 * row["wrong"] for row in rows], color=BLUE)
    ax.bar_label(bars, [f"{100 * row['share_of_errors']:.0f} %" for row in rows], padding=2)
    ax.margins(y=0.15)
    ax.set(xlabel="pixels from the nearest true change of class", ylabel="wrong, %")
    place = {"xycoords": "axes fraction", "ha": "right", "va": "top"}
    ax.annotate("above each bar: its share of all errors", (0.98, 0.95), **place)
    return fig


@canvas.styled
def plot_places(grid, *, source):
    """Where in the image the errors are: the share of wrong pixels by cell, (rows, columns) in
    0..1, the top left of the image first."""
    fig, ax = canvas.new_chart((6.5, 5.6), source)
    drawn = ax.imshow(100 * canvas.as_array(grid, "grid"), cmap="Greys", vmin=0)
    ax.set(xticks=[], yticks=[])
    bar = fig.colorbar(drawn, ax=ax, label="wrong pixels, %")
    bar.ax.tick_params(labelsize=canvas.FONT_SIZE)
    return fig


def _label_marks(ax, labels, places, radii):
    """Writes each label on the side of its mark where it covers the least; radii in points."""
    ax.figure.draw_without_rendering()  # until then, nothing has its place
    centers, radii = ax.transData.transform(places), np.broadcast_to(radii, len(labels))
    pixels = radii[:, None] * ax.figure.dpi / 72
    taken = [Bbox(corners) for corners in np.stack([centers - pixels, centers + pixels], axis=1)]

    def cost(text):
        box = text.get_window_extent()
        return box.count_overlaps(taken) - ax.bbox.count_contains([box.min, box.max])

    for label, place, (x, _), radius in zip(labels, places, centers, radii):
        away, inwards = round(6 + radius), 1 if x <= ax.bbox.x0 + ax.bbox.width / 2 else -1
        tries = []
        for right, up in ((inwards, 0), (-inwards, 0), (0, 1), (0, -1)):
            style = {
                "ha": ("center", "left", "right")[right],
                "va": ("center", "bottom", "top")[up],
            }
            offset = {"xytext": (right * away, up * away), "textcoords": "offset points"}
            tries.append(ax.annotate(label, place, **offset, **style))
        best = min(tries, key=cost)
        taken.append(best.get_window_extent())
        for text in tries:
            if text is not best:
                text.remove()


def _draw_run(axes, run, metric, name, color, marker):  # -> legend handles
    epochs = np.arange(1, len(run["loss"]) + 1)
    every = max(1, len(epochs) // 10)  # a marker on each of 60 epochs would hide the line
    solid = {"color": color, "marker": marker, "markevery": every, "linestyle": "-"}
    dashed = {**solid, "linestyle": "--", "markerfacecolor": "white"}
    name, best = f"{name}: " if name else "", _best_epoch(run, metric)
    for ax, key in zip(axes, ("loss", metric)):
        handles = ax.plot(epochs, run[key], **solid, label=wrap(f"{name}training", 3.3))
        if "val_loss" in run:
            label = wrap(f"{name}validation", 3.3)
            handles += ax.plot(epochs, run[f"val_{key}"], **dashed, label=label)
        if best is not None:
            label = wrap(f"{name}best epoch {best + 1}, {run[f'val_{metric}'][best]:.3f}", 3.3)
            handles += ax.plot(best + 1, run[f"val_{key}"][best], **STAR, color=color, label=label)
    return handles  # of one panel: the other's are the same


def _best_epoch(run, metric):  # its index; None without validation, or where all of it is NaN
    scores = run.get(f"val_{metric}", [np.nan])
    return int(np.nanargmax(scores)) if np.isfinite(scores).any() else None


def _check_runs(history, metric):  # -> {name: history}; a single one gets the name ""
    if isinstance(history, dict) and not all(isinstance(run, dict) for run in history.values()):
        history = {"": history}
    canvas.check_named(history, "history", "name -> model.fit(...).history", most=len(RUN_STYLES))
    for run in history.values():
        validated = "val_loss" in run or f"val_{metric}" in run
        keys = ["loss", metric, "val_loss", f"val_{metric}"][: 4 if validated else 2]
        lengths = [len(run.get(key, ())) for key in keys]
        if len(set(lengths)) > 1 or lengths[0] == 0:
            raise ValueError(
                f"history has {lengths} epochs of {keys}: expected the same number, 1 or more; "
                f"its keys are {list(run)}."
            )
    return history


def _check_curve(pair, name):
    along, scores = pair
    along = canvas.as_array(along, name)
    if along.ndim != 1 or (np.diff(along) <= 0).any():
        raise ValueError(f"{name} starts with {along.tolist()}: expected numbers that grow.")
    return along, canvas.check_shares(scores, name, along.shape)


def _check_points(points):  # -> minutes, scores and, where there are any, millions
    canvas.check_named(points, "points", "name -> (minutes, score)", most=12)
    lengths = {len(point) for point in points.values()}
    table = np.array(list(points.values()), float) if lengths in ({2}, {3}) else np.zeros((1, 2))
    if not (table[:, ::2].min() > 0 and table[:, 1].min() >= 0 and table[:, 1].max() <= 1):
        raise ValueError(
            f"points holds {points}: expected (minutes above 0, score in 0..1) for each, or for "
            f"each a third number above 0, its parameters in millions."
        )
    return table.T
