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

import keras
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


def soft_dice(y_true, logits):
    """Differentiable Dice, per image and per class, from raw network outputs.

    Args:
        y_true: (B, H, W, 1) integer class ids: 0..C-1, or 0 and 1 where C is 1.
        logits: (B, H, W, C), any float dtype. C of 1 means binary: a sigmoid is applied, and the
            one class scored is the foreground, 1. Otherwise a softmax over the C classes.

    Returns:
        (B, C) float32, above 0, at most 1: (2 |A and B| + 1) / (|A| + |B| + 1), areas in pixels.

    Raises:
        ValueError: the shapes are not those above.
    """
    y_true, logits = ops.convert_to_tensor(y_true), ops.convert_to_tensor(logits)
    _check_logits(y_true.shape, logits.shape)
    truth, probabilities = _truth_and_probabilities(y_true, logits)
    shared, total = _overlap(truth, probabilities)
    return (2.0 * shared + SMOOTH) / (total + SMOOTH)


@keras.saving.register_keras_serializable("unet_pets")
class DiceLoss(keras.losses.Loss):
    """1 - soft Dice, averaged over the classes of an image.

    Shape:
        y_true (B, H, W, 1) integer class ids; y_pred (B, H, W, C) logits; C of 1 means binary.
        One value per image, (B,); Keras then averages them over the batch.
    """

    def __init__(self, name="dice_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        return 1.0 - ops.mean(soft_dice(y_true, y_pred), axis=-1)


@keras.saving.register_keras_serializable("unet_pets")
class CrossEntropyDiceLoss(keras.losses.Loss):
    """Cross-entropy plus Dice loss, equal weights: one is calibrated, the other sees regions.

    Shape:
        As DiceLoss. With C of 1 the cross-entropy is binary.
    """

    def __init__(self, name="cross_entropy_dice_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        dice_loss = 1.0 - ops.mean(soft_dice(y_true, y_pred), axis=-1)
        return cross_entropy(y_true, y_pred) + dice_loss


def cross_entropy(y_true, logits):
    """Mean cross-entropy over the pixels of each image, in nats. Shapes as in ``soft_dice``.

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
    return ops.mean(pixels, axis=(1, 2))


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


def _truth_and_probabilities(y_true, logits):
    logits = ops.cast(logits, "float32")
    if logits.shape[-1] == 1:
        return ops.cast(y_true, "float32"), ops.sigmoid(logits)
    return _one_hot(y_true, logits.shape[-1]), ops.softmax(logits, axis=-1)


def _one_hot(labels, classes):  # (B, H, W, 1) or (B, H, W) -> (B, H, W, classes) float32
    if len(labels.shape) == 4:
        labels = labels[..., 0]
    return ops.one_hot(ops.cast(labels, "int32"), classes, dtype="float32")


def _overlap(a, b):  # two (B, H, W, C) float32 -> |A and B|, |A| + |B|, each (B, C)
    return ops.sum(a * b, axis=(1, 2)), ops.sum(a, axis=(1, 2)) + ops.sum(b, axis=(1, 2))


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
