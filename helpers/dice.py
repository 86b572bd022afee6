"""The Dice coefficient, as a measure and as a loss.

Dice of two regions A and B is 2 |A and B| / (|A| + |B|): 1 where they agree, 0 where they are
disjoint (Dice, Ecology 1945; as a loss: Milletari, Navab and Ahmadi, 3DV 2016,
https://arxiv.org/abs/1606.04797).

Three rules hold throughout:

- **Per image and per class.** Nothing is pooled over the batch behind the caller's back.
- **A class that is absent from both truth and prediction scores 1**: nothing was there, and
  nothing was claimed. (In the soft form the smoothing term gives the same.)
- **float32 inside.** A float16 sum overflows at 65,504, which a 256x256 mask reaches.

Written in ``keras.ops``: runs on TensorFlow, JAX and PyTorch.
"""

import math

import keras
import numpy as np
from keras import ops

SMOOTH = 1.0  # one pixel: far below any region that matters, enough to keep 0/0 away


def dice_coefficient(y_true, y_pred, classes):
    """Dice of two label maps, per image and per class.

    Args:
        y_true: (B, H, W, 1) or (B, H, W) integer class ids, 0..classes-1.
        y_pred: the same shape: predicted class ids.
        classes: number of classes; 2 for binary masks of 0 and 1.

    Returns:
        (B, classes) float32, 0..1. A class absent from both maps scores 1.

    Raises:
        ValueError: the shapes differ or are not those above.
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    # A last axis of 1 is a channel, so the shape (H, W, 1) is one image without its batch axis.
    if len(y_true.shape) != (4 if y_true.shape[-1:] == (1,) else 3):
        raise ValueError(
            f"y_true has shape {tuple(y_true.shape)}: expected class ids of shape (B, H, W, 1) or "
            f"(B, H, W), not one channel per class."
        )
    _check_same_shape(y_true.shape, y_pred.shape)
    truth, prediction = _one_hot(y_true, classes), _one_hot(y_pred, classes)
    shared, total = _overlap(truth, prediction)
    return ops.where(total > 0, 2.0 * shared / ops.maximum(total, 1.0), 1.0)


def dice_from_counts(shared, total):
    """Dice from counted pixels; 1 where there were none.

    Args:
        shared: (...) numbers, |A and B|.
        total: (...) numbers, |A| + |B|.

    Returns:
        (...) float64, 0..1.
    """
    shared, total = np.asarray(shared, np.float64), np.asarray(total, np.float64)
    return np.where(total > 0, 2 * shared / np.where(total > 0, total, 1), 1.0)


def soft_dice(y_true, logits, weights=None):
    """Differentiable Dice, per image and per class, from raw network outputs.

    Args:
        y_true: (B, H, W, 1) integer class ids: 0..C-1, or 0 and 1 where C is 1.
        logits: (B, H, W, C), any float dtype. C of 1 means binary: a sigmoid is applied, and the
            one class scored is the foreground, 1. Otherwise a softmax over the C classes.
        weights: None, or (B, H, W, 1): how much each pixel counts, 0 for not at all.

    Returns:
        (B, C) float32, above 0, at most 1: (2 |A and B| + 1) / (|A| + |B| + 1), areas in pixels.

    Raises:
        ValueError: the shapes are not those above.
    """
    y_true, logits = ops.convert_to_tensor(y_true), ops.convert_to_tensor(logits)
    _check_logits(y_true.shape, logits.shape)
    truth, probabilities = _truth_and_probabilities(y_true, logits)
    shared, total = _overlap(truth, probabilities, _checked_weights(weights, y_true))
    return (2.0 * shared + SMOOTH) / (total + SMOOTH)


class _ImageLoss(keras.losses.Loss):
    """One value an image. Weights of pixels go into it: Keras's own way, to weight what ``call``
    returns, would come too late."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is None or len(sample_weight.shape) < 3:
            return super().__call__(y_true, y_pred, sample_weight)
        return ops.mean(self.call(y_true, y_pred, sample_weight))


@keras.saving.register_keras_serializable("unet_pets")
class DiceLoss(_ImageLoss):
    """1 - soft Dice, averaged over the classes of an image.

    Shape:
        y_true (B, H, W, 1) integer class ids; y_pred (B, H, W, C) logits; C of 1 means binary.
        One value per image, (B,); Keras then averages them over the batch. sample_weight: one
        number an image, (B,), or one a pixel, (B, H, W, 1).
    """

    def __init__(self, name="dice_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred, weights=None):
        return 1.0 - ops.mean(soft_dice(y_true, y_pred, weights), axis=-1)


@keras.saving.register_keras_serializable("unet_pets")
class CrossEntropyDiceLoss(_ImageLoss):
    """Cross-entropy plus Dice loss, equal weights: one is calibrated, the other sees regions.

    Shape:
        As DiceLoss. With C of 1 the cross-entropy is binary.
    """

    def __init__(self, name="cross_entropy_dice_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred, weights=None):
        dice_loss = 1.0 - ops.mean(soft_dice(y_true, y_pred, weights), axis=-1)
        return cross_entropy(y_true, y_pred, weights) + dice_loss


def cross_entropy(y_true, logits, weights=None):
    """Mean cross-entropy over the pixels of each image, in nats. Shapes as in ``soft_dice``; an
    image whose weights are all 0 has 0.

    Returns:
        (B,) float32.
    """
    y_true, logits = ops.convert_to_tensor(y_true), ops.convert_to_tensor(logits)
    _check_logits(y_true.shape, logits.shape)
    logits = ops.cast(logits, "float32")
    if logits.shape[-1] == 1:
        truth = ops.cast(y_true, "float32")[..., 0]
        pixels = ops.binary_crossentropy(truth, logits[..., 0], from_logits=True)
    else:
        labels = ops.cast(y_true[..., 0], "int32")
        pixels = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    weights = _checked_weights(weights, y_true)
    if weights is None:
        return ops.mean(pixels, axis=(1, 2))
    counted = ops.sum(weights[..., 0], axis=(1, 2))
    return ops.sum(pixels * weights[..., 0], axis=(1, 2)) / ops.maximum(counted, 1.0)


@keras.saving.register_keras_serializable("unet_pets")
class MeanDice(keras.metrics.Metric):
    """Dice per class, pooled over every pixel seen since the last reset; then their mean.

    For multi-class logits: the predicted class is the argmax. Pixels are counted as int32 (exact
    up to 2.1 billion a class: 130,000 images of 128x128), divided as float32. A class absent from
    both truth and prediction scores 1.

    Shape:
        y_true (B, H, W, 1) integer class ids; y_pred (B, H, W, C) logits, C of 2 or more.
    """

    def __init__(self, classes, name="mean_dice", **kwargs):
        super().__init__(name=name, **kwargs)
        self.classes = classes
        self.shared = self.add_weight(
            shape=(classes,), initializer="zeros", dtype="int32", name="shared"
        )
        self.total = self.add_weight(
            shape=(classes,), initializer="zeros", dtype="int32", name="total"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            raise ValueError("MeanDice counts whole pixels: sample_weight is not supported.")
        _check_logits(y_true.shape, y_pred.shape)
        if y_pred.shape[-1] != self.classes:
            raise ValueError(
                f"y_pred has {y_pred.shape[-1]} channels, but this metric was made for "
                f"{self.classes} classes."
            )
        truth = _one_hot(y_true, self.classes)
        prediction = _one_hot(ops.argmax(y_pred, axis=-1), self.classes)
        shared, total = _overlap(truth, prediction)
        # Cast before the sum over the batch: float32 counts exactly only up to 16.8 million.
        self.shared.assign(self.shared + ops.sum(ops.cast(shared, "int32"), axis=0))
        self.total.assign(self.total + ops.sum(ops.cast(total, "int32"), axis=0))

    def result(self):
        shared, total = ops.cast(self.shared, "float32"), ops.cast(self.total, "float32")
        return ops.mean(ops.where(total > 0, 2.0 * shared / ops.maximum(total, 1.0), 1.0))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


@keras.saving.register_keras_serializable("unet_pets")
class BinaryDice(keras.metrics.Metric):
    """Dice of the foreground, pooled over every pixel seen since the last reset.

    A pixel is foreground where its probability exceeds ``threshold``. Counted as in ``MeanDice``;
    1 where neither truth nor prediction has any foreground.

    Shape:
        y_true (B, H, W, 1) of 0 and 1; y_pred (B, H, W, 1) logits; sample_weight None or
        (B, H, W, 1): 0 leaves a pixel out, anything else counts it once.
    """

    def __init__(self, threshold=0.5, name="dice", **kwargs):
        super().__init__(name=name, **kwargs)
        self.threshold = threshold
        self.shared = self.add_weight(initializer="zeros", dtype="int32", name="shared")
        self.total = self.add_weight(initializer="zeros", dtype="int32", name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        _check_logits(y_true.shape, y_pred.shape)
        if y_pred.shape[-1] != 1:
            raise ValueError(f"y_pred has {y_pred.shape[-1]} channels: BinaryDice needs one.")
        weights = _checked_weights(sample_weight, ops.convert_to_tensor(y_true))
        kept = True if weights is None else weights > 0
        truth = ops.logical_and(ops.cast(y_true, "int32") == 1, kept)
        prediction = ops.logical_and(ops.cast(y_pred, "float32") > logit(self.threshold), kept)
        shared = ops.cast(ops.logical_and(truth, prediction), "int32")
        self.shared.assign(self.shared + ops.sum(shared))
        for pixels in (truth, prediction):
            self.total.assign(self.total + ops.sum(ops.cast(pixels, "int32")))

    def result(self):
        shared, total = ops.cast(self.shared, "float32"), ops.cast(self.total, "float32")
        return ops.where(total > 0, 2.0 * shared / ops.maximum(total, 1.0), 1.0)

    def get_config(self):
        return {**super().get_config(), "threshold": self.threshold}


def logit(probability):
    """The logit whose sigmoid is ``probability``: a float, above 0 and below 1."""
    if not 0.0 < probability < 1.0:
        raise ValueError(f"threshold={probability}: expected a probability between 0 and 1.")
    return math.log(probability / (1.0 - probability))


def _truth_and_probabilities(y_true, logits):
    logits = ops.cast(logits, "float32")
    if logits.shape[-1] == 1:
        return ops.cast(y_true, "float32"), ops.sigmoid(logits)
    return _one_hot(y_true, logits.shape[-1]), ops.softmax(logits, axis=-1)


def _one_hot(labels, classes):  # (B, H, W, 1) or (B, H, W) -> (B, H, W, classes) float32
    if len(labels.shape) == 4:
        labels = labels[..., 0]
    return ops.one_hot(ops.cast(labels, "int32"), classes, dtype="float32")


def _overlap(a, b, weights=None):
    # two (B, H, W, C) float32 -> |A and B|, |A| + |B|, each (B, C)
    if weights is not None:
        a, b, shared = a * weights, b * weights, a * b * weights
        return ops.sum(shared, axis=(1, 2)), ops.sum(a, axis=(1, 2)) + ops.sum(b, axis=(1, 2))
    return ops.sum(a * b, axis=(1, 2)), ops.sum(a, axis=(1, 2)) + ops.sum(b, axis=(1, 2))


def _checked_weights(weights, y_true):
    if weights is None:
        return None
    weights = ops.cast(weights, "float32")
    _check_same_shape(weights.shape, y_true.shape)
    return weights


def _check_logits(true_shape, logits_shape):
    if len(logits_shape) != 4:
        raise ValueError(
            f"The logits have shape {tuple(logits_shape)}: expected (B, H, W, C), one channel per "
            f"class."
        )
    _check_same_shape(true_shape, (*logits_shape[:3], 1))


def _check_same_shape(true_shape, expected):
    # None stands for a size that is not known yet while a graph is traced.
    same_rank = len(true_shape) == len(expected)
    pairs = zip(true_shape, expected)
    if not same_rank or any(a != b for a, b in pairs if a is not None and b is not None):
        raise ValueError(
            f"y_true has shape {tuple(true_shape)}, but the prediction needs {tuple(expected)}: "
            f"give one class id per predicted pixel; nothing is broadcast."
        )
