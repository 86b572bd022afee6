"""What a network gets right: one pass over a split that counts by image, and the scores that follow
from the counts."""

from typing import NamedTuple

import cv2
import keras
import numpy as np

from helpers.classes import VOID
from helpers.dice import dice_from_counts

OUTLINE_WIDTH = 2  # pixels that an outline may be off and still count as found
CONFIDENCE_BINS = 20
DISTANCES = (1, 2, 4, 8, 16, 32, 64)  # pixels from the nearest change of class: edges of bins
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class Counts(NamedTuple):
    """What one pass over a split has counted; every score follows from it.

    N images; rows are the C classes of the labelling, columns the K predicted ones: the same, or
    the first two where the network has one logit. All below ``matrices`` is None where the batches
    had no masks at their own size.
    """

    matrices: np.ndarray  # (N, C, K) pixels, at the network's size
    own_matrices: np.ndarray = None  # (N, C, K) pixels, at each photo's own size
    outlines: np.ndarray = None  # (N, outlines, 4), see outline_counts; by name, see outline_names
    own_outlines: np.ndarray = None  # the same at each photo's own size
    confidences: np.ndarray = None  # (CONFIDENCE_BINS, 3): pixels, right ones, sum of confidence
    distances: np.ndarray = None  # (len(DISTANCES) + 1, 2): pixels, wrong ones
    places: np.ndarray = None  # (height, width): images in which this pixel is wrong
    known: dict = None  # file_name and the groups: (N,) each, by their keys in the record


def measure(model, batches, labelling, *, threshold=0.5, images=None):
    """One pass over a split that counts all that scores and reports need.

    Args:
        model: gives logits (B, H, W, C) of the labelling's classes, or (B, H, W, 1) of the first
            against the second.
        batches: iterable of dicts as from ``pipeline.labelled_batches``: ``image`` (B, H, W, 3)
            and ``mask`` (B, H, W, 1); with ``own_mask``, everything is counted, without it only
            ``matrices``.
        labelling: classes.Labelling of the masks.
        threshold: with one logit: the probability above which a pixel is of the first class.
        images: int, how many will come: draws Keras's progress bar. None: no bar.

    Returns:
        Counts.

    Raises:
        ValueError: the model's output does not fit the labelling, or is not finite; no batch; masks
            with other ids.
    """
    bar = keras.utils.Progbar(images, verbose=0 if images is None else 1)
    matrices, details = [], _Details(labelling, threshold)
    for batch in batches:
        masks = np.asarray(batch["mask"])[..., 0]
        probabilities = predict_probabilities(model, batch["image"], labelling)
        ids = decide(probabilities, threshold)
        columns = probabilities.shape[-1]
        matrices += [
            confusion_matrix(mask, found, len(labelling), VOID)[:, :columns]
            for mask, found in zip(masks, ids)
        ]
        if "own_mask" in batch:
            details.add(batch, masks, probabilities, ids)
        bar.add(len(masks))
    if not matrices:
        raise ValueError("There is nothing to evaluate: the split is empty.")
    return Counts(np.stack(matrices), **details.counts())


class _Details:
    """Adds up what a full report needs beside the matrices."""

    def __init__(self, labelling, threshold):
        self.labelling, self.threshold = labelling, threshold
        self.by_image = {"own_matrices": [], "outlines": [], "own_outlines": []}
        self.totals = {
            "confidences": np.zeros((CONFIDENCE_BINS, 3)),
            "distances": np.zeros((len(DISTANCES) + 1, 2)),
            "places": 0,
        }
        self.known = {}

    def add(self, batch, masks, probabilities, ids):
        labelling, columns = self.labelling, probabilities.shape[-1]
        for mask, own, chances, found in zip(masks, batch["own_mask"], probabilities, ids):
            guess = decide(cv2.resize(chances, own.shape[::-1]), self.threshold)
            matrix = confusion_matrix(own, guess, len(labelling), VOID)[:, :columns]
            self.by_image["own_matrices"].append(matrix)
            self.by_image["outlines"].append(_outlines(mask, found, labelling, columns))
            self.by_image["own_outlines"].append(_outlines(own, guess, labelling, columns))
        counted = masks != VOID
        wrong = counted & (_merged_truth(masks, labelling, columns) != ids)
        self.totals["confidences"] += _confidences(probabilities, ids, wrong, counted)
        self.totals["distances"] += _distances(masks, wrong, counted)
        self.totals["places"] = self.totals["places"] + wrong.sum(axis=0)
        for key, values in batch.items():
            if key not in ("image", "mask", "own_mask"):
                self.known.setdefault(key, []).extend(values)

    def counts(self):
        if not self.known:
            return {}
        names = [name.decode() for name in self.known.pop("file_name")]
        groups = {key: np.array(values) for key, values in self.known.items()}
        by_image = {name: np.stack(values) for name, values in self.by_image.items()}
        return {**by_image, **self.totals, "known": {"file_name": names, **groups}}


def predict_probabilities(model, images, labelling=None):
    """Probabilities (B, H, W, K) float64 for raw images (B, H, W, 3), 0..255: of the classes, or,
    where the model has one logit, of the first class and the second.

    Raises:
        ValueError: images that are not 0..255, another number of channels than one or the
            labelling's classes, or logits that are not finite.
    """
    # float64, or two logits that differ by a little would become equal probabilities
    logits = np.asarray(model.predict_on_batch(checked_images(images)), np.float64)
    if labelling is not None and logits.shape[-1] not in (1, len(labelling)):
        raise ValueError(
            f"The model has {logits.shape[-1]} classes: expected {len(labelling)} "
            f"({', '.join(labelling.names)}), or one logit of {labelling.names[0]}."
        )
    if not np.isfinite(logits).all():
        raise ValueError("The model's output is not finite: its weights are damaged.")
    if logits.shape[-1] == 1:
        logits = np.concatenate([logits, np.zeros_like(logits)], axis=-1)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def checked_images(images):
    """The images as an array, if they are raw pixels.

    Raises:
        ValueError: another shape, not finite, outside 0..255, or floats in 0..1, which a model that
            takes raw pixels would see as black.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype.kind not in "uif" or not images.size:
        raise ValueError(
            f"The images are {images.dtype} of shape {images.shape}: expected numbers of shape "
            f"(B, H, W, channels), 0..255."
        )
    if images.dtype != np.uint8:
        low, high = images.min(), images.max()
        if not (low >= 0 and high <= 255) or (images.dtype.kind == "f" and 0 < high <= 1):
            raise ValueError(
                f"The images hold values from {low} to {high}: expected raw pixels, 0..255. The "
                f"model scales them itself; multiply 0..1 by 255."
            )
    return images


def decide(probabilities, threshold=0.5):
    """Class ids (...) int64 from probabilities (..., K): the most probable class; of two, the first
    where its probability is above the threshold."""
    if probabilities.shape[-1] == 2:
        return np.where(probabilities[..., 0] > threshold, 0, 1)
    return probabilities.argmax(axis=-1)


def predict(model, images, threshold=0.5):
    """Class ids (B, H, W) int64 for raw images (B, H, W, 3), 0..255. Errors as in
    ``predict_probabilities``."""
    return decide(predict_probabilities(model, images), threshold)


def confusion_matrix(y_true, y_pred, classes, void=None):
    """Counts pixels by true and predicted class.

    Args:
        y_true, y_pred: integer class ids 0..classes-1, of the same shape.
        classes: int.
        void: an id of ``y_true`` whose pixels are left out; None if there is none.

    Returns:
        (classes, classes) int64: rows truth, columns prediction.

    Raises:
        ValueError: the shapes differ, an id is out of range or not a whole number.
    """
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"Truth has shape {y_true.shape}, prediction {y_pred.shape}: they must be equal."
        )
    if void is not None and (ignored := y_true == void).any():
        y_true, y_pred = y_true[~ignored], y_pred[~ignored]
    for name, ids in (("truth", y_true), ("prediction", y_pred)):
        if ids.dtype.kind not in "iub":  # a cast would cut probabilities down to class 0
            raise ValueError(f"The {name} is {ids.dtype}: expected integer class ids.")
        if ids.size and (ids.min() < 0 or ids.max() >= classes):
            raise ValueError(
                f"The {name} holds class ids {ids.min()}..{ids.max()}: expected 0..{classes - 1}."
            )
    pairs = y_true.astype(np.int64).ravel() * classes + y_pred.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


# Scores


def scores(matrix):
    """What a confusion matrix says, pooled over all its pixels.

    A class absent from both truth and prediction scores 1.

    Args:
        matrix: (C, C) pixel counts, rows truth, columns prediction. Or (N, C, C), N of them: all
            that is returned is an array then, by matrix.

    Returns:
        dict: ``pixel_accuracy``, ``mean_iou``, ``mean_dice`` (floats, 0..1), ``iou`` and ``dice``
        (lists by class).
    """
    matrix = np.asarray(matrix, np.float64)
    shared = np.diagonal(matrix, axis1=-2, axis2=-1)
    total = matrix.sum(axis=-2) + matrix.sum(axis=-1)
    dice, iou = dice_from_counts(shared, total), iou_from_counts(shared, total)
    pixels = matrix.sum(axis=(-2, -1))
    found = {
        "pixel_accuracy": shared.sum(axis=-1) / np.where(pixels > 0, pixels, 1),
        "mean_iou": iou.mean(axis=-1),
        "mean_dice": dice.mean(axis=-1),
        "iou": iou,
        "dice": dice,
    }
    return found if matrix.ndim > 2 else {name: value.tolist() for name, value in found.items()}


def iou_from_counts(shared, total):
    """As ``dice.dice_from_counts``: |A and B| / |A or B|."""
    return np.where(total > 0, shared / np.where(total > 0, total - shared, 1), 1.0)


def binary_matrices(matrices, rule):
    """Confusion matrices as those of the first class against the second, under a border rule.

    Args:
        matrices: (..., C, C), or (..., C, 2) of a network with one logit.
        rule: an entry of ``Labelling.border_rules``.

    Returns:
        (..., 2, 2). Pixels whose true class the rule ignores are left out; those that are predicted
        as such count as the first class.
    """
    matrices, rule = np.asarray(matrices), np.array(rule)

    def merged(axis, sides):
        parts = [np.compress(sides == side, matrices, axis).sum(axis) for side in (0, 1)]
        return np.stack(parts, axis)

    matrices = merged(-2, rule)
    if matrices.shape[-1] > 2:
        matrices = merged(-1, np.where(rule == VOID, 0, rule))
    return matrices


def binary_scores(matrices, rule):
    """Dice and IoU of the first class, and pixel accuracy, under one border rule.

    Pooled counts every pixel of the set once; per image is the mean over images, where an image
    without any pixel of the class, true or predicted, scores 1.

    Args:
        matrices: (N, C, K), one an image.
        rule: as in ``binary_matrices``.

    Returns:
        dict: ``dice``, ``iou``, ``pixel_accuracy``, all pooled, and each with ``_per_image``.
    """
    pooled = pooled_binary_scores(np.sum(matrices, axis=0), rule)
    each = pooled_binary_scores(matrices, rule)
    return {
        **{name: float(value) for name, value in pooled.items()},
        **{f"{name}_per_image": float(values.mean()) for name, values in each.items()},
    }


def pooled_binary_scores(matrix, rule):
    """``dice``, ``iou`` and ``pixel_accuracy``, (...) float64, from counts (..., C, K); the rest as
    in ``binary_scores``."""
    two = binary_matrices(np.asarray(matrix, np.float64), rule)
    hit, missed, false = two[..., 0, 0], two[..., 0, 1], two[..., 1, 0]
    total, pixels = 2 * hit + missed + false, two.sum(axis=(-2, -1))
    return {
        "dice": dice_from_counts(hit, total),
        "iou": iou_from_counts(hit, total),
        "pixel_accuracy": 1.0 - (missed + false) / np.where(pixels == 0, 1.0, pixels),
    }


def threshold_curve(model, batches, thresholds, labelling, border):
    """Pooled Dice of the first class at each threshold.

    Args:
        model: gives one logit.
        batches, labelling: as in ``measure``.
        thresholds: probabilities, growing.
        border: name of one of the labelling's border rules.

    Returns:
        list of floats, one a threshold.
    """
    edges = [-np.inf, *thresholds, np.inf]
    above = np.zeros((len(labelling), len(edges) - 1), np.int64)  # by class, between thresholds
    for batch in batches:
        probabilities = predict_probabilities(model, batch["image"])[..., 0]
        # (a, b], as "above the threshold" wants it: a histogram's bins are [a, b)
        place = np.searchsorted(edges, probabilities, side="left") - 1
        for number, counts in enumerate(above):
            inside = place[np.asarray(batch["mask"])[..., 0] == number]
            counts += np.bincount(inside, minlength=len(counts))
    first = above[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]  # (C, thresholds): predicted as such
    matrices = np.stack([first, above.sum(axis=1, keepdims=True) - first], axis=-1)
    rule = labelling.border_rules[border]
    return pooled_binary_scores(matrices.transpose(1, 0, 2), rule)["dice"].tolist()


def bootstrap_interval(matrices, score, rounds=2000, seed=0):
    """The 95 % interval of a pooled score if other images of the same kind had been drawn.

    Efron's percentile bootstrap (Annals of Statistics 1979): the score of as many images, drawn
    from these with replacement, many times over.

    Args:
        matrices: (N, ...) counts or values, one an image.
        score: function of sums over images, (rounds, ...), that returns (rounds,) or, for several
            scores, (rounds, scores). For a mean over images: ``lambda sums: sums / N``.
        rounds: int.
        seed: int.

    Returns:
        (low, high): the 2.5 % and the 97.5 % quantile, numbers or lists by score.
    """
    matrices, rng = np.asarray(matrices, np.float64), np.random.default_rng(seed)
    count = len(matrices)
    drawn = [np.bincount(rng.integers(0, count, count), None, count) for _ in range(rounds)]
    sums = np.tensordot(np.array(drawn, np.float64), matrices, axes=1)
    return tuple(np.quantile(score(sums), [0.025, 0.975], axis=0).tolist())


# Outlines


def outline(mask):
    """The pixels of a region that have a neighbour above, below, left or right outside it.

    The image's own edge is no outline: nobody drew it.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool.
    """
    return mask & (cv2.erode(mask.astype(np.uint8), _CROSS) == 0)


def outline_counts(truth, guess, width=OUTLINE_WIDTH):
    """How much of one outline lies near the other, both ways.

    Args:
        truth, guess: (H, W) bool, a region.
        width: pixels; near is a distance of at most that.

    Returns:
        (4,) int64: predicted outline near the true one, predicted outline, true outline near the
        predicted one, true outline, in pixels.
    """
    across = np.arange(-width, width + 1)
    disc = (across[:, None] ** 2 + across**2 <= width**2).astype(np.uint8)
    true, predicted = outline(truth), outline(guess)
    near_true, near_predicted = (
        cv2.dilate(line.astype(np.uint8), disc) > 0 for line in (true, predicted)
    )
    counts = (predicted & near_true, predicted, true & near_predicted, true)
    return np.array([np.count_nonzero(part) for part in counts], np.int64)


def outline_f(counts):
    """The boundary F-score (Csurka et al., BMVC 2013): the harmonic mean of the share of the
    predicted outline that is near the true one, and of the true one that is near the predicted.

    1 where there is neither outline, 0 where there is only one of them.

    Args:
        counts: (..., 4) from ``outline_counts``.

    Returns:
        (...) float64.
    """
    hit, predicted, found, true = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    precision = hit / np.where(predicted == 0, 1, predicted)
    recall = found / np.where(true == 0, 1, true)
    both = precision + recall
    f = 2 * precision * recall / np.where(both == 0, 1, both)
    return np.where((predicted == 0) & (true == 0), 1.0, f)


def outline_names(labelling, columns):
    """Whose outlines ``measure`` takes: with border rules, of the first class under the first rule;
    then of each class, or with one logit of the first class alone."""
    names = [f"{labelling.names[0]}, border as {rule}" for rule in labelling.border_rules]
    if columns < len(labelling):
        return names[:2]
    return names[:1] + list(labelling.names)


def _outlines(mask, ids, labelling, columns):
    ids = np.where(mask == VOID, VOID, ids)  # void has no outline, true or predicted
    rules = list(labelling.border_rules.values())
    groups = [np.flatnonzero(np.array(rule) == 0) for rule in rules[:1]]
    alone = [0] if columns < len(labelling) else range(len(labelling))
    pairs = [(np.isin(mask, group), np.isin(ids, group)) for group in groups]
    pairs += [(mask == number, ids == number) for number in alone]
    return np.stack([outline_counts(*pair) for pair in pairs])


def _merged_truth(masks, labelling, columns):
    """With one logit, the true class under the first border rule."""
    if columns == len(labelling):
        return masks
    table = np.full(256, VOID)
    table[: len(labelling)] = next(iter(labelling.border_rules.values()))
    return table[masks]


def _confidences(probabilities, ids, wrong, counted):
    confidence = np.take_along_axis(probabilities, ids[..., None], axis=-1)[counted][:, 0]
    bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    weights = (np.ones_like(confidence), ~wrong[counted], confidence)
    return np.stack([np.bincount(bins, w, CONFIDENCE_BINS) for w in weights], axis=-1)


def _distances(masks, wrong, counted):
    counts = np.zeros((len(DISTANCES) + 1, 2))
    for mask, missed, inside in zip(masks, wrong, counted):
        change = np.zeros(mask.shape, bool)
        change[:, 1:] |= mask[:, 1:] != mask[:, :-1]
        change[1:] |= mask[1:] != mask[:-1]
        if change.any():
            far = cv2.distanceTransform(
                (~change).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
            )
        else:  # one class alone: nowhere near a change
            far = np.full(mask.shape, np.inf)
        bins = np.searchsorted(DISTANCES, far[inside], side="right")
        for column, weights in enumerate((None, missed[inside])):
            counts[:, column] += np.bincount(bins, weights, len(counts))
    return counts
