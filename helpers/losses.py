"""Losses for segmentation. They add up: ``0.5 * CrossEntropy() + DiceLoss()`` is a loss.

Each compares class ids (B, H, W, 1) with logits (B, H, W, C), C of 1 meaning binary, and gives one
number an image, (B,) float32, which Keras then averages. What ids, logits and weights may be, and
what happens where they are not, is in ``helpers.labels``. Common to all:

- ``ignore``: None, or the id of pixels that count for nothing.
- ``class_weights``: None, or one number a class, 0 or more; only their ratio matters. Losses of
  pixels (``CrossEntropy``, ``FocalLoss``) average over pixels by them; one logit has two classes,
  background first; ``"balanced"`` gives every class of an image the same share. Losses of regions
  (all others) average over classes by them; one logit has one class, the foreground.
- ``sample_weight``: a number a pixel, (B, H, W, 1), says how much that pixel counts; one an image,
  (B,), multiplies its loss.

Written in ``keras.ops``: runs on TensorFlow, JAX and PyTorch.
"""

import re

import keras
from keras import ops

from helpers import dice, labels

register = keras.saving.register_keras_serializable("unet_pets")
TINY = 1e-7  # keeps the slope of a power finite at 0


class SegmentationLoss(keras.losses.Loss):
    """What all losses share. Each defines ``by_image(y_true, logits, weights)`` -> (B,) float32.

    Raises:
        ValueError: wrong settings; and when called, what ``labels.read`` raises.
    """

    settings = ("ignore", "class_weights")  # what the config holds, beside Keras's own

    def __init__(
        self, *, ignore=None, class_weights=None, name=None, reduction="sum_over_batch_size"
    ):
        # Keras would number the names, so that two losses alike had different configs.
        name = name or re.sub(r"\B([A-Z])", r"_\1", type(self).__name__).lower()
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.ignore, self.class_weights = ignore, class_weights
        if class_weights is not None and class_weights != "balanced":
            self.class_weights = [float(weight) for weight in class_weights]
            _check("The smallest of class_weights", min(self.class_weights))
            _check("The sum of class_weights", sum(self.class_weights), positive=True)

    def __call__(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = labels.float_ids("y_true", y_true), labels.float_logits(y_pred)
        if sample_weight is not None:
            sample_weight = labels.float_weights(sample_weight, y_true.shape)
            if len(sample_weight.shape) > 1:  # Keras would weight what ``call`` returns: too late
                y_true, sample_weight = (y_true, sample_weight), None
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        y_true, weights = y_true if isinstance(y_true, tuple) else (y_true, None)
        return self.by_image(y_true, y_pred, weights)

    def __add__(self, other):
        if not isinstance(other, SegmentationLoss):
            return NotImplemented
        return CombinedLoss([self, other])

    def __mul__(self, factor):
        return CombinedLoss([self], [factor])

    __rmul__ = __mul__

    def get_config(self):
        return {**super().get_config(), **{name: getattr(self, name) for name in self.settings}}

    def weights_of_classes(self, classes):
        """``class_weights`` as (classes,) float32, or None where there are none."""
        if self.class_weights is None:
            return None
        if len(self.class_weights) != classes:
            raise ValueError(
                f"class_weights={self.class_weights}: expected one number a class, {classes}."
            )
        return ops.convert_to_tensor(self.class_weights, "float32")


def _check(name, number, positive=False):
    if not 0 <= number < float("inf") or (positive and number == 0):
        wanted = "above 0" if positive else "of 0 or more"
        raise ValueError(f"{name} is {number}: expected a number {wanted}.")


# ------------------------------------------------------------------------------ losses of pixels


class _PixelLoss(SegmentationLoss):
    """The mean over the pixels of an image of ``pixels(ids, logits)`` -> (B, H, W)."""

    def by_image(self, y_true, logits, weights=None):
        ids, logits, weights = labels.read(y_true, logits, weights, self.ignore)
        pixels = self.pixels(ids, logits)
        if self.class_weights is not None:
            weights = self._weigh(ids, max(2, logits.shape[-1]), weights)
        if weights is None:
            return ops.mean(pixels, axis=(1, 2))
        total = ops.sum(weights[..., 0], axis=(1, 2))
        return ops.sum(pixels * weights[..., 0], axis=(1, 2)) / ops.where(total > 0, total, 1.0)

    def _weigh(self, ids, classes, weights):  # each pixel by its class: (B, H, W, 1)
        truth = ops.one_hot(ids[..., 0], classes, dtype="float32")
        truth = truth if weights is None else truth * weights
        if self.class_weights == "balanced":
            area = ops.sum(truth, axis=(1, 2), keepdims=True)
            by_class = 1.0 / ops.where(area > 0, area, 1.0)
        else:
            by_class = self.weights_of_classes(classes)
        return ops.sum(truth * by_class, axis=-1, keepdims=True)


@register
class CrossEntropy(_PixelLoss):
    """-log p of the true class, in nats.

    With ``label_smoothing`` s, 0 <= s < 1, only 1 - s of a pixel is its true class; s is spread
    evenly over all classes (Szegedy et al., CVPR 2016, https://arxiv.org/abs/1512.00567).
    """

    settings = (*SegmentationLoss.settings, "label_smoothing")

    def __init__(self, label_smoothing=0.0, **kwargs):
        super().__init__(**kwargs)
        self.label_smoothing = label_smoothing
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing}: expected 0 to below 1.")

    def pixels(self, ids, logits):
        entropy = _cross_entropy(ids, logits)
        if self.label_smoothing == 0:
            return entropy
        if logits.shape[-1] == 1:  # the mean of -log p over all classes
            even = ops.softplus(logits[..., 0]) - logits[..., 0] / 2
        else:
            even = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
        return (1 - self.label_smoothing) * entropy + self.label_smoothing * even


@register
class FocalLoss(_PixelLoss):
    """-(1 - p)^gamma log p of the true class: a pixel that is predicted well counts less.

    Lin et al., ICCV 2017, https://arxiv.org/abs/1708.02002; their alpha of 0.25 for the foreground
    is ``class_weights=(0.75, 0.25)``.
    """

    settings = (*SegmentationLoss.settings, "gamma")

    def __init__(self, gamma=2.0, **kwargs):
        super().__init__(**kwargs)
        self.gamma = gamma
        _check("gamma", gamma)

    def pixels(self, ids, logits):
        entropy = _cross_entropy(ids, logits)
        return ops.maximum(-ops.expm1(-entropy), TINY) ** self.gamma * entropy


def _cross_entropy(ids, logits):  # (B, H, W)
    if logits.shape[-1] == 1:
        truth = ops.cast(ids, "float32")[..., 0]
        return ops.binary_crossentropy(truth, logits[..., 0], from_logits=True)
    return ops.sparse_categorical_crossentropy(ids[..., 0], logits, from_logits=True)


# ----------------------------------------------------------------------------- losses of regions


class _RegionLoss(SegmentationLoss):
    """1 - the mean over the classes of ``scores(y_true, logits, weights)`` -> (B, C), 0..1."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        if self.class_weights == "balanced":
            raise ValueError(
                'class_weights="balanced" is for losses of pixels: a loss of regions counts every '
                "class once, however large."
            )

    def by_image(self, y_true, logits, weights=None):
        scores = self.scores(y_true, logits, weights)
        by_class = self.weights_of_classes(scores.shape[-1])
        if by_class is None:
            return 1.0 - ops.mean(scores, axis=-1)
        return 1.0 - ops.sum(scores * by_class, axis=-1) / ops.sum(by_class)

    def read(self, y_true, logits, weights):
        """Truth and logits (B, H, W, C), weights (B, H, W, 1): for losses that need the pixels."""
        ids, logits, weights = labels.read(y_true, logits, weights, self.ignore)
        weights = ops.ones_like(logits[..., :1]) if weights is None else weights
        return labels.one_hot(ids, logits.shape[-1]), logits, weights


@register
class DiceLoss(_RegionLoss):
    """1 - soft Dice, see ``dice.soft_dice``.

    Milletari, Navab and Ahmadi, 3DV 2016, https://arxiv.org/abs/1606.04797.
    """

    def scores(self, y_true, logits, weights):
        return dice.soft_dice(y_true, logits, weights, self.ignore)


@register
class JaccardLoss(_RegionLoss):
    """1 - soft Jaccard, |A and B| / |A or B|, the intersection over union: D / (2 - D) of the soft
    Dice D, so that half a pixel is added to both.

    Rahman and Wang, ISVC 2016, https://doi.org/10.1007/978-3-319-50835-1_22.
    """

    def scores(self, y_true, logits, weights):
        score = dice.soft_dice(y_true, logits, weights, self.ignore)
        return score / (2.0 - score)


@register
class TverskyLoss(_RegionLoss):
    """1 - TP / (TP + alpha FP + beta FN), half a pixel added to TP: alpha weighs false positives,
    beta false negatives, as in the paper. (``keras.losses.Tversky`` has them the other way round.)
    Both 1/2 is Dice, both 1 is Jaccard.

    Salehi, Erdogmus and Gholipour, MLMI 2017, https://arxiv.org/abs/1706.05721.
    """

    settings = (*SegmentationLoss.settings, "alpha", "beta")

    def __init__(self, alpha=0.3, beta=0.7, **kwargs):
        super().__init__(**kwargs)
        self.alpha, self.beta = alpha, beta
        _check("alpha", alpha)
        _check("beta", beta)

    def scores(self, y_true, logits, weights):
        shared, truth, predicted = dice.soft_areas(y_true, logits, weights, self.ignore)
        found = shared + dice.SMOOTH / 2
        return found / (found + self.alpha * (predicted - shared) + self.beta * (truth - shared))


@register
class FocalTverskyLoss(TverskyLoss):
    """(1 - Tversky)^(1 / gamma): with gamma above 1, steeper where the loss of a class is small.

    Abraham and Khan, ISBI 2019, https://arxiv.org/abs/1810.07842, who mean it for hard, small
    regions. Their alpha, 0.7, weighs false negatives: it is ``beta`` here.
    """

    settings = (*TverskyLoss.settings, "gamma")

    def __init__(self, gamma=4 / 3, **kwargs):
        super().__init__(**kwargs)
        self.gamma = gamma
        _check("gamma", gamma, positive=True)

    def scores(self, y_true, logits, weights):
        missed = 1.0 - super().scores(y_true, logits, weights)
        power = ops.maximum(missed, TINY) ** (1 / self.gamma)
        return 1.0 - ops.where(missed <= TINY, 0.0, power)


@register
class GeneralizedDiceLoss(_RegionLoss):
    """1 - Dice of all classes in one quotient, each by 1 / its true area squared. One logit is two
    classes here. A class that an image lacks weighs as much as the smallest that it has.

    Sudre et al., DLMIA 2017, https://arxiv.org/abs/1707.03237.
    """

    def by_image(self, y_true, logits, weights=None):
        if logits.shape[-1] == 1:
            logits = ops.concatenate([ops.zeros_like(logits), logits], axis=-1)
        shared, truth, predicted = dice.soft_areas(y_true, logits, weights, self.ignore)
        present = truth > 0
        smallest = ops.min(ops.where(present, truth, float("inf")), axis=-1, keepdims=True)
        # Relative to the smallest: the same quotient, and SMOOTH is one pixel of that class.
        by_class = ops.where(present, smallest / ops.where(present, truth, 1.0), 1.0) ** 2
        if self.class_weights is not None:
            by_class *= self.weights_of_classes(truth.shape[-1])
        shared = ops.sum(by_class * shared, axis=-1)
        total = ops.sum(by_class * (truth + predicted), axis=-1)
        return 1.0 - (2.0 * shared + dice.SMOOTH) / (total + dice.SMOOTH)


@register
class LovaszLoss(_RegionLoss):
    """The Lovász extension of 1 - Jaccard, which has a slope where counts of pixels have none.

    Lovász-softmax, the mean over the classes that an image has; with one logit Lovász hinge, which
    may exceed 1. Berman, Rannen Triki and Blaschko, CVPR 2018, https://arxiv.org/abs/1705.08790.
    """

    def by_image(self, y_true, logits, weights=None):
        truth, logits, weights = self.read(y_true, logits, weights)
        inside, outside = truth * weights, (1.0 - truth) * weights
        present = ops.cast(ops.sum(inside, axis=(1, 2)) > 0, "float32")
        if logits.shape[-1] == 1:
            errors, present = ops.relu(1.0 - logits * (2.0 * truth - 1.0)), ops.ones_like(present)
        else:
            errors = ops.abs(truth - labels.probabilities(logits))
        flat = (ops.shape(truth)[0], -1, truth.shape[-1])
        values = _lovasz(*(ops.reshape(part, flat) for part in (errors, inside, outside)))
        by_class = self.weights_of_classes(truth.shape[-1])
        by_class = present if by_class is None else present * by_class
        total = ops.sum(by_class, axis=-1)
        return ops.sum(values * by_class, axis=-1) / ops.where(total > 0, total, 1.0)


def _lovasz(errors, inside, outside):
    """The sum over pixels, worst first, of error times what one more wrong pixel adds to
    1 - Jaccard: (B, C) of three (B, N, C), errors and what pixels weigh in and out of a class."""
    order = ops.argsort(-errors, axis=1)
    errors, inside, outside = (
        ops.take_along_axis(part, order, axis=1) for part in (errors, inside, outside)
    )
    area = ops.sum(inside, axis=1, keepdims=True)
    union = area + ops.cumsum(outside, axis=1)
    shared = area - ops.cumsum(inside, axis=1)
    missed = ops.where(union > 0, 1.0 - shared / ops.where(union > 0, union, 1.0), 0.0)
    before = ops.pad(missed, [[0, 0], [1, 0], [0, 0]])[:, :-1]
    return ops.sum(errors * (missed - before), axis=1)


@register
class BoundaryLoss(_RegionLoss):
    """1 - F1 of boundaries, from the share of predicted ones near true ones and of true ones near
    predicted ones; a boundary is found by max-pooling, of probabilities too.

    It may be ``width`` pixels off. One pixel is added to every area. A boundary that lies farther
    off is not drawn nearer: add another loss. Bokhovkin and Burnaev, ISNN 2019,
    https://arxiv.org/abs/1905.07852.
    """

    settings = (*SegmentationLoss.settings, "width")

    def __init__(self, width=2, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        if width not in range(1000):
            raise ValueError(f"width={width}: expected a whole number of pixels, 0 or more.")

    def scores(self, y_true, logits, weights):
        truth, logits, weights = self.read(y_true, logits, weights)
        counted = ops.cast(weights > 0, "float32")
        true, predicted = (_edges(r, counted) for r in (truth, labels.probabilities(logits)))
        precision = _share(predicted, _grow(true, self.width), weights)
        recall = _share(true, _grow(predicted, self.width), weights)
        return 2.0 * precision * recall / (precision + recall)


def _edges(region, counted):  # the pixels of a region beside others; one not counted is no other
    outside = (1.0 - region) * counted
    return (_grow(outside, 1) - outside) * counted


def _grow(region, width):
    size = 2 * width + 1
    return ops.max_pool(region, size, strides=1, padding="same", data_format="channels_last")


def _share(edges, near, weights):  # (B, C)
    found, total = (ops.sum(part * weights, axis=(1, 2)) for part in (edges * near, edges))
    return (found + dice.SMOOTH) / (total + dice.SMOOTH)


# ------------------------------------------------------------------------------------------ sums


@register
class CombinedLoss(SegmentationLoss):
    """The sum of losses, each times its factor: what ``+`` and ``*`` make."""

    def __init__(self, losses, factors=None, name=None):
        self.losses = [keras.losses.get(loss) for loss in losses]  # loaded, they come as configs
        self.factors = [float(factor) for factor in factors or [1] * len(losses)]
        for factor in self.factors:
            _check("factor", factor, positive=True)
        reductions = {loss.reduction for loss in self.losses}
        if len(reductions) > 1:
            raise ValueError(f"The losses have reductions {reductions}: expected the same of all.")
        super().__init__(name=name, reduction=reductions.pop())

    def by_image(self, y_true, logits, weights=None):
        return sum(
            factor * loss.by_image(y_true, logits, weights)
            for factor, loss in zip(self.factors, self.losses)
        )

    def get_config(self):
        losses = [keras.losses.serialize(loss) for loss in self.losses]
        return {"name": self.name, "losses": losses, "factors": self.factors}


@register
class CrossEntropyDiceLoss(CombinedLoss):
    """``CrossEntropy() + DiceLoss()``: one is calibrated, the other sees regions."""

    def __init__(self, ignore=None, name=None, reduction="sum_over_batch_size"):
        terms = (kind(ignore=ignore, reduction=reduction) for kind in (CrossEntropy, DiceLoss))
        super().__init__([*terms], name=name)
        self.ignore = ignore

    def get_config(self):
        return {"name": self.name, "reduction": self.reduction, "ignore": self.ignore}
