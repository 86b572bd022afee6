"""Probabilities that mean what they say: of the pixels given 90 %, 90 % are right.

Networks that are trained for long are overconfident. Temperature scaling (Guo et al., ICML 2017,
https://arxiv.org/abs/1706.04599) divides their logits by one number, found on validation. No
pixel changes its class, and as the division goes into the last layer, no file and no code that
uses the network has to know of it.
"""

import keras
import numpy as np
from scipy import optimize, special

from helpers import evaluation
from helpers.classes import VOID

STRIDE = 4  # pixels: neighbours say nearly the same
RANGE = (0.05, 20.0)  # of temperatures
TINY = 1e-30  # the least probability


def calibrate(model, batches, labelling):
    """Divides a network's logits by its ``temperature`` and returns that; arguments and errors are
    those of ``temperature``."""
    found = temperature(model, batches, labelling)
    divide_logits(model, found)
    return found


def temperature(model, batches, labelling):
    """The temperature with the least cross-entropy.

    Args:
        model: images -> logits of the labelling's classes, or one of its first class against the
            second, which is compared with its first border rule.
        batches: dicts with ``image`` and ``mask``, see ``pipeline.labelled_batches``, of the
            validation split: images that were not trained on, and are not reported on.
        labelling: classes.Labelling.

    Returns:
        float: above 1 for a network that is overconfident.

    Raises:
        ValueError: as in ``evaluation.predict_probabilities``; there is not a pixel that counts.
    """
    logs, truths = [], []
    for batch in batches:
        probabilities = evaluation.predict_probabilities(model, batch["image"], labelling)
        probabilities = probabilities[:, ::STRIDE, ::STRIDE]
        masks = np.asarray(batch["mask"])[:, ::STRIDE, ::STRIDE, 0]
        truth = evaluation.true_classes(masks, labelling, probabilities.shape[-1])
        counted = truth != VOID
        logs.append(np.log(np.maximum(probabilities[counted], TINY)).astype(np.float32))
        truths.append(truth[counted].astype(np.int64))
    logs, truths = np.concatenate(logs), np.concatenate(truths)[:, None]
    if not truths.size:
        raise ValueError("There is nothing to calibrate with: the split is void throughout.")

    def cross_entropy(log_temperature):
        chances = special.log_softmax(logs / np.exp(log_temperature), axis=-1)
        return -np.take_along_axis(chances, truths, axis=-1).mean(dtype=np.float64)

    bounds = np.log(RANGE)
    found = optimize.minimize_scalar(cross_entropy, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def divide_logits(model, divisor):
    """Divides a network's logits by a number, in the weights of its last layers.

    Args:
        model: of ``helpers.models``, where layers that give logits are named so; also mirrored.
        divisor: above 0.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            divide_logits(layer, divisor)
        elif layer.name.startswith("logits"):
            layer.set_weights([weight / divisor for weight in layer.get_weights()])
