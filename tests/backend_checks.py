"""Examples worked out by hand, and what Keras's backend makes of them and of a U-Net, as JSON.

python -m tests.backend_checks, with KERAS_BACKEND set; test_backends.py compares the numbers.
"""

import json

import keras
import numpy as np

from helpers import dice, losses, models

# Hard, classes 0, 1, 2. First image: class 0 shares 1 pixel of 2 and 1, class 1 shares 1 of 1 and
# 3, class 2 is missed. Second: all of class 1, found. Third: all of class 0, taken for class 1.
LABELS = np.array([[[0, 0], [1, 2]], [[1, 1], [1, 1]], [[0, 0], [0, 0]]])[..., None]
GUESSES = np.array([[[0, 1], [1, 1]], [[1, 1], [1, 1]], [[1, 1], [1, 1]]])[..., None]
HARD = [[2 / 3, 1 / 2, 0], [1, 1, 1], [0, 0, 1]]

# Soft, two pixels of classes 0 and 1. Areas: 1 + 0.7, 1 + 0.95, 0 + 0.35; shared: 0.5, 0.7, 0.
SOFT_LABELS = np.array([[[[0], [1]]]])
PROBABILITIES = np.array([[[[0.5, 0.25, 0.25], [0.2, 0.7, 0.1]]]], "float32")
SOFT = [[2 / 2.7, 2.4 / 2.95, 1 / 1.35]]

# Binary, foreground and background. Areas 1 + 1.2, shared 0.8; of the background 1 + 0.8, 0.6.
BINARY_LABELS = np.array([[[[1], [0]]]])
FOREGROUND = np.array([[[[0.8], [0.4]]]], "float32")
BINARY = [[2.6 / 3.2]]

# The metric, from the hard example's guesses: class 0 shares 1 pixel of 6 + 1, class 1 shares 5
# of 5 + 11, class 2 none of 1 + 0.
POOLED = (2 / 7 + 10 / 16 + 0) / 3

LOGITS = np.log(PROBABILITIES)
BINARY_LOGITS = np.log(FOREGROUND / (1 - FOREGROUND))


def minus_log(*probabilities):
    return -np.log(probabilities)


# Each loss, and what it is for the soft and the binary example. TP and half a pixel, FP, FN:
# (1, 0.2, 0.5), (1.2, 0.25, 0.3), (0.5, 0.35, 0); (1.3, 0.4, 0.2).
ENTROPY, BINARY_ENTROPY = minus_log(0.5, 0.7), minus_log(0.8, 0.6)
EVEN = minus_log(0.5, 0.25, 0.25, 0.2, 0.7, 0.1).mean()
BINARY_EVEN = minus_log(0.8, 0.2, 0.4, 0.6).mean()
TVERSKY = 1 - np.array([1 / 1.41, 1.2 / 1.485, 0.5 / 0.605])
BINARY_TVERSKY = 1 - 1.3 / 1.56
LOSSES = {
    "cross-entropy": (losses.CrossEntropy(), ENTROPY.mean(), BINARY_ENTROPY.mean()),
    "label smoothing": (
        losses.CrossEntropy(label_smoothing=0.1),
        0.9 * ENTROPY.mean() + 0.1 * EVEN,
        0.9 * BINARY_ENTROPY.mean() + 0.1 * BINARY_EVEN,
    ),
    "focal": (
        losses.FocalLoss(gamma=2),
        np.mean([0.25, 0.09] * ENTROPY),
        np.mean([0.04, 0.16] * BINARY_ENTROPY),
    ),
    "Dice": (losses.DiceLoss(), 1 - np.mean(SOFT), 1 - np.mean(BINARY)),
    "Jaccard": (
        losses.JaccardLoss(),
        1 - np.mean([1 / 1.7, 1.2 / 1.75, 0.5 / 0.85]),
        1 - 1.3 / 1.9,
    ),
    "Tversky": (losses.TverskyLoss(alpha=0.3, beta=0.7), TVERSKY.mean(), BINARY_TVERSKY),
    "focal Tversky": (
        losses.FocalTverskyLoss(alpha=0.3, beta=0.7, gamma=2),
        np.mean(TVERSKY**0.5),
        BINARY_TVERSKY**0.5,
    ),
    # One pixel of each class that is there, so every class weighs the same.
    "generalized Dice": (losses.GeneralizedDiceLoss(), 1 - 3.4 / 5, 1 - 3.8 / 5),
    # Class 0 errs by 0.5 at its pixel, then 0.2; class 1 by 0.3 at its pixel, then 0.25: the first
    # makes Jaccard 0. The hinge, 1 - logit or 1 + logit: 0 and 0.59, of which 1 / 2 is missed.
    "Lovasz": (losses.LovaszLoss(), 0.4, (1 + np.log(0.4 / 0.6)) / 2),
    "cross-entropy and Dice": (
        losses.CrossEntropyDiceLoss(),
        ENTROPY.mean() + 1 - np.mean(SOFT),
        BINARY_ENTROPY.mean() + 1 - np.mean(BINARY),
    ),
}

# Boundaries, in one row: the truth begins at pixel 2, the prediction at 4: near for a width of 2
# alone; else (0 + 1) / (1 + 1) are found, either way.
EDGE_LABELS = np.array([[[[0], [0], [1], [1], [1], [1]]]])
EDGE_LOGITS = np.array([[[[-50], [-50], [-50], [-50], [50], [50]]]], "float32")
BOUNDARY = {0: 1 / 2, 1: 1 / 2, 2: 0}


def known_unet():
    """A tiny U-Net with the same weights on every backend."""
    model = models.unet(16, classes=3, width=2, depth=2)
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(-0.05, 0.25, w.shape) for w in model.get_weights()])
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(np.ones(layer.moving_variance.shape))
    return model


# A step with three equal logits, of 4 pixels that count; all are of class 2.
CORNER = np.zeros((2, 4, 4, 1))
CORNER[:, :2, :2] = 1
STEP_DICE = np.array([1 / (4 / 3 + 1), 1 / (4 / 3 + 1), (8 / 3 + 1) / (4 + 4 / 3 + 1)])
STEP = [np.log(3) + 1 - STEP_DICE.mean(), 1 / 3]


def train_step(label):
    """Loss and metric of a compiled step for masks of one class, where CORNER counts."""
    images = keras.Input((4, 4, 3))
    model = keras.Model(images, keras.layers.Conv2D(3, 1, kernel_initializer="ones")(images))
    model.compile("sgd", losses.CrossEntropyDiceLoss(), weighted_metrics=[dice.MeanDice(3)])
    try:
        return model.train_on_batch(np.ones((2, 4, 4, 3)), np.full(CORNER.shape, label), CORNER)
    except ValueError as error:  # PyTorch compiles no step
        assert "expected class ids 0..2" in str(error)
        return [np.nan, np.nan]


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
        "losses": [
            [loss(SOFT_LABELS, LOGITS), loss(BINARY_LABELS, BINARY_LOGITS)]
            for loss, *_ in LOSSES.values()
        ],
        "boundary": [losses.BoundaryLoss(w)(EDGE_LABELS, EDGE_LOGITS) for w in BOUNDARY],
        "mean_dice": metric.result(),
        "wrong_step": train_step(3),
        "step": train_step(2),
        "unet": known_unet()(images),
    }
    return keras.tree.map_structure(lambda x: keras.ops.convert_to_numpy(x).tolist(), values)


if __name__ == "__main__":
    print(json.dumps({"backend": keras.backend.backend(), **compute()}))
