"""What a network gets right: confusion matrices, the scores that follow from them, and one pass
over a split that counts everything a report needs."""

from typing import NamedTuple

import cv2
import keras
import numpy as np
import tensorflow as tf

from helpers import CLASS_NAMES, data

OUTLINE_WIDTH = 2  # pixels that an outline may be off and still count as found
ANIMAL = "pet, border as pet"  # the outline that every head predicts
CONFIDENCE_BINS = 20
DISTANCES = (1, 2, 4, 8, 16, 32, 64)  # pixels from the nearest change of class: edges of bins
PLACES = 16  # cells a side of the map of errors
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class Counts(NamedTuple):
    """What one pass over a split has counted; every score of a report follows from it.

    N images; rows are the true classes (pet, background, border), columns the K predicted ones:
    the same three, or pet and background where the network has one logit.
    """

    files: list  # N file names
    breeds: np.ndarray  # (N,) index into the data set's label names
    species: np.ndarray  # (N,) 0 cat, 1 dog
    matrices: np.ndarray  # (N, 3, K) pixels, at the network's size
    own_matrices: np.ndarray  # (N, 3, K) pixels, at each photo's own size
    outlines: np.ndarray  # (N, outlines, 4), see outline_counts; by name, see outline_names
    own_outlines: np.ndarray  # the same at each photo's own size
    confidences: np.ndarray  # (CONFIDENCE_BINS, 3): pixels, right ones, sum of confidence
    distances: np.ndarray  # (len(DISTANCES) + 1, 2): pixels, wrong ones
    places: np.ndarray  # (size, size): images in which this pixel is wrong


def confusion_matrix(y_true, y_pred, classes):
    """Counts pixels by true and predicted class.

    Args:
        y_true, y_pred: integer class ids 0..classes-1, of the same shape.
        classes: int.

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
    for name, ids in (("truth", y_true), ("prediction", y_pred)):
        if ids.dtype.kind not in "iub":  # a cast would cut probabilities down to class 0
            raise ValueError(f"The {name} is {ids.dtype}: expected integer class ids.")
        if ids.size and (ids.min() < 0 or ids.max() >= classes):
            raise ValueError(
                f"The {name} holds class ids {ids.min()}..{ids.max()}: expected 0..{classes - 1}."
            )
    pairs = y_true.astype(np.int64).ravel() * classes + y_pred.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def measure(model, pets, split, *, threshold=0.5, limit=None, progress=False):
    """One pass over a split that counts everything a report needs, see ``report``.

    Args:
        model: gives logits (B, H, W, 3) of the classes, or (B, H, W, 1) of the pet.
        pets: from ``data.open_pets``.
        split: as in ``data.load_split``.
        threshold: with one logit: the probability above which a pixel is predicted as pet.
        limit: only the first so many images; None for all.
        progress: bool, draw Keras's progress bar.

    Returns:
        Counts.

    Raises:
        ValueError: the model's output does not fit, or is not finite; an empty split, or a record
            that is damaged, which the message names.
    """
    size = model.input_shape[1]
    bar = keras.utils.Progbar(data.count_examples(pets, split, limit), verbose=int(progress))
    images = []  # what is counted image by image
    totals = [
        np.zeros((CONFIDENCE_BINS, 3)),
        np.zeros((len(DISTANCES) + 1, 2)),
        np.zeros((size, size)),
    ]
    try:
        for batch in data.labelled_batches(pets, split, size, 32, limit):
            known = zip(batch["file_name"].numpy(), batch["label"], batch["species"])
            masks = batch["mask"].numpy()[..., 0]
            probabilities = predict_probabilities(model, batch["image"].numpy())
            ids = decide(probabilities, threshold)
            for place, (name, label, species) in enumerate(known):
                own = data.decode_own_mask(batch["own_mask"][place])
                guess = decide(cv2.resize(probabilities[place], own.shape[::-1]), threshold)
                columns = probabilities.shape[-1]
                images.append(
                    (
                        name.decode(),
                        int(label),
                        int(species),
                        confusion_matrix(masks[place], ids[place], 3)[:, :columns],
                        confusion_matrix(own, guess, 3)[:, :columns],
                        _outlines(masks[place], ids[place], columns),
                        _outlines(own, guess, columns),
                    )
                )
            right = _right(masks, ids, probabilities.shape[-1])
            for total, more in zip(
                totals,
                (
                    _confidences(probabilities, ids, right),
                    _distances(masks, right),
                    (~right).sum(axis=0),
                ),
            ):
                total += more
            bar.add(len(masks))
    except tf.errors.OpError:
        fault = data.find_fault(pets, split)
        if fault is None:
            raise
        raise ValueError(fault) from None
    if not images:
        raise ValueError("There is nothing to evaluate: the split is empty.")
    files, *columns = zip(*images, strict=True)
    return Counts(list(files), *map(np.stack, columns), *totals)


def predict_probabilities(model, images):
    """Probabilities (B, H, W, K) float64 for raw images (B, H, W, 3), 0..255: of the classes, or,
    where the model has one logit, of pet and background.

    Raises:
        ValueError: neither three classes nor one logit, or logits that are not finite.
    """
    # float64, or two logits that differ by a little would become equal probabilities
    logits = np.asarray(model.predict_on_batch(np.asarray(images)), np.float64)
    if logits.shape[-1] not in (1, 3):
        raise ValueError(
            f"The model has {logits.shape[-1]} classes: expected 3 (pet, background, border), or "
            f"one logit of the pet."
        )
    if not np.isfinite(logits).all():
        raise ValueError("The model's output is not finite: its weights are damaged.")
    if logits.shape[-1] == 1:
        logits = np.concatenate([logits, np.zeros_like(logits)], axis=-1)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def decide(probabilities, threshold=0.5):
    """Class ids (...) int64 from probabilities (..., K): the most probable of three classes; of
    two, pet where its probability is above the threshold."""
    if probabilities.shape[-1] == 2:
        return np.where(probabilities[..., 0] > threshold, 0, 1)
    return probabilities.argmax(axis=-1)


def evaluate(model, batches, classes):
    """The confusion matrix of a model over a whole split, batch by batch.

    Args:
        model: gives logits (B, H, W, classes).
        batches: iterable of (images, masks), masks (B, H, W, 1) class ids.
        classes: int.

    Returns:
        (classes, classes) int64: rows truth, columns prediction.

    Raises:
        ValueError: no batch, another number of classes, or logits that are not finite.
    """
    matrix = np.zeros((classes, classes), np.int64)
    for images, masks in batches:
        masks = np.asarray(masks)
        matrix += confusion_matrix(masks[..., 0], predict(model, images, classes), classes)
    if not matrix.sum():
        raise ValueError("There is nothing to evaluate: the split is empty.")
    return matrix


def predict(model, images, classes=None):
    """Class ids (B, H, W) int64 for raw images (B, H, W, 3), 0..255.

    Raises:
        ValueError: another number of classes than expected, or logits that are not finite.
    """
    logits = np.asarray(model.predict_on_batch(np.asarray(images)))
    if classes is not None and logits.shape[-1] != classes:
        raise ValueError(f"The model has {logits.shape[-1]} classes, the masks have {classes}.")
    if not np.isfinite(logits).all():
        raise ValueError("The model's output is not finite: its weights are damaged.")
    return logits.argmax(axis=-1)


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
    present = total > 0
    dice = np.where(present, 2 * shared / np.where(present, total, 1), 1.0)
    iou = np.where(present, shared / np.where(present, total - shared, 1), 1.0)
    found = {
        "pixel_accuracy": shared.sum(axis=-1) / matrix.sum(axis=(-2, -1)),
        "mean_iou": iou.mean(axis=-1),
        "mean_dice": dice.mean(axis=-1),
        "iou": iou,
        "dice": dice,
    }
    return found if matrix.ndim > 2 else {name: value.tolist() for name, value in found.items()}


def border_as_pet(matrix):
    """The 3x3 matrix (pet, background, border) as a 2x2 one (pet with border, background)."""
    matrix = np.asarray(matrix)
    rows = np.stack([matrix[..., 0, :] + matrix[..., 2, :], matrix[..., 1, :]], axis=-2)
    return np.stack([rows[..., 0] + rows[..., 2], rows[..., 1]], axis=-1)


def reported_scores(matrix):
    """``scores``, and ``dice_border_as_pet``."""
    dice = scores(border_as_pet(matrix))["dice"]
    return {**scores(matrix), "dice_border_as_pet": np.asarray(dice)[..., 0].tolist()}


def binary_matrices(model, batches, threshold=0.5):
    """What a model that tells pet from background makes of each image's three classes.

    With the border as a row of its own, the scores under every border rule follow from it.

    Args:
        model: gives logits (B, H, W, 1).
        batches: iterable of (images, masks), masks (B, H, W, 1) class ids: 0 pet, 1 background,
            2 border.
        threshold: probability above which a pixel is predicted as pet.

    Returns:
        (N, 3, 2) int64, one matrix an image: rows pet, background, border; columns predicted pet,
        predicted background.

    Raises:
        ValueError: no batch, other than one channel, or logits that are not finite.
    """
    matrices = []
    for images, masks in batches:
        foreground = binary_probabilities(model, images) > threshold
        for mask, pet in zip(np.asarray(masks)[..., 0], foreground, strict=True):
            matrices.append(confusion_matrix(mask, np.where(pet, 0, 1), 3)[:, :2])
    if not matrices:
        raise ValueError("There is nothing to evaluate: the split is empty.")
    return np.stack(matrices)


def binary_probabilities(model, images):
    """The probability of pet, (B, H, W) float64, for raw images (B, H, W, 3), 0..255.

    Raises:
        ValueError: other than one logit, or logits that are not finite.
    """
    probabilities = predict_probabilities(model, images)
    if probabilities.shape[-1] != 2:
        raise ValueError(
            f"The model has {probabilities.shape[-1]} classes: expected one logit a pixel."
        )
    return probabilities[..., 0]


def binary_scores(matrices, border):
    """Dice and IoU of the pet, and pixel accuracy, under one border rule.

    Pooled counts every pixel of the set once; per image is the mean over images, where an image
    without any pet, true or predicted, scores 1.

    Args:
        matrices: (N, 3, 2) from ``binary_matrices``.
        border: ``"pet"``, ``"background"`` or ``"ignore"``.

    Returns:
        dict: ``dice``, ``iou``, ``pixel_accuracy``, all pooled, and each with ``_per_image``.
    """
    pooled = pooled_binary_scores(np.sum(matrices, axis=0), border)
    each = pooled_binary_scores(matrices, border)
    return {
        **{name: float(value) for name, value in pooled.items()},
        **{f"{name}_per_image": float(values.mean()) for name, values in each.items()},
    }


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


def threshold_curve(model, batches, thresholds, border):
    """Pooled Dice of the pet at each threshold.

    Args:
        model, batches: as in ``binary_matrices``.
        thresholds: probabilities, growing.
        border: as in ``binary_scores``.

    Returns:
        list of floats, one a threshold.
    """
    edges = [-np.inf, *thresholds, np.inf]
    above = np.zeros((3, len(thresholds) + 1), np.int64)  # pixels by class, between thresholds
    for images, masks in batches:
        probabilities, masks = binary_probabilities(model, images), np.asarray(masks)[..., 0]
        # (a, b], as "above the threshold" wants it: a histogram's bins are [a, b)
        place = np.searchsorted(edges, probabilities, side="left") - 1
        for number in range(3):
            above[number] += np.bincount(place[masks == number], minlength=len(thresholds) + 1)
    pet = above[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]  # (3, thresholds): predicted as pet
    matrices = np.stack([pet, above.sum(axis=1, keepdims=True) - pet], axis=-1)
    return pooled_binary_scores(matrices.transpose(1, 0, 2), border)["dice"].tolist()


def _two_rows(matrices, border):  # (..., 3, 2) -> (..., 2, 2): true pet, true background
    pet, background, at_border = (matrices[..., row, :] for row in range(3))
    if border == "pet":
        pet = pet + at_border
    elif border == "background":
        background = background + at_border
    elif border != "ignore":
        raise ValueError(f"border={border!r}: expected pet, background or ignore.")
    return np.stack([pet, background], axis=-2)


def pooled_binary_scores(matrix, border):
    """``dice``, ``iou`` and ``pixel_accuracy`` of the pet, (...) float64, from counts (..., 3, 2);
    the rest as in ``binary_scores``."""
    two = _two_rows(np.asarray(matrix, np.float64), border)
    hit, missed, false = two[..., 0, 0], two[..., 0, 1], two[..., 1, 0]
    union, pixels = hit + missed + false, two.sum(axis=(-2, -1))
    empty = union == 0
    return {
        "dice": np.where(empty, 1.0, 2 * hit / np.where(empty, 1.0, union + hit)),
        "iou": np.where(empty, 1.0, hit / np.where(empty, 1.0, union)),
        "pixel_accuracy": 1.0 - (missed + false) / np.where(pixels == 0, 1.0, pixels),
    }


def as_binary(matrices, border):
    """Confusion matrices of three classes as those of pet against background.

    Truth keeps its three rows. A predicted border counts as pet, except under the rule that the
    border is background.

    Args:
        matrices: (..., 3, 3), or (..., 3, 2), which stay as they are.
        border: as in ``binary_scores``.

    Returns:
        (..., 3, 2).
    """
    if matrices.shape[-1] == 2:
        return matrices
    pet, background, at_border = (matrices[..., column] for column in range(3))
    if border == "background":
        return np.stack([pet, background + at_border], axis=-1)
    return np.stack([pet + at_border, background], axis=-1)


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


def outline_names(columns):
    """Whose outlines ``measure`` takes: of the pet with its border, and then of each class, or
    with two predicted columns of the pet without the border."""
    alone = ["pet, border as background"] if columns == 2 else CLASS_NAMES
    return [ANIMAL, *alone]


def _outlines(mask, ids, columns):
    alone = [0] if columns == 2 else range(3)
    pairs = [(mask != 1, ids != 1), *((mask == number, ids == number) for number in alone)]
    return np.stack([outline_counts(*pair) for pair in pairs])


def _right(masks, ids, columns):
    if columns == 2:  # the border as pet
        masks = np.where(masks == 1, 1, 0)
    return masks == ids


def _confidences(probabilities, ids, right):
    confidence = np.take_along_axis(probabilities, ids[..., None], axis=-1).ravel()
    bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    weights = (np.ones_like(confidence), right.ravel(), confidence)
    return np.stack([np.bincount(bins, w, CONFIDENCE_BINS) for w in weights], axis=-1)


def _distances(masks, right):
    counts = np.zeros((len(DISTANCES) + 1, 2))
    for mask, hit in zip(masks, right, strict=True):
        change = np.zeros(mask.shape, bool)
        change[:, 1:] |= mask[:, 1:] != mask[:, :-1]
        change[1:] |= mask[1:] != mask[:-1]
        if change.any():
            far = cv2.distanceTransform(
                (~change).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
            )
        else:  # one class alone: nowhere near a change
            far = np.full(mask.shape, np.inf)
        bins = np.searchsorted(DISTANCES, far.ravel(), side="right")
        for column, weights in enumerate((None, ~hit.ravel())):
            counts[:, column] += np.bincount(bins, weights, len(counts))
    return counts
