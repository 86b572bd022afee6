"""The decoders by themselves, on feature maps of any encoder."""

import keras
import numpy as np
import pytest

from helpers import models

WIDTHS = {4: (8, 6, 4, 4), 2: (6, 4), 1: (6,)}  # small ones, by their number


def decoder_alone(name, first_level=1, size=(64, 128)):
    """A model from feature maps, the largest first, and the image to logits of 5 classes."""
    build, levels, widths = models.DECODERS[name]
    height, width = size
    maps = {
        level: keras.Input((height >> level, width >> level, 3 * level))
        for level in levels
        if level >= first_level
    }
    image = keras.Input((height, width, 3))
    logits = build(maps, image, 5, WIDTHS[len(widths)])
    return keras.Model([*maps.values(), image], logits)


def inputs_of(model, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(2, *x.shape[1:])).astype("float32") for x in model.inputs]


@pytest.mark.parametrize("first_level", [1, 2])
@pytest.mark.parametrize("name", models.DECODERS)
def test_logits_have_the_images_size_and_every_map_counts(name, first_level):
    model = decoder_alone(name, first_level)
    inputs = inputs_of(model)
    logits = np.asarray(model(inputs))
    assert logits.shape == (2, 64, 128, 5) and np.ptp(logits) > 0
    for number, x in enumerate(inputs):
        changed = [*inputs[:number], x + 1, *inputs[number + 1 :]]
        is_image = number == len(inputs) - 1
        differs = not np.array_equal(np.asarray(model(changed)), logits)
        assert differs == (not is_image or name == "light"), number


@pytest.mark.parametrize("name", models.DECODERS)
def test_logits_are_float32_under_mixed_float16(name):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = decoder_alone(name, size=(32, 32))
        logits = model(inputs_of(model))
    finally:
        keras.config.set_dtype_policy("float32")
    assert "float16" in {layer.compute_dtype for layer in model.layers}  # the policy was on
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert np.all(np.isfinite(logits))


def test_the_gate_of_attention_unet_weighs_each_pixel():
    skip, gate = keras.Input((8, 8, 6)), keras.Input((4, 4, 9))
    model = keras.Model([skip, gate], models.decoders.attention_gate(skip, gate, 4, name="gate"))
    skip, gate = inputs_of(model)
    weights = np.asarray(model([skip, gate])) / skip
    assert np.all((weights > 0) & (weights < 1)) and np.ptp(weights) > 0
    assert np.allclose(weights, weights[..., :1], rtol=1e-4)  # one for all channels
