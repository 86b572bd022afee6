"""Everything that is said about a trained network, from the counts of one pass over a split."""

import numpy as np

from helpers import boundaries, evaluation

PLACES = 16  # cells a side of the map of errors
GALLERY = 20  # images at the end, and in the middle, of the ranking


def report(counts, dataset):
    """Scores with intervals, by class, by image, by group; outlines, calibration, errors by place.

    Pooled scores count every pixel of the split once. Per image is the mean of the images' own
    scores: a class absent from an image, true and predicted, scores 1 there. Intervals are 95 %
    bootstrap intervals over images. Void pixels are in none of the numbers. For a network of one
    logit, the first border rule holds where none is named.

    Args:
        counts: from ``evaluation.measure``, of batches with their own masks.
        dataset: datasets.Dataset: its labelling names the classes, its groups the groups.

    Returns:
        dict, ready for JSON: the scores of ``scores_of``; of one logit, these are under
        ``per_image`` and ``own_size`` alone. And always ``intervals``, ``per_image``,
        ``binary_scores`` by border rule, ``own_size``, ``outlines``, each group, ``calibration``,
        ``calibration_error``, ``errors_by_distance``, ``errors_by_place``, ``worst_images``,
        ``median_images``, ``confusion_matrix``; with border rules, ``masks_without_...``.
    """
    matrices, labelling = counts.matrices, dataset.labelling
    pooled = matrices.sum(axis=0)
    all_classes = pooled.shape[-1] == len(labelling)
    regions = evaluation.outline_regions(labelling, pooled.shape[-1])
    return {
        **(_plain(scores_of(pooled, labelling)) if all_classes else {}),
        "intervals": _intervals(matrices, labelling),
        "per_image": _plain(
            {name: each.mean(axis=0) for name, each in scores_of(matrices, labelling).items()}
        ),
        "binary_scores": _by_border_rule(matrices, labelling),
        "own_size": _plain(scores_of(counts.own_matrices.sum(axis=0), labelling)),
        "outlines": {
            "width_px": boundaries.OUTLINE_WIDTH,
            "network_size": _outlines(counts.outlines, regions),
            "own_size": _outlines(counts.own_outlines, regions),
        },
        **{
            name: _by_group(matrices, counts.known[key], names, labelling)
            for name, (key, names) in dataset.groups.items()
        },
        **_calibration(counts.confidences.sum(axis=0)),
        "errors_by_distance": _by_distance(counts.distances),
        "errors_by_place": _by_place(counts.places),
        **_ranking(counts, labelling),
        **_empty_masks(counts, labelling),
        "confusion_matrix": pooled.tolist(),
    }


def scores_of(matrices, labelling):
    """The scores that follow from counts (..., C, K): of all classes, and Dice under the first
    border rule; or, of one logit, the binary scores under each rule.

    Returns:
        dict: name -> array (...) or, by class, (..., C).
    """
    rules = labelling.border_rules
    if matrices.shape[-1] < len(labelling):
        return {
            f"{name}_border_{rule}": values
            for rule in rules
            for name, values in evaluation.pooled_binary_scores(matrices, rules[rule]).items()
        }
    found = evaluation.scores(matrices)
    for rule in list(rules)[:1]:
        binary = evaluation.pooled_binary_scores(matrices, rules[rule])
        found[f"dice_border_as_{rule}"] = binary["dice"]
    return found


def _main_scores(labelling, columns):
    """What images are ranked by, then what else groups are compared by."""
    rules = list(labelling.border_rules)[:1]
    if columns < len(labelling):
        return [f"dice_border_{rules[0]}", f"pixel_accuracy_border_{rules[0]}"]
    return ["mean_iou", "pixel_accuracy", *(f"dice_border_as_{rule}" for rule in rules)]


def _intervals(matrices, labelling, names=None):
    """name -> [low, high], or a list of such pairs by class."""

    def scores(sums):
        found = scores_of(sums, labelling)
        return {name: found[name] for name in names or found}

    def numbers(sums):
        values = [found.reshape(len(sums), -1) for found in scores(sums).values()]
        return np.concatenate(values, axis=1)

    pairs = np.transpose(evaluation.bootstrap_interval(matrices, numbers)).round(5).tolist()
    found = {}
    for name, values in scores(matrices.sum(axis=0)[None]).items():
        own, pairs = pairs[: values.size], pairs[values.size :]
        found[name] = own if len(own) > 1 else own[0]
    return found


def _by_border_rule(matrices, labelling):
    found = {}
    for name, rule in labelling.border_rules.items():

        def dice(sums, rule=rule):
            return evaluation.pooled_binary_scores(sums, rule)["dice"]

        found[name] = {
            **evaluation.binary_scores(matrices, rule),
            "dice_interval": list(evaluation.bootstrap_interval(matrices, dice)),
        }
    return found


def _outlines(counts, regions):
    found = {}
    for name, each in zip(regions, np.moveaxis(counts, 1, 0)):
        found[name] = {
            "f": float(boundaries.outline_f(each.sum(axis=0))),
            "interval": list(evaluation.bootstrap_interval(each, boundaries.outline_f)),
            "f_per_image": float(boundaries.outline_f(each).mean()),
        }
    return found


def _by_group(matrices, groups, names, labelling):
    main, found = _main_scores(labelling, matrices.shape[-1]), {}
    for number, name in enumerate(names):
        own = matrices[groups == number]
        if len(own):
            intervals = _intervals(own, labelling, main)
            scores = scores_of(own.sum(axis=0), labelling)
            found[name] = {"images": len(own)} | {
                key: {"value": float(scores[key]), "interval": intervals[key]} for key in main
            }
    return found


def _calibration(confidences):
    """The bins that hold pixels, and the calibration error."""
    pixels = confidences[:, 0].sum()
    bins = []
    for count, right, confidence in confidences:
        if count:
            bins.append(
                {
                    "confidence": float(confidence / count),
                    "accuracy": float(right / count),
                    "share": float(count / pixels),
                }
            )
    error = float(evaluation.calibration_error(confidences))
    return {"calibration": bins, "calibration_error": error}


def _by_distance(distances):
    edges = [0, *boundaries.DISTANCES, None]
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


def _by_place(places):
    """The share of wrong pixels in each cell of a grid over the image; 0 where none counts."""
    for axis, side in enumerate(places.shape[:2]):
        cells = min(PLACES, side)
        places = np.add.reduceat(places, np.arange(cells) * side // cells, axis=axis)
    counted, wrong = np.moveaxis(places, -1, 0)
    return (wrong / np.maximum(counted, 1)).round(4).tolist()


def _ranking(counts, labelling):
    key = _main_scores(labelling, counts.matrices.shape[-1])[0]
    values, files = scores_of(counts.matrices, labelling)[key], counts.known["file_name"]
    order = np.argsort(values, kind="stable")
    middle = max(0, len(order) // 2 - GALLERY // 2)

    def listed(numbers):
        return [[str(files[number]), round(float(values[number]), 4)] for number in numbers]

    return {
        "worst_images": listed(order[:GALLERY]),
        "median_images": listed(order[middle : middle + GALLERY]),
    }


def _empty_masks(counts, labelling):
    """Masks without any pixel of the first class under the first border rule."""
    if not labelling.border_rules:
        return {}
    rule = next(iter(labelling.border_rules.values()))
    pixels = counts.own_matrices.sum(axis=-1)[:, np.equal(rule, 0)].sum(axis=-1)
    names = [str(name) for name, count in zip(counts.known["file_name"], pixels) if not count]
    return {f"masks_without_{labelling.names[0]}": names}


def _plain(values):
    return {name: np.asarray(value).tolist() for name, value in values.items()}
