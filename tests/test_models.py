"""The networks: shapes, sizes, scaling, precision; the pix2pix block against the original."""

import importlib.util

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from helpers import models

# Every function that builds a network, with options that make it small.
BUILDERS = [
    (models.unet, {"width": 2}),
    (models.residual_unet, {"width": 2}),
    (models.mobilenetv2_unet, {"weights": None, "alpha": 0.35, "widths": (8, 6, 4, 2)}),
    (models.encoder_unet, {"weights": None, "encoder": "VGG16", "widths": (8, 6, 4, 2)}),
]


def pictures(size=16, batch=2):
    height, width = (size, size) if isinstance(size, int) else size
    return np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8)


def logits(model, images):
    return np.asarray(model(images, training=False))


def with_random_weights(model, seed=0):
    """Replaces the initial weights: zero biases and unit averages would hide a mix-up."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.05, 0.5, weight.shape) for weight in model.get_weights()])
    return model


# The U-Net


def test_parameters_of_the_papers_unet():
    # The paper's, without batch normalization and with biases: 31,031,745 for one class. Here, for
    # three: 130 more in the last layer, 11,776 averages and factors more (of these 5,888 not
    # trained), where the biases of the 3x3 convolutions, 5,888, are left out.
    model = models.unet(128, 3, width=64, depth=4)
    assert model.count_params() == 31_031_745 + 130 + 4 * 5888 - 5888
    assert sum(np.prod(weight.shape) for weight in model.non_trainable_weights) == 2 * 5888
    assert model.input_shape == (None, 128, 128, 3) and model.output_shape == (None, 128, 128, 3)


@pytest.mark.parametrize(
    "size, classes, depth",
    [(16, 3, 2), (32, 1, 5), (48, 2, 4), ((16, 40), 3, 3), ((24, 8), 21, 3), (2, 3, 1)],
)
def test_mask_is_as_large_as_the_image(size, classes, depth):
    height, width = (size, size) if isinstance(size, int) else size
    model = models.unet(size, classes, width=2, depth=depth)
    assert model.output_shape == (None, height, width, classes)
    assert logits(model, pictures(size, 3)).shape == (3, height, width, classes)


def test_raw_pixels_are_scaled_first():
    model = models.unet(16, 3, width=2, depth=2)
    scale = model.layers[1]
    assert scale.input is model.input
    ends = np.array([0, 127.5, 255], "float32").reshape(1, 1, 1, 3)
    assert np.allclose(np.asarray(scale(ends)).ravel(), [-1, 0, 1])
    # and nothing goes round it
    assert [layer for layer in model.layers if layer.input is model.input] == [scale]


@pytest.mark.parametrize("dtype", ["float32", "int32", "float64"])
def test_the_type_of_the_pixels_does_not_matter(dtype):
    model, images = with_random_weights(models.unet(16, 3, width=2, depth=2)), pictures()
    expected = logits(model, images)
    assert np.ptp(expected) > 0.1
    assert np.array_equal(logits(model, images.astype(dtype)), expected)
    assert np.array_equal(model.predict_on_batch(images.astype(dtype)), expected)


@pytest.mark.parametrize("build, options", BUILDERS)
def test_logits_are_float32_under_mixed_float16(build, options):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build(32, 3, **options)
        values = model(pictures(32))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.compute_dtype == "float16"  # the policy was on
    assert keras.backend.standardize_dtype(values.dtype) == "float32"
    assert model.get_layer("logits").compute_dtype == "float32"
    assert all(weight.dtype == "float32" for weight in model.weights)


@pytest.fixture
def keras_json():
    """A function that sets what keras.json may set; all is put back afterwards."""
    config = keras.config
    before = (config.image_data_format(), config.epsilon(), config.floatx(), config.dtype_policy())

    def put(data_format, epsilon, floatx, policy):
        config.set_image_data_format(data_format)
        config.set_epsilon(epsilon)
        config.set_floatx(floatx)
        config.set_dtype_policy(policy)

    yield put
    put(*before)


@pytest.mark.parametrize("build, options", BUILDERS)
def test_keras_json_changes_no_model(keras_json, build, options):
    model = with_random_weights(build((32, 64), 3, **options))
    expected = logits(model, pictures((32, 64)))
    keras_json("channels_first", 1e-2, "float64", "float64")
    again = build((32, 64), 3, **options)
    assert keras.config.image_data_format() == "channels_first"  # the user's own is left alone
    again.set_weights(model.get_weights())
    assert np.allclose(logits(again, pictures((32, 64))), expected, rtol=1e-3)


def test_weights_in_half_precision_are_refused(keras_json):
    keras_json("channels_last", 1e-7, "float16", "float16")
    with pytest.raises(ValueError, match="'float16' keeps weights in float16.*keras.json"):
        models.unet(16, 3, width=2, depth=2)


def test_a_saved_model_gives_equal_logits(tmp_path):
    model, images = (
        with_random_weights(models.unet((16, 24), 3, width=2, depth=2)),
        pictures((16, 24)),
    )
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(logits(again, images), logits(model, images))


def test_weights_move_between_sizes():
    small = with_random_weights(models.unet(32, 3, width=2, depth=1))
    large = models.unet((48, 64), 3, width=2, depth=1)
    large.set_weights(small.get_weights())
    expected = logits(small, np.full((1, 32, 32, 3), 90))
    found = logits(large, np.full((1, 48, 64, 3), 90))
    # A pixel of the corner sees the same of both: padding on two sides, 10 grey pixels beyond.
    assert np.allclose(found[0, :4, :4], expected[0, :4, :4], rtol=1e-5)
    assert np.ptp(found) > 0


def test_a_mirrored_network_does_not_tell_left_from_right():
    keras.utils.set_random_seed(1)
    model = models.unet((16, 32), 3, width=2, depth=2)
    twice = models.mirrored(model)
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 32, 3)).astype(np.uint8)
    seen, mirrored = (twice.predict_on_batch(view) for view in (image, image[:, :, ::-1]))
    np.testing.assert_allclose(seen, mirrored[:, :, ::-1], atol=1e-4)
    once = [model.predict_on_batch(view) for view in (image, image[:, :, ::-1])]
    np.testing.assert_allclose(seen, (once[0] + once[1][:, :, ::-1]) / 2, atol=1e-4)
    assert [w.path for w in twice.weights] == [w.path for w in model.weights]


@pytest.mark.parametrize("name", ["light", "lraspp", "from scratch", "mirrored"])
def test_an_enlarged_network_takes_the_mean_of_two_sizes(name):
    def build(size):
        keras.utils.set_random_seed(1)
        if name == "from scratch":
            return models.unet(size, 3, width=2, depth=2)
        decoder = "light" if name == "mirrored" else name
        model = models.mobilenetv2_unet(size, 3, weights=None, decoder=decoder)
        return models.mirrored(model) if name == "mirrored" else model

    model, larger = build((32, 64)), build((64, 96))
    both = models.enlarged(model)
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3)).astype(np.float32)
    wide = larger.predict_on_batch(cv2.resize(image[0], (96, 64))[None])
    expected = (model.predict_on_batch(image)[0] + cv2.resize(wide[0], (64, 32))) / 2
    np.testing.assert_allclose(both.predict_on_batch(image)[0], expected, atol=1e-4)
    assert [w.path for w in both.weights] == [w.path for w in model.weights]


def test_a_network_of_one_size_is_not_enlarged():
    model = models.mobilenetv2_unet(32, 3, weights=None, decoder="deeplabv3+")
    with pytest.raises(ValueError, match="32 x 32 pixels alone, so it cannot look at them enl"):
        models.enlarged(model)


def test_batch_normalization_has_a_short_memory():
    # With Keras's 0.99, 50 steps of a constant batch would leave 60 % of the initial average.
    model = models.unet(16, 3, width=2, depth=2)
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert {layer.momentum for layer in norms} == {0.9}


@pytest.mark.parametrize(
    "size, depth, message",
    [
        (100, 3, r"100x100 .* depth 3: .* multiples of 8, such as 96 or 104"),
        ((64, 40), 4, r"64x40 .* multiples of 16, such as 32 or 48"),
        ((40, 64), 4, r"40x64 .* such as 32 or 48"),
        (8, 4, r"8x8 .* multiples of 16, such as 16 or 32"),
        (0, 2, r"0x0 .* such as 4 or 8"),
        (-16, 2, r"-16x-16 .* such as 4 or 8"),
        (128.0, 2, r"input_size=128\.0: expected whole pixels"),
        ((128,), 2, r"input_size=\(128,\): expected whole pixels"),
        ((128, 128, 3), 2, r"input_size=\(128, 128, 3\): expected .*\(height, width\)"),
        ("128", 2, "input_size='128': expected whole pixels"),
    ],
)
def test_a_size_that_does_not_fit_is_explained(size, depth, message):
    with pytest.raises(ValueError, match=message):
        models.unet(size, 3, width=2, depth=depth)


@pytest.mark.parametrize("name", ["classes", "width", "depth"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None])
def test_bad_counts_are_explained(name, value):
    with pytest.raises(ValueError, match=f"^{name}={value!r}: expected a whole number"):
        models.unet(16, **{"classes": 3, "width": 2, "depth": 2, name: value})


# The residual U-Net


def test_parameters_of_the_papers_residual_unet():
    # 7.8 million there; here every unit's shortcut has a convolution.
    model = models.residual_unet((64, 32), 1)
    assert model.count_params() == 8_227_393
    assert logits(model, pictures((64, 32))).shape == (2, 64, 32, 1)


def test_a_narrow_residual_unet_trains():
    # With strided 1x1 convolutions in it, TensorFlow 2.21 wrote past its memory.
    model = models.residual_unet(64, 3, width=4)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-3), loss)
    images, masks = pictures(64, batch=8), np.zeros((8, 64, 64, 1))
    first, *_, last = (model.train_on_batch(images, masks) for _ in range(5))
    assert last < first


def test_the_residual_unet_halves_as_often_as_it_is_deep():
    small = models.residual_unet(16, 4, width=2, depth=4)
    assert small.get_layer("bridge").output.shape == (None, 1, 1, 32)
    with pytest.raises(ValueError, match=r"24x24 .* multiples of 16"):
        models.residual_unet(24, 4, width=2, depth=4)


# The block of pix2pix


@pytest.mark.parametrize("apply_dropout", [False, True])
def test_upsample_is_made_of_pix2pix_layers(apply_dropout):
    block = models.upsample(6, 3, apply_dropout)
    assert block(np.ones((2, 4, 5, 3), "float32")).shape == (2, 8, 10, 6)
    expected = ["Conv2DTranspose", "BatchNormalization", "Dropout", "ReLU"]
    if not apply_dropout:
        expected.remove("Dropout")
    assert [type(layer).__name__ for layer in block.layers] == expected
    enlarge = block.layers[0].get_config()
    assert (enlarge["filters"], enlarge["kernel_size"], enlarge["strides"]) == (6, (3, 3), (2, 2))
    assert (enlarge["padding"], enlarge["use_bias"]) == ("same", False)
    assert enlarge["activation"] == "linear"
    assert enlarge["kernel_initializer"]["class_name"] == "RandomNormal"
    spread = enlarge["kernel_initializer"]["config"]
    assert (spread["mean"], spread["stddev"]) == (0.0, 0.02)
    defaults = layers.BatchNormalization(name="a").get_config()
    assert {**block.layers[1].get_config(), "name": "a"} == {**defaults, "name": "a"} | {
        "dtype": block.layers[1].get_config()["dtype"]
    }
    if apply_dropout:
        assert block.layers[2].rate == 0.5
    assert block.layers[-1].get_config()["max_value"] is None


def settings(layer):
    """A layer's configuration without its name. TensorFlow's initializer is Keras's under another
    module name, so of initializers only the class and the numbers count."""
    config = {key: value for key, value in layer.get_config().items() if key != "name"}
    for key, value in config.items():
        if key.endswith("_initializer") and value is not None:
            config[key] = (value["class_name"], value["config"])
    return type(layer).__name__, config


@pytest.mark.parametrize("filters, size, apply_dropout", [(8, 3, False), (5, 4, True)])
def test_upsample_equals_the_original(filters, size, apply_dropout):
    if importlib.util.find_spec("tensorflow_examples") is None:
        pytest.skip("tensorflow_examples is not installed: see tests/requirements-pix2pix.txt")
    from tensorflow_examples.models.pix2pix import pix2pix

    original = pix2pix.upsample(filters, size, apply_dropout=apply_dropout)
    ours = models.upsample(filters, size, apply_dropout=apply_dropout)
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 7)).astype("float32")
    original(x), ours(x)  # which makes the weights
    assert [settings(layer) for layer in ours.layers] == [
        settings(layer) for layer in original.layers
    ]
    with_random_weights(original)
    ours.set_weights(original.get_weights())
    expected = np.asarray(original(x, training=False))
    assert np.ptp(expected) > 0
    assert np.array_equal(np.asarray(ours(x, training=False)), expected)


# MobileNetV2 as encoder, with random weights: what needs no download


@pytest.mark.parametrize("decoder", ["light", "pix2pix"])
def test_mobilenetv2_unet_gives_a_mask_as_large_as_the_image(decoder):
    model = models.mobilenetv2_unet(
        (32, 64), 4, alpha=0.35, weights=None, decoder=decoder, widths=(8, 6, 4, 2)
    )
    assert logits(model, pictures((32, 64))).shape == (2, 32, 64, 4)
    ends = np.array([0, 127.5, 255], "float32").reshape(1, 1, 1, 3)
    assert np.allclose(np.asarray(model.layers[1](ends)).ravel(), [-1, 0, 1])
    encoder = model.get_layer("encoder")
    assert [output.shape[1] for output in encoder.outputs] == [16, 8, 4, 2, 1]
    models.train_encoder(model, False)
    frozen = {id(weight) for weight in encoder.weights}
    assert frozen and not any(id(weight) in frozen for weight in model.trainable_weights)


def test_mobilenetv2_keeps_its_averages_while_its_convolutions_train():
    model = models.mobilenetv2_unet(32, 3, alpha=0.35, weights=None, widths=(8, 6, 4, 2))
    order = [layer.name for layer in model.get_layer("encoder").layers]
    for trainable in (True, False, "block_4_expand", True):
        models.train_encoder(model, trainable)
        model.compile("sgd", lambda masks, logits: keras.ops.mean(logits**2), run_eagerly=True)
        encoder = model.get_layer("encoder")
        before = {weight.path: weight.numpy().copy() for weight in encoder.weights}
        model.fit(pictures(32), np.zeros((2, 32, 32, 1)), verbose=0)
        moved = {w.path for w in encoder.weights if not np.array_equal(before[w.path], w.numpy())}
        assert bool(moved) == bool(trainable)
        assert not any("bn" in path.split("/")[-2].lower() for path in moved), moved
        trained = [weight.path.split("/")[-2] for weight in encoder.trainable_weights]
        first = min(trained, key=order.index, default=False)
        assert first == ("Conv1" if trainable is True else trainable)
    with pytest.raises(ValueError, match="'block_99': the encoder has no layer of that name"):
        models.train_encoder(model, "block_99")


@pytest.mark.parametrize("decoder", ["light", "pix2pix"])
def test_the_decoders_batch_normalization_has_a_short_memory(decoder):
    options = {"alpha": 0.35, "weights": None, "decoder": decoder, "widths": (8, 6, 4, 4)}
    model = models.mobilenetv2_unet(32, 3, **options)
    norms = set(model._flatten_layers()) - set(model.get_layer("encoder").layers)
    norms = [layer for layer in norms if isinstance(layer, layers.BatchNormalization)]
    assert norms and {norm.momentum for norm in norms} == {0.9}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"decoder": "heavy"}, "decoder='heavy' is unknown: expected light or pix2pix or"),
        ({"widths": (1, 2)}, r"widths=\(1, 2\): light takes 4"),
        ({"widths": (1, 2, 0, 4)}, r"widths\[2\]=0: expected a whole number"),
        ({"classes": 0}, "classes=0: expected a whole number"),
        ({"input_size": 48}, "48x48 .* multiples of 32, such as 32 or 64"),
    ],
)
def test_bad_options_of_mobilenetv2_unet_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        models.mobilenetv2_unet(**{"input_size": 32, "classes": 3, "weights": None, **options})
