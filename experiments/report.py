"""Everything that is said about a trained network, from the counts of one pass over a split."""

import numpy as np

from helpers import evaluation

BINARY_SCORES = ("dice", "iou", "pixel_accuracy")
PLACES = 16  # cells a side of the map of errors
GALLERY = 20  # images at the end, and in the middle, of the ranking


def report(counts, dataset):
    """Scores with intervals, by class, by image, by group; outlines, calibration, errors by place.

    Pooled scores count every pixel of the split once. Per image is the mean of the images' own
    scores: a class absent from an image, true and predicted, scores 1 there. Intervals are 95 %
    bootstrap intervals over images. For a network of one logit, the first border rule holds where
    none is named.

    Args:
        counts: from ``evaluation.measure``, of batches with their own masks.
        dataset: datasets.Dataset: its labelling names the classes, its groups the groups.

    Returns:
        dict, ready for JSON: ``pixel_accuracy``, ``mean_iou``, ``mean_dice``, ``iou``, ``dice``
        and, under each class's border rule, ``dice_border_as_...`` where all classes are predicted;
        and always ``binary_scores`` by border rule, ``intervals``, ``per_image``, ``own_size``,
        ``outlines``, each group, ``calibration``, ``errors_by_distance``, ``errors_by_place``,
        ``worst_images``, ``median_images``, ``masks_without_...``, ``confusion_matrix``.
    """
    matrices, labelling = counts.matrices, dataset.labelling
    pooled, score = matrices.sum(axis=0), Scores(labelling, matrices.shape[-1])
    return {
        **(_plain(score.all(pooled)) if score.multiclass else {}),
        "intervals": _intervals(matrices, score.all),
        "per_image": _per_image(matrices, score),
        "binary_scores": _by_border_rule(matrices, labelling),
        "own_size": _plain(score.all(counts.own_matrices.sum(axis=0))),
        "outlines": {
            "width_px": evaluation.OUTLINE_WIDTH,
            "network_size": _outlines(counts.outlines, score),
            "own_size": _outlines(counts.own_outlines, score),
        },
        **{
            name: _by_group(matrices, counts.known[key], names, score)
            for name, (key, names) in dataset.groups.items()
        },
        **_calibration(counts.confidences),
        "errors_by_distance": _by_distance(counts.distances),
        "errors_by_place": _by_place(counts.places, len(matrices)),
        **_ranking(counts, score),
        **_empty_masks(counts, labelling),
        "confusion_matrix": pooled.tolist(),
    }


class Scores:
    """Which scores follow from counts (..., C, K) of a labelling."""

    def __init__(self, labelling, columns):
        self.labelling, self.rules = labelling, labelling.border_rules
        self.multiclass = columns == len(labelling)

    def all(self, pooled):
        """name -> array (...) or, by class, (..., C)."""
        if not self.multiclass:
            return _named(
                lambda rule: evaluation.pooled_binary_scores(pooled, self.rules[rule]), self
            )
        found = {name: np.asarray(value) for name, value in evaluation.scores(pooled).items()}
        if self.rules:
            rule = next(iter(self.rules))
            dice = evaluation.pooled_binary_scores(pooled, self.rules[rule])["dice"]
            found[f"dice_border_as_{rule}"] = dice
        return found

    def main(self, pooled):
        """As ``all``, the few that groups are compared by."""
        if self.multiclass:
            kept = ("pixel_accuracy", "mean_iou")
            return {
                k: v for k, v in self.all(pooled).items() if k in kept or k.startswith("dice_")
            }
        rule = next(iter(self.rules))
        found = self.all(pooled)
        return {
            name: found[name] for name in (f"dice_border_{rule}", f"pixel_accuracy_border_{rule}")
        }

    def of_images(self, matrices):
        """What images are ranked by, (N,)."""
        if self.multiclass:
            return evaluation.scores(matrices)["mean_iou"]
        return evaluation.pooled_binary_scores(matrices, next(iter(self.rules.values())))["dice"]


def _named(scores_under, score):
    return {
        f"{name}_border_{rule}": scores_under(rule)[name]
        for rule in score.rules
        for name in BINARY_SCORES
    }


def _intervals(matrices, scores_of):
    """name -> [low, high], or a list of such pairs by class."""
    whole = scores_of(matrices.sum(axis=0)[None])

    def numbers(sums):
        found = scores_of(sums).values()
        return np.concatenate([values.reshape(len(sums), -1) for values in found], axis=1)

    pairs = np.transpose(evaluation.bootstrap_interval(matrices, numbers)).round(5).tolist()
    found = {}
    for name, values in whole.items():
        own, pairs = pairs[: values.size], pairs[values.size :]
        found[name] = own if len(own) > 1 else own[0]
    return found


def _per_image(matrices, score):
    if score.multiclass:
        each = evaluation.scores(matrices)
        return _plain({name: values.mean(axis=0) for name, values in each.items()})
    scores = {rule: evaluation.binary_scores(matrices, score.rules[rule]) for rule in score.rules}
    return _named(
        lambda rule: {name: scores[rule][f"{name}_per_image"] for name in BINARY_SCORES}, score
    )


def _by_border_rule(matrices, labelling):
    found = {}
    for name, rule in labelling.border_rules.items():

        def dice(sums, rule=rule):
            return evaluation.pooled_binary_scores(sums, rule)["dice"]

        interval = evaluation.bootstrap_interval(matrices, dice)
        found[name] = {
            **evaluation.binary_scores(matrices, rule),
            "dice_interval": list(interval),
        }
    return found


def _outlines(counts, score):
    columns = len(score.labelling) if score.multiclass else 2
    found = {}
    for number, name in enumerate(evaluation.outline_names(score.labelling, columns)):
        each = counts[:, number]
        found[name] = {
            "f": float(evaluation.outline_f(each.sum(axis=0))),
            "interval": list(evaluation.bootstrap_interval(each, evaluation.outline_f)),
            "f_per_image": float(evaluation.outline_f(each).mean()),
        }
    return found


def _by_group(matrices, groups, names, score):
    found = {}
    for number, name in enumerate(names):
        own = matrices[groups == number]
        if len(own):
            intervals = _intervals(own, score.main)
            scores = score.main(own.sum(axis=0))
            found[name] = {"images": len(own)} | {
                key: {"value": float(scores[key]), "interval": intervals[key]} for key in scores
            }
    return found


def _calibration(confidences):
    """The bins that hold pixels, and the expected calibration error (Guo et al., ICML 2017)."""
    pixels = confidences[:, 0].sum()
    bins, error = [], 0.0
    for count, right, confidence in confidences:
        if count:
            bins.append(
                {
                    "confidence": float(confidence / count),
                    "accuracy": float(right / count),
                    "share": float(count / pixels),
                }
            )
            error += abs(confidence - right) / pixels
    return {"calibration": bins, "calibration_error": float(error)}


def _by_distance(distances):
    edges = [0, *evaluation.DISTANCES, None]
    return [
        {
            "from_px": edges[number],
            "to_px": edges[number + 1],
            "share_of_pixels": float(pixels / distances[:, 0].sum()),
            "wrong": float(wrong / pixels) if pixels else 0.0,
            "share_of_errors": float(wrong / max(1, distances[:, 1].sum())),
        }
        for number, (pixels, wrong) in enumerate(distances)
    ]


def _by_place(places, images):
    """The share of wrong pixels in each cell of a grid over the image."""
    down, across = (min(PLACES, side) for side in places.shape)
    rows = np.array_split(places, down)
    grid = [[cell.mean() for cell in np.array_split(row, across, axis=1)] for row in rows]
    return (np.array(grid) / images).round(4).tolist()


def _ranking(counts, score):
    values, files = score.of_images(counts.matrices), counts.known["file_name"]
    order = np.argsort(values, kind="stable")
    middle = max(0, len(order) // 2 - GALLERY // 2)

    def listed(numbers):
        return [[files[number], round(float(values[number]), 4)] for number in numbers]

    return {
        "worst_images": listed(order[:GALLERY]),
        "median_images": listed(order[middle : middle + GALLERY]),
    }


def _empty_masks(counts, labelling):
    """Masks without any pixel of the first class under the first border rule."""
    rules = list(labelling.border_rules.values())
    if not rules:
        return {}
    pixels = counts.own_matrices.sum(axis=-1)[:, np.array(rules[0]) == 0].sum(axis=-1)
    names = [name for name, count in zip(counts.known["file_name"], pixels) if not count]
    return {f"masks_without_{labelling.names[0]}": names}


def _plain(values):
    return {name: np.asarray(value).tolist() for name, value in values.items()}
