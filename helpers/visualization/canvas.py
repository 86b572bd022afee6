"""What pictures and charts share: a figure with its source, text, legend, style, PNG files."""

import io
import pathlib
import textwrap

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from helpers import files
from helpers.overlays import as_array

DPI = 100
FONT_SIZE = 13  # points
LINE = 1.25 * FONT_SIZE / 72  # inches
# Decorates each function that draws: its text has one size, whatever the caller's settings are.
styled = matplotlib.rc_context(
    {
        **dict.fromkeys(("font.size", "figure.titlesize", "legend.fontsize"), FONT_SIZE),
        **dict.fromkeys(("axes.titlesize", "axes.labelsize"), FONT_SIZE),
        "legend.frameon": False,
        "legend.columnspacing": 1.4,
        "legend.handletextpad": 0.5,
        "grid.alpha": 0.3,
    }
)


def new_figure(rows, columns, size, source):
    """A figure in constrained layout, its source on top, and its (rows, columns) axes. ``size`` is
    (width, height) in inches; only a source of more than two lines makes the figure taller."""
    if not isinstance(source, str) or not source.strip():
        raise ValueError(
            f"source is {source!r}: say where the data comes from, for instance 'synthetic pets'."
        )
    width, height = size
    title = wrap(f"Data: {source.strip()}", width - 0.3)
    height = round(height + LINE * max(0, most_lines([title]) - 2), 1)
    fig, axes = plt.subplots(
        rows, columns, figsize=(width, height), dpi=DPI, squeeze=False, layout="constrained"
    )
    fig.suptitle(title)
    for ax in axes.flat:
        ax.tick_params(labelsize=FONT_SIZE)  # ticks are made late, when the style is over
    return fig, axes


def new_chart(size, source):
    """A figure with one pair of axes."""
    fig, axes = new_figure(1, 1, size, source)
    return fig, axes[0, 0]


def wrap(text, inches):
    """The text in lines of that width, for matplotlib, which breaks no long word and no legend."""
    letters, font = 120, FontProperties(size=FONT_SIZE)
    while True:
        lines = [part for line in str(text).splitlines() for part in textwrap.wrap(line, letters)]
        widths = [text_to_path.get_text_width_height_descent(line, font, 0)[0] for line in lines]
        fits = 72 * inches / max(widths, default=1)
        if fits >= 1 or letters == 1:
            return "\n".join(lines).replace("$", r"\$")  # or a pair of them would start a formula
        letters = max(1, int(letters * min(fits, 0.95)))


def most_lines(texts):
    """The lines of the longest of several texts."""
    return max(len(text.splitlines()) for text in texts)


def add_legend(fig, handles, columns, **style):
    """A legend below the panels, in fewer columns where these are too wide; the figure then grows
    by the rows that this adds."""
    heights = []
    for count in range(columns, 0, -1):
        legend = fig.legend(handles=handles, loc="outside lower center", ncols=count, **style)
        box = legend.get_window_extent()
        heights.append(box.height)
        if box.width <= fig.bbox.width or count == 1:
            break
        legend.remove()
    fig.set_figheight(round(fig.get_figheight() + (heights[-1] - heights[0]) / fig.dpi, 1))


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


def check_named(entries, name, content, most):
    """A ValueError unless it is a dict of 1 to ``most`` entries."""
    if not isinstance(entries, dict) or not 1 <= len(entries) <= most:
        given = f"dict of {len(entries)}" if isinstance(entries, dict) else type(entries).__name__
        raise ValueError(f"{name} is a {given}: expected a dict of 1 to {most}, {content}.")


def check_shares(values, name, shape):
    """As an array; a ValueError unless it has that shape and lies in 0..1."""
    values = as_array(values, name)
    if values.shape != shape or not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"{name} has shape {values.shape} and values {values.min()}..{values.max()}: expected "
            f"{shape}, 0..1; divide percentages by 100."
        )
    return values
