"""What a network gets right: confusion matrices, the scores that follow from them, and one pass
over a split that counts everything a report needs."""

import numpy as np


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
    logits = np.asarray(model.predict_on_batch(images))
    if classes is not None and logits.shape[-1] != classes:
        raise ValueError(f"The model has {logits.shape[-1]} classes, the masks have {classes}.")
    if not np.isfinite(logits).all():
        raise ValueError("The model's output is not finite: its weights are damaged.")
    return logits.argmax(axis=-1)


def scores(matrix):
    """What a confusion matrix says, pooled over all its pixels.

    A class absent from both truth and prediction scores 1.

    Args:
        matrix: (C, C) pixel counts, rows truth, columns prediction.

    Returns:
        dict: ``pixel_accuracy``, ``mean_iou``, ``mean_dice`` (floats, 0..1), ``iou`` and ``dice``
        (lists by class).
    """
    matrix = np.asarray(matrix, np.float64)
    shared = np.diag(matrix)
    total = matrix.sum(axis=0) + matrix.sum(axis=1)
    present = total > 0
    dice = np.where(present, 2 * shared / np.where(present, total, 1), 1.0)
    iou = np.where(present, shared / np.where(present, total - shared, 1), 1.0)
    return {
        "pixel_accuracy": float(shared.sum() / matrix.sum()),
        "mean_iou": float(iou.mean()),
        "mean_dice": float(dice.mean()),
        "iou": iou.tolist(),
        "dice": dice.tolist(),
    }


def border_as_pet(matrix):
    """The 3x3 matrix (pet, background, border) as a 2x2 one (pet with border, background)."""
    matrix = np.asarray(matrix)
    rows = np.stack([matrix[0] + matrix[2], matrix[1]])
    return np.stack([rows[:, 0] + rows[:, 2], rows[:, 1]], axis=1)


def reported_scores(matrix):
    """``scores``, and ``dice_border_as_pet``."""
    return {**scores(matrix), "dice_border_as_pet": scores(border_as_pet(matrix))["dice"][0]}


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
    """The probability of pet, (B, H, W) float32, for raw images (B, H, W, 3), 0..255.

    Raises:
        ValueError: other than one channel, or logits that are not finite.
    """
    logits = np.asarray(model.predict_on_batch(images), np.float32)
    if logits.shape[-1] != 1:
        raise ValueError(f"The model has {logits.shape[-1]} classes: expected one logit a pixel.")
    if not np.isfinite(logits).all():
        raise ValueError("The model's output is not finite: its weights are damaged.")
    return 1.0 / (1.0 + np.exp(-np.clip(logits[..., 0], -80.0, 80.0)))


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
    two = _two_rows(np.asarray(matrices, np.float64), border)
    pooled, each = _binary_scores(two.sum(axis=0)), _binary_scores(two)
    return {
        **{name: float(value) for name, value in pooled.items()},
        **{f"{name}_per_image": float(values.mean()) for name, values in each.items()},
    }


def bootstrap_interval(matrices, score, rounds=2000, seed=0):
    """The 95 % interval of a score if other images of the same kind had been drawn.

    Efron's percentile bootstrap (Annals of Statistics 1979): the score of as many images, drawn
    from these with replacement, many times over.

    Args:
        matrices: (N, ...) one matrix an image.
        score: function of (N, ...) matrices that returns a number.
        rounds: int.
        seed: int.

    Returns:
        (low, high): the 2.5 % and the 97.5 % quantile.
    """
    matrices, rng = np.asarray(matrices), np.random.default_rng(seed)
    values = [
        score(matrices[rng.integers(0, len(matrices), len(matrices))]) for _ in range(rounds)
    ]
    return tuple(np.quantile(values, [0.025, 0.975]).tolist())


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
    two = _two_rows(matrices.transpose(1, 0, 2).astype(np.float64), border)
    return _binary_scores(two)["dice"].tolist()


def _two_rows(matrices, border):  # (..., 3, 2) -> (..., 2, 2): true pet, true background
    pet, background, at_border = (matrices[..., row, :] for row in range(3))
    if border == "pet":
        pet = pet + at_border
    elif border == "background":
        background = background + at_border
    elif border != "ignore":
        raise ValueError(f"border={border!r}: expected pet, background or ignore.")
    return np.stack([pet, background], axis=-2)


def _binary_scores(two):  # (..., 2, 2) -> dict of (...)
    hit, missed, false = two[..., 0, 0], two[..., 0, 1], two[..., 1, 0]
    union, pixels = hit + missed + false, two.sum(axis=(-2, -1))
    empty = union == 0
    return {
        "dice": np.where(empty, 1.0, 2 * hit / np.where(empty, 1.0, union + hit)),
        "iou": np.where(empty, 1.0, hit / np.where(empty, 1.0, union)),
        "pixel_accuracy": 1.0 - (missed + false) / np.where(pixels == 0, 1.0, pixels),
    }
