"""Class ids beside a network's logits, looked at before anything is computed from them.

Losses and measures start here, and so share their rules:

- **Nothing is broadcast.** Shapes and dtypes fit, or a ValueError says what was expected.
- **A wrong id never gives a plausible number.** Where values can be seen, a ValueError names them
  and says what to do. A compiled step shows none to Python: there an image with a wrong id or
  weight gives NaN, at which ``keras.callbacks.TerminateOnNaN`` stops, and no gradient. NaN rather
  than an assertion: it is the same on every backend, and XLA drops assertions.
- **A pixel counts for nothing** where its id is ``ignore`` or its weight 0. It may hold any id.
"""

import operator

import keras
import numpy as np
from keras import ops


def read(y_true, logits, weights=None, ignore=None):
    """What a loss computes with.

    Args:
        y_true: (B, H, W, 1) class ids, whole numbers of any dtype: 0..C-1; 0 and 1 where C is 1.
        logits: (B, H, W, C), any float dtype; C of 1 means binary.
        weights: None, or how much each pixel counts, 0 or more: (B, H, W, 1), or (B,) by image.
        ignore: None, or the id of pixels that count for nothing, an int.

    Returns:
        ids (B, H, W, 1) int32, 0 where a pixel counts for nothing; logits (B, H, W, C) float32,
        NaN for images with a wrong id or weight; weights, None or (B, H, W, 1) float32, 0 where
        ``y_true`` is ``ignore``.

    Raises:
        ValueError: shapes or dtypes other than these; other ids or weights that can be seen.
    """
    y_true, logits = float_ids("y_true", y_true), float_logits(logits)
    if len(logits.shape) != 4:
        raise ValueError(
            f"The logits have shape {tuple(logits.shape)}: expected (B, H, W, C), one channel per "
            f"class."
        )
    check_same_shape("y_true", y_true.shape, (*logits.shape[:3], 1))
    usable, kept = True, not_ignored(y_true, ignore)
    if weights is not None:
        weights = float_weights(weights, y_true.shape)
        if len(weights.shape) == 1:
            weights = ops.broadcast_to(ops.reshape(weights, (-1, 1, 1, 1)), ops.shape(y_true))
        usable = _all_by_image(~ops.isnan(weights))
    if kept is not None:
        weights = kept if weights is None else kept * weights
    ids, known = read_ids("y_true", y_true, max(2, logits.shape[-1]), weights, ignore)
    usable = ops.reshape(known & usable, (-1, 1, 1, 1))
    return ids, ops.where(usable, logits, float("nan")), weights


def read_ids(name, ids, classes, weights=None, ignore=None):
    """Class ids as int32, 0 where a pixel counts for nothing; and (B,) bool, whether those of an
    image are all in 0..classes-1. Where they can be seen and are not, a ValueError.

    ``weights``: None, or float32 of the same shape. ``name`` and ``ignore`` are for the message.
    """
    ids = float_ids(name, ids)
    right = (ids >= 0) & (ids < classes) & (ids == ops.floor(ids))
    counted = ops.ones_like(right) if weights is None else weights > 0
    known = _all_by_image(right | ~counted)
    if _is_false(known):
        found = ops.convert_to_numpy(ids)[ops.convert_to_numpy(counted)]
        raise ValueError(_complaint(name, np.unique(found), classes, ignore))
    return ops.cast(ops.where(right & counted, ids, 0.0), "int32"), known


def float_ids(name, ids):
    """Class ids as float32, in which an unsigned 255 and an ``ignore`` of -1 compare as they
    should; a ValueError where their dtype cannot be that of ids."""
    ids = ops.convert_to_tensor(ids)
    if _kind(ids) not in ("bool", "int", "uint", "float", "bfloat"):
        raise ValueError(f"{name} is {_kind(ids)}: expected class ids, which are whole numbers.")
    return ops.cast(ids, "float32")


def float_logits(logits):
    """Logits as float32; a ValueError where they were no floats."""
    logits = ops.convert_to_tensor(logits)
    if _kind(logits) not in ("float", "bfloat"):
        raise ValueError(
            f"The logits are {_kind(logits)}: expected raw outputs of a network, not class ids."
        )
    return ops.cast(logits, "float32")


def float_weights(weights, shape):
    """Weights as float32; a ValueError unless they are (B,) or have the ids' ``shape``, or where
    one is seen that is negative or not finite. One that is not seen becomes NaN."""
    weights = ops.cast(ops.convert_to_tensor(weights), "float32")
    per_image = len(weights.shape) == 1
    check_same_shape("sample_weight", weights.shape, shape[:1] if per_image else shape)
    usable = (weights >= 0) & (weights < float("inf"))
    if _is_false(usable):
        raise ValueError(
            "sample_weight holds numbers below 0, infinite ones or NaN: expected 0 for pixels "
            "that count for nothing, more for the rest."
        )
    return ops.where(usable, weights, float("nan"))


def not_ignored(y_true, ignore):
    """1 for pixels that count, 0 for those whose id is ``ignore``: float32, shaped as ``y_true``;
    None where ``ignore`` is."""
    if ignore is None:
        return None
    return ops.cast(float_ids("y_true", y_true) != operator.index(ignore), "float32")


def one_hot(ids, classes):
    """(B, H, W, 1) int32 -> (B, H, W, classes) float32; of one class: the ids themselves."""
    if classes == 1:
        return ops.cast(ids, "float32")
    return ops.one_hot(ids[..., 0], classes, dtype="float32")


def probabilities(logits):
    """(B, H, W, C) logits -> probabilities: softmax over the classes, or sigmoid where C is 1."""
    return ops.sigmoid(logits) if logits.shape[-1] == 1 else ops.softmax(logits, axis=-1)


def check_same_shape(name, shape, expected):
    """Raises a ValueError where two shapes differ."""
    # None stands for a size that is not known yet while a graph is traced.
    same_rank, pairs = len(shape) == len(expected), zip(shape, expected)
    if not same_rank or any(a != b for a, b in pairs if a is not None and b is not None):
        raise ValueError(
            f"{name} has shape {tuple(shape)}, but the prediction needs {tuple(expected)}: "
            f"give one number per predicted pixel; nothing is broadcast."
        )


def _all_by_image(right):
    return ops.all(right, axis=tuple(range(1, len(right.shape))))


def _is_false(right):  # is one of them False? As far as can be seen: no, while a step is traced
    try:
        return not ops.convert_to_numpy(right).all()
    except (NotImplementedError, TypeError):  # TensorFlow's and PyTorch's answer, and JAX's
        return False


def _kind(tensor):  # "int", "uint", "float", "bfloat", "bool", "complex", "string"
    return keras.backend.standardize_dtype(tensor.dtype).rstrip("0123456789")


def _complaint(name, found, classes, ignore):
    whole = found == np.floor(found)
    strange = found[~whole | (found < 0) | (found >= classes)]
    shown = [f"{value:g}" for value in (found if len(found) <= 6 else strange)]
    shown = ", ".join(shown[:6]) + (", ..." if len(shown) > 6 else "")
    if not whole.all():
        remedy = (
            "These are no whole numbers: resize masks to the nearest pixel, and of a prediction "
            "give the argmax"
        )
    elif classes == 2 and set(found) <= {0, 255}:
        remedy = "Divide it by 255; or, where 255 marks pixels without a class, pass ignore=255"
    elif name == "y_true" and len(strange) == 1 and (strange[0] < 0 or strange[0] == 255):
        remedy = f"Where {strange[0]:g} marks pixels without a class, pass ignore={strange[0]:g}"
    elif found.min() >= 1 and found.max() == classes:
        remedy = "Subtract 1: the first class has id 0"
    else:
        remedy = "Give every class an id from 0 on, and the network a channel for each"
    besides = "" if ignore is None else f", and {ignore} to ignore"
    return f"{name} holds {shown}: expected class ids 0..{classes - 1}{besides}. {remedy}."
