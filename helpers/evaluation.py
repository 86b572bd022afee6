"""What a network gets right: one pass over a split that counts, and the scores that follow from
the counts."""

from typing import NamedTuple

import numpy as np

from helpers import boundaries, photos
from helpers.classes import VOID
from helpers.counts import dice_from_counts, iou_from_counts

CONFIDENCE_BINS = 20


class Counts(NamedTuple):
    """What one pass over a split has counted; every score follows from it.

    N images, without those that are void throughout. C classes of the labelling; K predicted
    classes: the same, or the first two where the network has one logit. All below ``matrices`` is
    None where the batches had no masks at their own size.
    """

    matrices: np.ndarray  # (N, C, K) pixels by true and predicted class, at the network's size
    own_matrices: np.ndarray = None  # (N, C, K), at each photo's own size
    outlines: np.ndarray = None  # (N, regions, 4), see boundaries.outline_counts, outline_regions
    own_outlines: np.ndarray = None  # the same at each photo's own size
    confidences: np.ndarray = None  # (N, CONFIDENCE_BINS, 3), see calibration_error
    distances: np.ndarray = None  # (bins, 2): pixels, wrong ones, see boundaries.distance_counts
    places: np.ndarray = None  # (height, width, 2): images that count this pixel, that miss it
    known: dict = None  # file_name and the groups: (N,) each, by their keys in the record


def measure(model, batches, labelling, *, threshold=None, images=None):
    """One pass over a split that counts all that scores and reports need.

    Args:
        model: gives logits (B, H, W, C) of the labelling's classes, or (B, H, W, 1) of the first
            against the second.
        batches: iterable of dicts as from ``pipeline.labelled_batches``: ``image`` (B, H, W,
            channels) and ``mask`` (B, H, W, 1); with ``own_mask``, everything is counted, without
            it only ``matrices``.
        labelling: classes.Labelling of the masks.
        threshold: with one logit: the probability above which a pixel is of the first class,
            None for 0.5.
        images: int, how many will come: draws Keras's progress bar. None: no bar.

    Returns:
        Counts.

    Raises:
        ValueError: the model's output does not fit the labelling, or is not finite; nothing to
            count; masks with other ids.
    """
    import keras  # here, because what only predicts a photo need not load it

    bar = keras.utils.Progbar(images, verbose=0 if images is None else 1)
    parts = []
    for batch in batches:
        probabilities = predict_probabilities(model, batch["image"], labelling)
        parts.append(_count(batch, probabilities, labelling, threshold))
        bar.add(len(probabilities))
    if not any(part.matrices.any() for part in parts):
        raise ValueError("There is nothing to evaluate: the split is empty or void throughout.")
    return joined(parts)


def _count(batch, probabilities, labelling, threshold):
    masks, columns = np.asarray(batch["mask"])[..., 0], probabilities.shape[-1]
    ids = decide(probabilities, threshold)
    matrices = [_matrix(*pair, labelling, columns) for pair in zip(masks, ids)]
    if "own_mask" not in batch:
        return Counts(np.stack(matrices))
    own_matrices, own_outlines = [], []
    for mask, chances in zip(batch["own_mask"], probabilities):  # one at a time: they are large
        guess = decide(photos.resized_maps(chances, mask.shape), threshold)
        own_matrices.append(_matrix(mask, guess, labelling, columns))
        own_outlines.append(_outlines(mask, guess, labelling, columns))
    truth = true_classes(masks, labelling, columns)
    counted = truth != VOID
    wrong = counted & (truth != ids)
    others = {key: batch[key] for key in batch if key not in ("image", "mask", "own_mask")}
    names = np.array([name.decode() for name in others.pop("file_name")])
    return Counts(
        np.stack(matrices),
        np.stack(own_matrices),
        np.stack([_outlines(*pair, labelling, columns) for pair in zip(masks, ids)]),
        np.stack(own_outlines),
        np.stack([_confidences(*parts) for parts in zip(probabilities, ids, counted, wrong)]),
        boundaries.distance_counts(masks, counted, wrong),
        np.stack([counted.sum(axis=0), wrong.sum(axis=0)], axis=-1),
        {"file_name": names, **others},
    )


def joined(parts):
    """The Counts of several parts of a split, or of several splits, as those of one."""
    kept = np.concatenate([part.matrices for part in parts]).any(axis=(1, 2))
    fields = {}
    for name, values in zip(Counts._fields, zip(*parts)):
        if name in ("distances", "places"):
            fields[name] = None if values[0] is None else sum(values)
        elif name == "known" and values[0]:
            keys = values[0]
            fields[name] = {k: np.concatenate([v[k] for v in values])[kept] for k in keys}
        elif values[0] is not None:
            fields[name] = np.concatenate(values)[kept]
    return Counts(**fields)


def predict_probabilities(model, images, labelling=None):
    """Probabilities (B, H, W, K) float64 for raw images (B, H, W, channels), 0..255: of the
    classes, or, where the model has one logit, of the first class and the second.

    Raises:
        ValueError: see ``checked_images``; an output of another size than the images, of other
            classes than the labelling's, or that is not finite.
    """
    images = checked_images(images, model.input_shape[-1])
    # float64, or two logits that differ by a little would become equal probabilities
    logits = np.asarray(model.predict_on_batch(images), np.float64)
    logits = logits[: len(images)]  # on several devices, TensorFlow gives all images of each
    if logits.shape[:-1] != images.shape[:-1]:
        raise ValueError(
            f"The model makes {logits.shape} of images of shape {images.shape}: expected logits "
            f"for each pixel."
        )
    if labelling is not None:
        _check_classes(logits.shape[-1], labelling)
    if not np.isfinite(logits).all():
        raise ValueError("The model's output is not finite: its weights are damaged.")
    if logits.shape[-1] == 1:
        logits = np.concatenate([logits, np.zeros_like(logits)], axis=-1)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _check_classes(channels, labelling):
    alone = len(labelling) == 2 or labelling.border_rules  # says what the other classes count as
    if channels != len(labelling) and not (channels == 1 and alone):
        raise ValueError(
            f"The model has {channels} classes: expected {len(labelling)} "
            f"({', '.join(labelling.names)})"
            + (f", or one logit of {labelling.names[0]}." if alone else ".")
        )


def checked_images(images, channels=3):
    """The images as an array, if they are raw pixels.

    Raises:
        ValueError: another shape than (B, H, W, channels); values that are no numbers, not finite
            or outside 0..255; or floats that are all below 2, such as those scaled to 0..1, which
            a model that takes raw pixels would see as black.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != channels or images.dtype.kind not in "uif":
        raise ValueError(
            f"The images are {images.dtype} of shape {images.shape}: expected numbers of shape "
            f"(B, H, W, {channels}), 0..255."
        )
    if images.dtype != np.uint8 and images.size:
        low, high = images.min(), images.max()
        scaled = images.dtype.kind == "f" and 0 < high < 2
        if scaled or not (low >= 0 and high <= 255):  # NaN is neither
            raise ValueError(
                f"The images hold values from {low:g} to {high:g}: expected raw pixels, 0..255. "
                f"The model scales them itself; multiply 0..1 by 255."
            )
    return images


def decide(probabilities, threshold=None):
    """Class ids (...) int64 from probabilities (..., K): the most probable class; of two, the
    first where its probability is above the threshold, None for 0.5.

    Raises:
        ValueError: a threshold below 0, or of 1 and more.
    """
    threshold = 0.5 if threshold is None else threshold
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold={threshold}: expected a probability from 0 to below 1.")
    if probabilities.shape[-1] == 2:
        return np.where(probabilities[..., 0] > threshold, 0, 1)
    return probabilities.argmax(axis=-1)


def predict(model, images, threshold=None):
    """Class ids (B, H, W) int64 for raw images (B, H, W, 3), 0..255. Errors as in
    ``predict_probabilities``."""
    return decide(predict_probabilities(model, images), threshold)


def confusion_matrix(y_true, y_pred, classes, *, predicted=None, void=None):
    """Counts pixels by true and predicted class.

    Args:
        y_true: (...) integer class ids, 0..classes-1.
        y_pred: the same shape: predicted ids, 0..predicted-1.
        classes: int.
        predicted: int, the number of classes that can be predicted; None for ``classes``.
        void: an id of ``y_true`` whose pixels are left out; None if there is none.

    Returns:
        (classes, predicted) int64: rows truth, columns prediction.

    Raises:
        ValueError: the shapes differ, an id is out of range or not a whole number.
    """
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    predicted = classes if predicted is None else predicted
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"Truth has shape {y_true.shape}, prediction {y_pred.shape}: they must be equal."
        )
    if void is not None and (ignored := y_true == void).any():
        y_true, y_pred = y_true[~ignored], y_pred[~ignored]
    for name, ids, count in (("truth", y_true, classes), ("prediction", y_pred, predicted)):
        if ids.dtype.kind not in "iub":  # a cast would cut probabilities down to class 0
            raise ValueError(f"The {name} is {ids.dtype}: expected integer class ids.")
        if ids.size and (ids.min() < 0 or ids.max() >= count):
            raise ValueError(
                f"The {name} holds class ids {ids.min()}..{ids.max()}: expected 0..{count - 1}."
            )
    pairs = y_true.astype(np.int64).ravel() * predicted + y_pred.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes * predicted).reshape(classes, predicted)


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

    Raises:
        ValueError: another shape, or numbers that are no counts.
    """
    matrix = _checked_counts(matrix)
    if matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"A matrix of shape {matrix.shape}: expected as many columns as rows.")
    shared = np.diagonal(matrix, axis1=-2, axis2=-1)
    total = matrix.sum(axis=-2) + matrix.sum(axis=-1)
    dice, iou = dice_from_counts(shared, total), iou_from_counts(shared, total)
    pixels = matrix.sum(axis=(-2, -1))
    found = {
        "pixel_accuracy": np.where(pixels, shared.sum(axis=-1) / np.where(pixels, pixels, 1), 1.0),
        "mean_iou": iou.mean(axis=-1),
        "mean_dice": dice.mean(axis=-1),
        "iou": iou,
        "dice": dice,
    }
    return found if matrix.ndim > 2 else {name: value.tolist() for name, value in found.items()}


def binary_matrices(matrices, rule):
    """Confusion matrices as those of the first class against the second, under a border rule.

    Args:
        matrices: (..., C, C), or (..., C, 2) of a network with one logit.
        rule: an entry of ``Labelling.border_rules``.

    Returns:
        (..., 2, 2) float64. Pixels whose true class the rule ignores are left out; those that are
        predicted as such count as the first class.

    Raises:
        ValueError: another shape, or numbers that are no counts.
    """
    matrices, rule = _checked_counts(matrices), np.array(rule)
    rows, columns = matrices.shape[-2:]
    if rows != len(rule) or columns not in (rows, 2):
        raise ValueError(
            f"Matrices of shape {matrices.shape}: expected {len(rule)} rows, as the rule has "
            f"entries, and as many columns, or 2 of a network with one logit."
        )

    def merged(axis, sides):
        parts = [np.compress(sides == side, matrices, axis).sum(axis) for side in (0, 1)]
        return np.stack(parts, axis)

    matrices = merged(-2, rule)
    return merged(-1, np.where(rule == VOID, 0, rule)) if columns > 2 else matrices


def _checked_counts(matrices):
    matrices = np.asarray(matrices, np.float64)
    if matrices.ndim < 2 or not (matrices >= 0).all() or not np.isfinite(matrices).all():
        raise ValueError(
            f"Of shape {matrices.shape}: expected confusion matrices (..., C, C) of pixel counts."
        )
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
    """``dice``, ``iou`` and ``pixel_accuracy``, (...) float64, from counts (..., C, K); the rest
    as in ``binary_scores``."""
    two = binary_matrices(matrix, rule)
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
        thresholds: probabilities, increasing.
        border: name of one of the labelling's border rules.

    Returns:
        list of floats, one a threshold.

    Raises:
        ValueError: as in ``measure``; an unknown rule; thresholds that do not increase.
    """
    rule, above = labelling.border_rule(border), 0
    if not (np.diff([0, *thresholds, 1]) > 0).all():
        raise ValueError(f"thresholds={thresholds}: expected increasing numbers between 0 and 1.")
    for batch in batches:
        probabilities = predict_probabilities(model, batch["image"], labelling.binary)[..., 0]
        # how many thresholds it is above
        place = np.searchsorted(thresholds, probabilities, side="left")
        above = above + confusion_matrix(
            np.asarray(batch["mask"])[..., 0],
            place,
            len(labelling),
            predicted=len(thresholds) + 1,
            void=labelling.ignore,
        )
    if not np.any(above):
        raise ValueError("There is nothing to evaluate: the split is empty or void throughout.")
    first = above[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]  # (C, thresholds): predicted as such
    matrices = np.stack([first, above.sum(axis=1, keepdims=True) - first], axis=-1)
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

    Raises:
        ValueError: no image, or values that are not finite.
    """
    matrices, rng = np.asarray(matrices, np.float64), np.random.default_rng(seed)
    count = len(matrices)
    if not count or not np.isfinite(matrices).all():
        raise ValueError(f"{count} images: expected one or more, and finite values.")
    drawn = [np.bincount(rng.integers(0, count, count), None, count) for _ in range(rounds)]
    sums = np.tensordot(np.array(drawn, np.float64), matrices, axes=1)
    return tuple(np.quantile(score(sums), [0.025, 0.975], axis=0).tolist())


def calibration_error(confidences):
    """The expected calibration error (Guo et al., ICML 2017): how far the probability of the
    predicted class is from the share of pixels that are right, the mean over bins by pixels.

    Args:
        confidences: (..., bins, 3): pixels, right ones, sum of their probabilities, by bin.

    Returns:
        (...) float64, 0..1.
    """
    pixels, right, confidence = np.moveaxis(np.asarray(confidences, np.float64), -1, 0)
    return np.abs(confidence - right).sum(axis=-1) / pixels.sum(axis=-1)


# What is counted


def outline_regions(labelling, columns):
    """Whose outlines ``measure`` takes.

    Of the first class under a border rule that ignores nothing: the first such rule, or with one
    logit each. And of each class by itself, where the network tells them apart.

    Returns:
        dict: name -> ids of the classes that make up the region.
    """
    merged = {
        f"{labelling.names[0]}, border as {rule}": np.flatnonzero(np.equal(entries, 0)).tolist()
        for rule, entries in labelling.border_rules.items()
        if VOID not in entries
    }
    if columns < len(labelling):
        return merged
    alone = {name: [number] for number, name in enumerate(labelling.names)}
    return dict(list(merged.items())[:1]) | alone


def _outlines(mask, ids, labelling, columns):
    void = None if labelling.ignore is None else mask == VOID
    counts = [
        boundaries.outline_counts(np.isin(mask, region), np.isin(ids, region), void)
        for region in outline_regions(labelling, columns).values()
    ]
    return np.reshape(counts, (-1, 4))


def _matrix(mask, ids, labelling, columns):
    return confusion_matrix(mask, ids, len(labelling), predicted=columns, void=labelling.ignore)


def true_classes(masks, labelling, columns):
    """What a network of so many classes should say of each pixel, or ``classes.VOID``: the class;
    of two, the first or the second under the labelling's first border rule."""
    if columns == len(labelling):
        return masks
    table = np.full(256, VOID)
    table[: len(labelling)] = next(iter(labelling.border_rules.values()))
    return table[masks]


def _confidences(probabilities, ids, counted, wrong):
    confidence = np.take_along_axis(probabilities, ids[..., None], axis=-1)[counted][:, 0]
    bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    weights = (np.ones_like(confidence), ~wrong[counted], confidence)
    return np.stack([np.bincount(bins, w, CONFIDENCE_BINS) for w in weights], axis=-1)
