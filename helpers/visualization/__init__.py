"""Figures: arrays in, a matplotlib ``Figure`` out. Nothing is predicted, shown or saved.

Every figure takes ``source``, a str that says where its data comes from. It has no default and is
printed on the figure, so that a score on synthetic pets is never taken for one on photographs.
What cannot be drawn, be it a shape, a type, a range or a length, is a ``ValueError`` that says
what came, what was expected and what to do. All text has 13 points on at most 10 inches: legible
on a phone. A script that draws many figures closes them: ``plt.close``.
"""

# ruff: noqa: F401 - imported for the package's users
from helpers.overlays import color_mask, overlay
from helpers.visualization.canvas import save_figure
from helpers.visualization.charts import (
    plot_accuracy_and_time,
    plot_calibration,
    plot_class_bars,
    plot_confusion_matrix,
    plot_differences,
    plot_errors_by_distance,
    plot_growth,
    plot_intervals,
    plot_places,
    plot_progress,
    plot_speeds,
    plot_thresholds,
    plot_training_curves,
)
from helpers.visualization.pictures import (
    plot_border_rules,
    plot_comparison,
    plot_feature_maps,
    plot_gallery,
    plot_heat,
    plot_predictions,
    plot_probabilities,
    plot_samples,
)
