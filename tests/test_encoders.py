"""Any network of keras.applications as an encoder, with every decoder; what a network costs."""

import functools
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.utils import file_utils

from helpers import models, pretrained
from helpers.models import encoders

NETWORKS = sorted([*encoders.IMAGENET_FILES, "MobileNetV2"])
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
WIDTHS = (8, 8, 8, 8)


@functools.cache
def network(name):
    return models.encoder_unet(64, 3, name, weights=None, widths=WIDTHS)


def train(model):
    """One step, not compiled, which would take longer than the step."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, run_eagerly=True)
    assert np.isfinite(model.train_on_batch(IMAGES, np.ones((2, 64, 64, 1))))


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_can_be_the_encoder(name):
    model = network(name)
    assert np.asarray(model(IMAGES)).shape == (2, 64, 64, 3)
    encoder = model.get_layer("encoder")
    sizes = [output.shape[1] for output in encoder.outputs]
    assert sizes == ([16, 8, 4, 2] if name == "ConvNeXtTiny" else [32, 16, 8, 4, 2])
    before = {id(weight): weight.numpy().copy() for weight in encoder.weights}
    if name == "ConvNeXtTiny":  # whose large kernels take seconds on a CPU
        models.train_encoder(model, "convnext_tiny_stage_3_block_0_depthwise_conv")
    train(model)
    moved = {id(w) for w in encoder.weights if not np.array_equal(before[id(w)], w.numpy())}
    norms = [layer for layer in encoder.layers if isinstance(layer, layers.BatchNormalization)]
    assert moved and not any(id(weight) in moved for layer in norms for weight in layer.weights)


@pytest.mark.filterwarnings(
    "ignore:`input_shape` is undefined", "ignore:The structure of `inputs`"
)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_last_map_is_what_keras_gives_after_its_own_preprocessing(monkeypatch, name):
    fetched = []
    monkeypatch.setattr(file_utils, "get_file", lambda name, url, **_: fetched.append(url) or name)
    monkeypatch.setattr(keras.Model, "load_weights", lambda *_: None)
    build = getattr(keras.applications, name)
    images = keras.Input((64, 64, 3))
    kerass = build(input_tensor=images, include_top=False, weights="imagenet")
    # where we look for its weights
    assert fetched == [pretrained.HOST + encoders._imagenet_files(name, (64, 64))[0]]
    ours = network(name).get_layer("encoder")
    kerass.set_weights(ours.get_weights())
    module = getattr(keras.applications, build.__module__.split(".")[-1])
    expected = np.asarray(kerass(module.preprocess_input(IMAGES.astype("float32"))))
    difference = np.abs(np.asarray(ours(IMAGES)[-1]) - expected).max()
    assert difference <= 1e-4 * np.abs(expected).max() > 0


@pytest.mark.parametrize("decoder", models.DECODERS)
def test_every_decoder_trains_on_one_encoder(decoder):
    widths = WIDTHS[: len(models.DECODERS[decoder].widths)]
    model = models.encoder_unet(
        64, 3, "MobileNetV3Small", decoder=decoder, weights=None, widths=widths
    )
    assert np.asarray(model(IMAGES)).shape == (2, 64, 64, 3)
    with warnings.catch_warnings():  # nothing is carried along that the decoder does not use
        warnings.filterwarnings("error", "Gradients do not exist")
        train(model)


def test_names_of_weights_do_not_depend_on_what_was_built_before():
    again = models.encoder_unet(64, 3, "Xception", weights=None, widths=WIDTHS)
    assert [w.path for w in again.weights] == [w.path for w in network("Xception").weights]


def test_a_saved_network_with_preprocessing_inside_gives_equal_logits(tmp_path):
    model = network("VGG16")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(np.asarray(again(IMAGES)), np.asarray(model(IMAGES)))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"encoder": "ResNet5"}, "encoder='ResNet5': expected the name of a network of keras"),
        ({"encoder": "resnet"}, "encoder='resnet': expected the name of a network"),
        ({"encoder": "MobileNet", "weights": "imagenet"}, "known for .*, not for MobileNet: pass"),
        ({"decoder": "fpn", "widths": (8,)}, r"widths=\(8,\): fpn takes 2"),
        ({"input_size": (64, 80)}, "64x80 .* multiples of 32"),
    ],
)
def test_bad_options_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        models.encoder_unet(**{"input_size": 64, "classes": 3, "weights": None, **options})


def test_an_encoder_without_the_maps_is_refused():
    with pytest.raises(ValueError, match="'InceptionV3' has no map at 1/16 of 96x96 pixels"):
        models.encoder_unet(96, 3, "InceptionV3", weights=None)


# What a network costs


def test_multiply_adds_equal_those_by_hand():
    x = images = keras.Input((8, 12, 3))
    x = layers.Conv2D(5, 3, strides=2, padding="same")(x)  # 4 x 6 places
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = layers.SeparableConv2D(7, 3, padding="same")(x)
    x = layers.Conv2D(14, 1, groups=7)(x)
    inner = keras.Sequential([layers.Conv2DTranspose(4, 2, strides=2)])  # 8 x 12 afterwards
    x = layers.BatchNormalization()(inner(x))
    x = layers.Dense(6)(x)
    by_hand = 24 * (9 * 3 * 5 + 9 * 10 + (9 * 10 + 10 * 7) + 7 * 2 + 4 * 14 * 4) + 96 * 4 * 6
    assert models.count_multiply_adds(keras.Model(images, x)) == by_hand


@pytest.mark.parametrize("name, millions", [("MobileNetV2", 300), ("MobileNetV3Small", 56)])
def test_multiply_adds_are_those_of_the_papers(name, millions):
    """With the classifier, at 224 pixels."""
    model = getattr(keras.applications, name)((224, 224, 3), weights=None)
    assert models.count_multiply_adds(model) == pytest.approx(millions * 1e6, rel=0.01)


def test_multiply_adds_need_a_size():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3, name="conv")])
    with pytest.raises(ValueError, match="takes images of any size: fix one"):
        models.count_multiply_adds(model)
