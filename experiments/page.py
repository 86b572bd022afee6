"""A report as one page: text and figures in a single HTML file, to be opened in any browser."""

import base64
import html
import io

import matplotlib.pyplot as plt
import numpy as np

from helpers import visualization

STYLE = """
body { font-family: sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
pre { white-space: pre-wrap; background: #f4f4f4; padding: 1rem; }
img { max-width: 100%; }
"""
MOST = 39  # classes in a figure


def page(title, parts):
    """The page.

    Args:
        title: str.
        parts: list of (heading, content): content is text, kept in its lines, or a matplotlib
            Figure, which is closed.

    Returns:
        bytes of HTML, in UTF-8.
    """
    title = html.escape(title)
    body = [f"<h1>{title}</h1>"]
    for heading, content in parts:
        body.append(f"<h2>{html.escape(heading)}</h2>")
        if isinstance(content, str):
            body.append(f"<pre>{html.escape(content)}</pre>")
        else:
            body.append(f'<img alt="{html.escape(heading)}" src="{_data_url(content)}">')
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    start = f'<!doctype html>\n<html lang="en"><head>{head}</head><body>'
    return "\n".join([start, *body, "</body></html>\n"]).encode()


def figures(result, histories, labelling):
    """The figures of a report, list of (heading, Figure).

    Args:
        result: dict, from ``report.report``, with ``data_source``.
        histories: name -> history of a training.
        labelling: classes.Labelling.
    """
    source = result["data_source"]
    data = f"{source.split(',')[0]}, training and validation splits"
    names, intervals = ("mean", *labelling.names), result["intervals"]
    values = [result["mean_iou"], *result["iou"]]
    pairs = np.array([intervals["mean_iou"], *intervals["iou"]])
    lows, highs = np.minimum(pairs[:, 0], values), np.maximum(pairs[:, 1], values)  # rounded
    iou = dict(zip(names[: MOST + 1], zip(values, lows, highs)))
    drawn = [
        (
            "IoU by class, with 95 % intervals",
            visualization.plot_intervals(iou, source=source, xlabel="IoU"),
        ),
        ("Training", visualization.plot_training_curves(histories, source=data)),
    ]
    if len(labelling) <= MOST:
        matrix = visualization.plot_confusion_matrix(
            result["confusion_matrix"], labelling=labelling, source=source
        )
        drawn.append(("Which class is taken for which", matrix))
    bins, rows = result["calibration"], result["errors_by_distance"]
    calibration = visualization.plot_calibration(bins, source=source)
    distances = visualization.plot_errors_by_distance(rows, source=source)
    return [*drawn, ("Confidence", calibration), ("Errors by distance from an edge", distances)]


def _data_url(figure):
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
