"""What the counts of trainings say: scores, and which of their differences are real.

Two variants are compared on the same images and seeds. The interval of their difference is a
bootstrap over images; what seeds do to it stands beside it.
"""

import io
import zipfile
from typing import NamedTuple

import numpy as np

from helpers import boundaries, evaluation

SCORES = ("mean_iou", "border_iou", "boundary_f", "calibration_error")
LOWER_IS_BETTER = ("calibration_error",)
NOTHING_FOUND = "no difference found"


class Kept(NamedTuple):
    """What is left of a training, by image of a split.

    - ``files``: (N,) str, the images.
    - ``matrices``, ``outlines``, ``confidences``: as in ``evaluation.Counts``; the outlines are
      those of the first region, (N, 4), at each photo's own size.
    - ``seconds``: of the training, on whatever else the machine did beside it.
    - ``device``: () str, the machine.
    - ``key``: () str, of what was trained and counted: see ``Bench``.
    """

    files: np.ndarray
    matrices: np.ndarray
    outlines: np.ndarray
    confidences: np.ndarray
    seconds: np.ndarray
    device: np.ndarray
    key: np.ndarray

    def counts(self):
        """(N, K) float64, all of them in a row: sums of these are what ``scores`` takes."""
        parts = (self.matrices, self.outlines, self.confidences)
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def to_npz(kept):
    """Kept as the content of a file, for ``read``."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **kept._asdict())
    return buffer.getvalue()


def read(path):
    """Kept, or None where the file is not there or not whole."""
    try:
        with np.load(path) as stored:
            return Kept(**{name: stored[name] for name in Kept._fields})
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def scores(sums, labelling):
    """``SCORES``, name -> (...) float64, from sums of ``Kept.counts``, (..., K)."""
    classes = len(labelling)
    matrices, rest = np.split(sums, [classes**2], axis=-1)
    outlines, confidences = np.split(rest, [4], axis=-1)
    of_classes = evaluation.scores(matrices.reshape(*sums.shape[:-1], 1, classes, classes))
    bins = confidences.reshape(*sums.shape[:-1], -1, 3)
    return {
        "mean_iou": of_classes["mean_iou"][..., 0],
        "border_iou": of_classes["iou"][..., 0, -1],  # the last class
        "boundary_f": boundaries.outline_f(outlines),
        "calibration_error": evaluation.calibration_error(bins),
    }


def summary(kept, reference, labelling):
    """Scores and differences of variants that were trained alike.

    Args:
        kept: name -> seed -> Kept.
        reference: the name that the others are compared with.
        labelling: classes.Labelling.

    Returns:
        dict, ready for JSON, by name: ``by_seed`` and ``mean``, the scores; ``seconds`` by seed;
        and, but for the reference, ``difference``, see ``difference``.

    Raises:
        ValueError: counts of different images.
    """
    all_files = [one.files for of_seeds in kept.values() for one in of_seeds.values()]
    if not all(np.array_equal(names, all_files[0]) for names in all_files):
        raise ValueError("The counts are of different images: train the variants anew.")
    found = {}
    for name, of_seeds in kept.items():
        by_seed = {
            str(seed): _plain(scores(one.counts().sum(axis=0), labelling))
            for seed, one in of_seeds.items()
        }
        found[name] = {
            "by_seed": by_seed,
            "mean": {
                score: rounded(np.mean([one[score] for one in by_seed.values()]))
                for score in SCORES
            },
            "seconds": {str(seed): float(one.seconds.sum()) for seed, one in of_seeds.items()},
        }
        shared = [seed for seed in of_seeds if seed in kept.get(reference, {})]
        if name != reference and shared:
            pairs = ([of[seed].counts() for seed in shared] for of in (of_seeds, kept[reference]))
            found[name]["difference"] = difference(*pairs, labelling)
    return found


def difference(ours, theirs, labelling):
    """By how much one variant differs from another, by score.

    Args:
        ours, theirs: lists of (N, K), from ``Kept.counts``, one a seed, of the same images.
        labelling: classes.Labelling.

    Returns:
        dict, ready for JSON: score -> ``value``, the mean over seeds; its ``interval`` over
        images; ``by_seed``, a list; ``verdict``, see there.
    """
    counts = np.stack([np.stack(ours, axis=1), np.stack(theirs, axis=1)], axis=1)

    def by_seed(sums):  # (..., 2, seeds, K) -> (..., scores, seeds)
        found = scores(sums, labelling)
        own, other = (np.stack([found[s][..., i, :] for s in SCORES], axis=-2) for i in (0, 1))
        return own - other

    lows, highs = evaluation.bootstrap_interval(counts, lambda sums: by_seed(sums).mean(axis=-1))
    of_seeds = by_seed(counts.sum(axis=0))
    return {
        score: {
            "value": rounded(values.mean()),
            "interval": [rounded(low), rounded(high)],
            "by_seed": list(map(rounded, values)),
            "verdict": verdict(low, high, values, score in LOWER_IS_BETTER),
        }
        for score, low, high, values in zip(SCORES, lows, highs, of_seeds)
    }


def verdict(low, high, by_seed, lower_is_better=False):
    """What an interval says of a difference: "better" or "worse" where it does not hold zero and
    every seed agrees, else ``NOTHING_FOUND``. Of one seed, which cannot agree with another,
    "better with one seed"."""
    if low > 0 and min(by_seed) > 0:
        word = "worse" if lower_is_better else "better"
    elif high < 0 and max(by_seed) < 0:
        word = "better" if lower_is_better else "worse"
    else:
        return NOTHING_FOUND
    return word if len(by_seed) > 1 else f"{word} with one seed"


def winner(kept, labelling):
    """The name with the highest mean IoU, the mean over seeds; ``kept`` as in ``summary``."""

    def mean_iou(name):
        sums = np.stack([one.counts().sum(axis=0) for one in kept[name].values()])
        return scores(sums, labelling)["mean_iou"].mean()

    return max(kept, key=mean_iou)


def _plain(values):
    return {name: rounded(value) for name, value in values.items()}


def rounded(value):
    """float of five digits, or None."""
    return None if value is None else round(float(value), 5)
