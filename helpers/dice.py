"""The Dice coefficient as a measure; ``helpers.losses`` has it as a loss.

Dice of two regions A and B is 2 |A and B| / (|A| + |B|): 1 where they agree, 0 where they are
disjoint (Dice, Ecology 1945).

Three rules hold throughout, beside those of ``helpers.labels``:

- **Per image and per class.** Nothing is pooled over the batch behind the caller's back.
- **A class that is absent from both truth and prediction scores 1**: nothing was there, and
  nothing was claimed. (In the soft form the smoothing term gives the same.)
- **float32 inside.** A float16 sum overflows at 65,504, which a 256x256 mask reaches.

Written in ``keras.ops``: runs on TensorFlow, JAX and PyTorch.
"""

import math

import keras
from keras import ops

from helpers import labels

SMOOTH = 1.0  # one pixel: far below any region that matters, enough to keep 0/0 away


def dice_coefficient(y_true, y_pred, classes, ignore=None):
    """Dice of two label maps, per image and per class.

    Args:
        y_true: (B, H, W, 1) or (B, H, W) class ids, whole numbers 0..classes-1.
        y_pred: the same shape: predicted class ids.
        classes: number of classes; 2 for binary masks of 0 and 1.
        ignore: None, or the id in ``y_true`` of pixels that count for nothing, an int.

    Returns:
        (B, classes) float32, 0..1. A class absent from both maps scores 1.

    Raises:
        ValueError: the shapes differ or are not those above, or an id is out of range. (In a
            compiled function, which cannot raise: NaN for that image.)
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    # A last axis of 1 is a channel, so the shape (H, W, 1) is one image without its batch axis.
    if len(y_true.shape) != (4 if y_true.shape[-1:] == (1,) else 3):
        raise ValueError(
            f"y_true has shape {tuple(y_true.shape)}: expected class ids of shape (B, H, W, 1) or "
            f"(B, H, W), not one channel per class."
        )
    labels.check_same_shape("y_true", y_true.shape, y_pred.shape)
    if len(y_true.shape) == 3:
        y_true, y_pred = y_true[..., None], y_pred[..., None]
    kept = labels.not_ignored(y_true, ignore)
    truth, known = labels.read_ids("y_true", y_true, classes, kept, ignore)
    prediction, known_too = labels.read_ids("y_pred", y_pred, classes, kept)
    shared, *each = areas(
        labels.one_hot(truth, classes), labels.one_hot(prediction, classes), kept
    )
    return ops.where((known & known_too)[:, None], _dice(shared, sum(each)), float("nan"))


def soft_dice(y_true, logits, weights=None, ignore=None):
    """Differentiable Dice, per image and per class, from raw network outputs.

    Args:
        y_true, logits, weights, ignore: as ``labels.read`` has them. With one logit, the one class
            scored is the foreground, 1.

    Returns:
        (B, C) float32, above 0, at most 1: (2 |A and B| + 1) / (|A| + |B| + 1), areas in pixels.

    Raises:
        ValueError: as in ``labels.read``.
    """
    shared, truth, predicted = soft_areas(y_true, logits, weights, ignore)
    return (2.0 * shared + SMOOTH) / (truth + predicted + SMOOTH)


def soft_areas(y_true, logits, weights=None, ignore=None):
    """What ``soft_dice`` compares: |A and B|, the true area |A| and the predicted area |B|, each
    (B, C) float32, the last a sum of probabilities; arguments and errors as there."""
    ids, logits, weights = labels.read(y_true, logits, weights, ignore)
    truth = labels.one_hot(ids, logits.shape[-1])
    return areas(truth, labels.probabilities(logits), weights)


def areas(a, b, weights=None):
    """|A and B|, |A| and |B|, each (B, C), of two (B, H, W, C) float32 arrays 0..1; each pixel
    counts ``weights`` times, (B, H, W, 1)."""
    shared = a * b
    if weights is not None:
        a, b, shared = a * weights, b * weights, shared * weights
    return tuple(ops.sum(region, axis=(1, 2)) for region in (shared, a, b))


@keras.saving.register_keras_serializable("unet_pets")
class MeanDice(keras.metrics.Metric):
    """Dice per class, pooled over every pixel seen since the last reset; then their mean.

    The predicted class is the argmax. With one logit it is the foreground where its probability
    exceeds ``threshold``, and the score is the foreground's alone. Pixels are counted as int32
    (exact up to 2.1 billion a class, 16.8 million an image), divided as float32. A class absent
    from both truth and prediction scores 1.

    Shape:
        y_true (B, H, W, 1) class ids; y_pred (B, H, W, C) logits, C the number of ``classes``, 1
        for binary; sample_weight None, (B, H, W, 1) or (B,): 0 leaves a pixel or an image out,
        anything else counts it once. ``ignore`` is the id of pixels to leave out.
        An id out of range is a ValueError; in a compiled step, the result is NaN until the reset.
        So it is where logits are NaN.
    """

    def __init__(self, classes, threshold=0.5, ignore=None, name="mean_dice", **kwargs):
        super().__init__(name=name, **kwargs)
        self.classes, self.threshold, self.ignore = classes, threshold, ignore
        self.threshold_logit = logit(threshold)
        counts = {"initializer": "zeros", "dtype": "int32"}
        self.shared = self.add_weight(shape=(classes,), name="shared", **counts)
        self.total = self.add_weight(shape=(classes,), name="total", **counts)
        self.unusable = self.add_weight(shape=(), name="unusable", **counts)  # images

    def update_state(self, y_true, y_pred, sample_weight=None):
        ids, logits, weights = labels.read(y_true, y_pred, sample_weight, self.ignore)
        if logits.shape[-1] != self.classes:
            raise ValueError(
                f"y_pred has {logits.shape[-1]} channels, but this metric was made for "
                f"{self.classes}, one a class."
            )
        if self.classes == 1:
            predicted = ops.cast(logits > self.threshold_logit, "int32")
        else:
            predicted = ops.argmax(logits, axis=-1, keepdims=True)
        pair = labels.one_hot(ids, self.classes), labels.one_hot(predicted, self.classes)
        kept = None if weights is None else ops.cast(weights > 0, "float32")
        shared, *each = areas(*pair, kept)
        unusable = ops.any(ops.isnan(logits), axis=(1, 2, 3))
        for count, more in (
            (self.shared, shared),
            (self.total, sum(each)),
            (self.unusable, unusable),
        ):
            # Cast before the sum over the batch: float32 counts exactly only up to 16.8 million.
            count.assign(count + ops.sum(ops.cast(more, "int32"), axis=0))

    def result(self):
        score = ops.mean(_dice(ops.cast(self.shared, "float32"), ops.cast(self.total, "float32")))
        return ops.where(self.unusable > 0, float("nan"), score)

    def get_config(self):
        own = {name: getattr(self, name) for name in ("classes", "threshold", "ignore")}
        return {**super().get_config(), **own}


def BinaryDice(threshold=0.5, ignore=None, name="dice", **kwargs):
    """``MeanDice`` of one logit: the foreground's Dice."""
    return MeanDice(1, threshold, ignore, name, **kwargs)


def logit(probability):
    """The logit whose sigmoid is ``probability``: a float, above 0 and below 1."""
    if not 0.0 < probability < 1.0:
        raise ValueError(f"threshold={probability}: expected a probability between 0 and 1.")
    return math.log(probability / (1.0 - probability))


def _dice(shared, total):  # float32 counts
    return ops.where(total > 0, 2.0 * shared / ops.maximum(total, 1.0), 1.0)
