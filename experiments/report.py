"""Everything that is said about a trained network, from the counts of one pass over a split."""

import numpy as np

from helpers import data, evaluation

BINARY_SCORES = ("dice", "iou", "pixel_accuracy")
GALLERY = 20  # images at the end, and in the middle, of the ranking


def report(counts, pets):
    """Scores with intervals, by class, by image, by breed; outlines, calibration, errors by place.

    Pooled scores count every pixel of the split once. Per image is the mean of the images' own
    scores: a class absent from an image, true and predicted, scores 1 there. Intervals are 95 %
    bootstrap intervals over images. With two columns (pet against background), the border counts
    as pet where no rule is named.

    Args:
        counts: from ``evaluation.measure``.
        pets: from ``data.open_pets``; names breeds and species.

    Returns:
        dict, ready for JSON: ``pixel_accuracy``, ``mean_iou``, ``mean_dice``, ``iou``, ``dice``
        and ``dice_border_as_pet`` where three classes are predicted; and with either head
        ``binary_scores`` by border rule, ``intervals``, ``per_image``, ``own_size``, ``outlines``,
        ``species``, ``breeds``, ``calibration``, ``errors_by_distance``, ``errors_by_place``,
        ``worst_images``, ``median_images``, ``masks_without_pet``, ``confusion_matrix``.
    """
    matrices, three = counts.matrices, counts.matrices.shape[-1] == 3
    features = pets.builder.info.features
    names = {kind: features[kind].names for kind in ("label", "species")}
    return {
        **(evaluation.reported_scores(matrices.sum(axis=0)) if three else {}),
        "intervals": _intervals(matrices, _all_scores),
        "per_image": _per_image(matrices),
        "binary_scores": _by_border_rule(matrices),
        "own_size": _plain(_all_scores(counts.own_matrices.sum(axis=0))),
        "outlines": {
            "width_px": evaluation.OUTLINE_WIDTH,
            "network_size": _outlines(counts.outlines, matrices.shape[-1]),
            "own_size": _outlines(counts.own_outlines, matrices.shape[-1]),
        },
        "species": _by_group(matrices, counts.species, names["species"]),
        "breeds": _by_group(matrices, counts.breeds, names["label"]),
        **_calibration(counts.confidences),
        "errors_by_distance": _by_distance(counts.distances),
        "errors_by_place": _by_place(counts.places, len(counts.files)),
        **_ranking(counts),
        "masks_without_pet": [
            name
            for name, matrix in zip(counts.files, counts.own_matrices)
            if not matrix[[0, 2]].sum()
        ],
        "confusion_matrix": matrices.sum(axis=0).tolist(),
    }


def _all_scores(pooled):
    """Of pooled counts (..., 3, K): name -> array (...) or, by class, (..., 3)."""
    if pooled.shape[-1] == 3:
        return {name: np.asarray(v) for name, v in evaluation.reported_scores(pooled).items()}
    return _binary_scores(lambda rule: evaluation.pooled_binary_scores(pooled, rule))


def _main_scores(pooled):
    names = ("pixel_accuracy", "mean_iou", "dice_border_as_pet")
    if pooled.shape[-1] == 2:
        names = ("dice_border_pet", "pixel_accuracy_border_pet")
    found = _all_scores(pooled)
    return {name: found[name] for name in names}


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


def _per_image(matrices):
    if matrices.shape[-1] == 3:
        each = evaluation.scores(matrices)
        return _plain({name: values.mean(axis=0) for name, values in each.items()})
    scores = {rule: evaluation.binary_scores(matrices, rule) for rule in data.BORDER_RULES}
    return _binary_scores(
        lambda rule: {name: scores[rule][f"{name}_per_image"] for name in BINARY_SCORES}
    )


def _binary_scores(scores_under):
    return {
        f"{name}_border_{rule}": scores_under(rule)[name]
        for rule in data.BORDER_RULES
        for name in BINARY_SCORES
    }


def _by_border_rule(matrices):
    found = {}
    for rule in data.BORDER_RULES:
        two = evaluation.as_binary(matrices, rule)

        def dice(sums, rule=rule):
            return evaluation.pooled_binary_scores(sums, rule)["dice"]

        interval = evaluation.bootstrap_interval(two, dice)
        found[rule] = {**evaluation.binary_scores(two, rule), "dice_interval": list(interval)}
    return found


def _outlines(counts, columns):
    found = {}
    for number, name in enumerate(evaluation.outline_names(columns)):
        each = counts[:, number]
        found[name] = {
            "f": float(evaluation.outline_f(each.sum(axis=0))),
            "interval": list(evaluation.bootstrap_interval(each, evaluation.outline_f)),
            "f_per_image": float(evaluation.outline_f(each).mean()),
        }
    return found


def _by_group(matrices, groups, names):
    found = {}
    for number, name in enumerate(names):
        own = matrices[groups == number]
        if len(own):
            intervals = _intervals(own, _main_scores)
            scores = _main_scores(own.sum(axis=0))
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
    cells = min(evaluation.PLACES, len(places))
    rows = np.array_split(places, cells)
    grid = [[cell.mean() for cell in np.array_split(row, cells, axis=1)] for row in rows]
    return (np.array(grid) / images).round(4).tolist()


def _ranking(counts):
    """Images by their own score: mean IoU, or Dice of the pet with two columns."""
    if counts.matrices.shape[-1] == 3:
        values = evaluation.scores(counts.matrices)["mean_iou"]
    else:
        values = np.array(
            [evaluation.binary_scores(one[None], "pet")["dice"] for one in counts.matrices]
        )
    order = np.argsort(values, kind="stable")
    middle = max(0, len(order) // 2 - GALLERY // 2)

    def listed(numbers):
        return [[counts.files[number], round(float(values[number]), 4)] for number in numbers]

    return {
        "worst_images": listed(order[:GALLERY]),
        "median_images": listed(order[middle : middle + GALLERY]),
    }


def _plain(values):
    return {name: np.asarray(value).tolist() for name, value in values.items()}
