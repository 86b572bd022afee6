"""What a network costs to run. Its parameters: ``model.count_params()``."""

import math

import keras
from keras import layers

COUNTED = (
    layers.Conv2D,
    layers.DepthwiseConv2D,
    layers.SeparableConv2D,
    layers.Conv2DTranspose,
    layers.Dense,
)


def count_multiply_adds(model):
    """Multiplications with an addition each, for one image: an int.

    Counts convolutions, transposed ones and dense layers, which are nearly all; biases,
    normalization, activations and resizing are left out, as papers do.

    Args:
        model: keras.Model whose layers are each called once.

    Raises:
        ValueError: the model has no fixed input size.
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += count_multiply_adds(layer)
        elif isinstance(layer, COUNTED):
            # Each kernel is applied at every place of the output; a transposed one, of the input.
            places = layer.input if isinstance(layer, layers.Conv2DTranspose) else layer.output
            if None in places.shape[1:-1]:
                raise ValueError(f"{model.name} takes images of any size: fix one, then count.")
            kernels = sum(math.prod(w.shape) for w in layer.weights if len(w.shape) > 1)
            total += math.prod(places.shape[1:-1]) * kernels
    return total
