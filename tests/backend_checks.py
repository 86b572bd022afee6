"""Prints what Dice, losses, metric and U-Net give on Keras's backend, as JSON.

python -m tests.backend_checks, with KERAS_BACKEND set; test_dice.py compares the numbers.
"""

import json

import keras
import numpy as np

from helpers import dice, models

# Hard, classes 0, 1, 2. First image: class 0 shares 1 pixel of 2 and 1, class 1 shares 1 of 1 and
# 3, class 2 is missed. Second: all of class 1, found. Third: all of class 0, taken for class 1.
LABELS = np.array([[[0, 0], [1, 2]], [[1, 1], [1, 1]], [[0, 0], [0, 0]]])[..., None]
GUESSES = np.array([[[0, 1], [1, 1]], [[1, 1], [1, 1]], [[1, 1], [1, 1]]])[..., None]
HARD = [[2 / 3, 1 / 2, 0], [1, 1, 1], [0, 0, 1]]

# Soft, two pixels of classes 0 and 1. Areas: 1 + 0.7, 1 + 0.95, 0 + 0.35; shared: 0.5, 0.7, 0.
SOFT_LABELS = np.array([[[[0], [1]]]])
PROBABILITIES = np.array([[[[0.5, 0.25, 0.25], [0.2, 0.7, 0.1]]]], "float32")
SOFT = [[2 / 2.7, 2.4 / 2.95, 1 / 1.35]]
ENTROPY = -(np.log(0.5) + np.log(0.7)) / 2

# Binary, foreground and background. Areas 1 + 1.2, shared 0.8.
BINARY_LABELS = np.array([[[[1], [0]]]])
FOREGROUND = np.array([[[[0.8], [0.4]]]], "float32")
BINARY = [[2.6 / 3.2]]
BINARY_ENTROPY = -(np.log(0.8) + np.log(0.6)) / 2

# The metric, from the hard example's guesses: class 0 shares 1 pixel of 6 + 1, class 1 shares 5
# of 5 + 11, class 2 none of 1 + 0.
POOLED = (2 / 7 + 10 / 16 + 0) / 3

LOGITS = np.log(PROBABILITIES)
BINARY_LOGITS = np.log(FOREGROUND / (1 - FOREGROUND))


def known_unet():
    """A tiny U-Net with the same weights on every backend."""
    model = models.unet(16, width=2, depth=2)
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(-0.05, 0.25, w.shape) for w in model.get_weights()])
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(np.ones(layer.moving_variance.shape))
    return model


def compute():
    metric = dice.MeanDice(3)
    onehot = np.eye(3, dtype="float32")[GUESSES[..., 0]]
    metric.update_state(LABELS[:2], onehot[:2])
    metric.update_state(LABELS[2:], onehot[2:])
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    values = {
        "hard": dice.dice_coefficient(LABELS, GUESSES, 3),
        "soft": dice.soft_dice(SOFT_LABELS, LOGITS),
        "binary": dice.soft_dice(BINARY_LABELS, BINARY_LOGITS),
        "entropy": dice.cross_entropy(SOFT_LABELS, LOGITS),
        "binary_entropy": dice.cross_entropy(BINARY_LABELS, BINARY_LOGITS),
        "dice_loss": dice.DiceLoss()(SOFT_LABELS, LOGITS),
        "loss": dice.CrossEntropyDiceLoss()(SOFT_LABELS, LOGITS),
        "mean_dice": metric.result(),
        "unet": known_unet()(images),
    }
    return {name: keras.ops.convert_to_numpy(value).tolist() for name, value in values.items()}


if __name__ == "__main__":
    print(json.dumps({"backend": keras.backend.backend(), **compute()}))
