"""Class ids that are not: what losses and measures say of them."""

import backend_checks as example
import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers import dice, labels, losses


def ids(*values):  # (1, 1, W, 1)
    return np.array(values).reshape(1, 1, -1, 1)


def logits(width, channels):
    return np.zeros((1, 1, width, channels), "float32")


# What is wrong with the ids, and what the message says of it, for so many classes.
WRONG = {
    "a mask of 0 and 255": (ids(0, 255), 1, "0, 255: expected class ids 0..1. Divide it by 255"),
    "a mask of 255": (ids(255, 255), 1, "255: .*Divide it by 255; or.* pass ignore=255"),
    "ids from 1": (ids(1, 2, 3), 3, r"1, 2, 3: expected class ids 0\.\.2\. Subtract 1"),
    "ids from 1, the first absent": (ids(2, 3), 3, "Subtract 1"),
    "void": (ids(0, 1, 2, 255), 3, "0, 1, 2, 255: .* marks pixels without .* pass ignore=255"),
    "unsigned void": (ids(0, 255).astype("uint8"), 3, "pass ignore=255"),
    "negative": (ids(0, 1, -1), 3, "-1, 0, 1: .* pass ignore=-1"),
    "between two classes": (ids(0, 0.5, 1), 3, "0, 0.5, 1: .*resize masks to the nearest pixel"),
    "not a number": (ids(0, np.nan), 1, "0, nan: .*no whole numbers"),
    "a class too many": (ids(0, 1, 2, 3), 3, "Give every class an id from 0"),
    "many": (ids(*range(10)), 1, "2, 3, 4, 5, 6, 7, ...: expected class ids"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_ids_are_named_with_what_to_do(case):
    wrong, channels, message = WRONG[case]
    with pytest.raises(ValueError, match="y_true holds.* " + message):
        losses.DiceLoss()(wrong, logits(wrong.size, channels))


EVERYWHERE = {
    "soft_dice": dice.soft_dice,
    "dice_coefficient": lambda true, _, **options: dice.dice_coefficient(
        true, np.zeros_like(true), 3, **options
    ),
    "MeanDice": lambda true, given, **options: dice.MeanDice(3, **options)(true, given),
    "DiceLoss": lambda true, given, **options: losses.DiceLoss(**options)(true, given),
    "CrossEntropy": lambda true, given, **options: losses.CrossEntropy(**options)(true, given),
    "both": lambda true, given, **options: losses.CrossEntropyDiceLoss(**options)(true, given),
}


@pytest.mark.parametrize("function", EVERYWHERE)
def test_everything_that_takes_ids_looks_at_them_and_ignores_one(function):
    function, void = EVERYWHERE[function], ids(0, 255, 1, 255)
    with pytest.raises(ValueError, match="ignore=255"):
        function(void, logits(4, 3))
    with pytest.raises(ValueError, match="expected class ids 0..2, and 254 to ignore"):
        function(void, logits(4, 3), ignore=254)
    given = np.eye(3, dtype="float32")[None, None, [0, 0, 1, 0]] * 9
    value = np.array(function(void, given, ignore=255))
    assert np.allclose(value, function(ids(0, 1), given[:, :, ::2]))


def test_a_prediction_of_wrong_ids_is_named():
    with pytest.raises(ValueError, match="y_pred holds 0.25, 0.75: .* give the argmax"):
        dice.dice_coefficient(ids(0, 1), ids(0.25, 0.75), 2)
    with pytest.raises(ValueError, match="y_pred holds 0, 3: .*0..2. Give every class"):
        dice.dice_coefficient(ids(0, 2), ids(0, 3), 3)


A, ONE_HOT = np.zeros((2, 8, 8, 1), "float32"), np.zeros((2, 8, 8, 3), "float32")
BAD_SHAPES = {
    "one-hot truth": (ONE_HOT, ONE_HOT),
    "one-hot truth, binary": (ONE_HOT, A),
    "truth without channel axis": (A[..., 0], ONE_HOT),
    "logits without channel axis": (A, A[..., 0]),
    "both without": (A[..., 0], A[..., 0]),
    "one image for a batch": (A[:1], ONE_HOT),
    "one row for all": (A[:, :1], ONE_HOT),
    "no batch axis": (A[0], ONE_HOT[0]),
}
ON_LOGITS = [
    dice.soft_dice,
    dice.MeanDice(3).update_state,
    *(loss for loss, *_ in example.LOSSES.values()),
    losses.BoundaryLoss(),
]


@pytest.mark.parametrize("case", BAD_SHAPES)
def test_a_wrong_shape_raises(case):
    for function in ON_LOGITS:
        with pytest.raises(ValueError, match="has shape|have shape"):
            function(*BAD_SHAPES[case])


BAD_DTYPES = {
    "ids as text": (ids("0", "1"), logits(2, 3), "y_true is string"),
    "complex ids": (ids(0, 1) + 1j, logits(2, 3), "y_true is complex"),
    "ids as logits": (ids(0, 1), np.zeros((1, 1, 2, 3), int), "logits are int"),
}


@pytest.mark.parametrize("case", BAD_DTYPES)
def test_a_wrong_dtype_raises(case):
    true, given, message = BAD_DTYPES[case]
    for function in ON_LOGITS:
        with pytest.raises(ValueError, match=message):
            function(true, given)


@pytest.mark.parametrize(
    "weights, message",
    [
        (np.array([1, 1, -1.0]), "below 0"),
        (np.array([1, 1, np.nan]), "or NaN"),
        (np.full((3, 4, 4, 1), np.inf), "infinite"),
        (np.ones(1), "nothing is broadcast"),
        (np.ones((3, 4, 4)), "nothing is broadcast"),
        (np.ones((3, 1, 1, 1)), "nothing is broadcast"),
        (np.ones((3, 4, 4, 3)), "nothing is broadcast"),
    ],
)
def test_wrong_weights_raise(weights, message):
    true, given = np.zeros((3, 4, 4, 1)), np.zeros((3, 4, 4, 3))
    for function in (losses.DiceLoss(), losses.CrossEntropy(), dice.MeanDice(3).update_state):
        with pytest.raises(ValueError, match=message):
            function(true, given, weights)


# Inside a graph nothing can be raised.


def test_in_a_graph_a_wrong_image_is_nan_and_has_no_slope():
    true = np.zeros((3, 4, 4, 1), "float32")
    true[1, 2, 2] = 255
    weights = np.ones((3, 4, 4, 1), "float32")
    weights[2, 1, 1] = -1

    @tf.function
    def graph(true, given, weights):
        with tf.GradientTape() as tape:
            tape.watch(given)
            values = losses.CrossEntropyDiceLoss(reduction=None)(true, given, weights)
        return values, tape.gradient(values, given)

    given = tf.random.stateless_normal((3, 4, 4, 3), (0, 1))
    values, slope = graph(tf.constant(true), given, tf.constant(weights))
    assert np.isnan(values).tolist() == [False, True, True]
    assert np.isfinite(slope).all() and np.abs(slope[0]).max() > 0 == np.abs(slope[1:]).max()
    hard = tf.function(lambda true: dice.dice_coefficient(true, tf.zeros_like(true), 3))(true)
    assert np.isnan(hard).all(axis=1).tolist() == [False, True, False]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_wrong_labels_stop_a_training(jit_compile):
    images = keras.Input((4, 4, 3))
    model = keras.Model(images, keras.layers.Conv2D(3, 1)(images))
    metrics = [dice.MeanDice(3)]
    model.compile("sgd", losses.DiceLoss(), weighted_metrics=metrics, jit_compile=jit_compile)
    x, y = np.ones((4, 4, 4, 3), "float32"), np.ones((4, 4, 4, 1), "uint8")
    stop = keras.callbacks.TerminateOnNaN(raise_error=True)
    history = model.fit(x, y, callbacks=[stop], verbose=0).history
    assert np.isfinite([history["loss"], history["mean_dice"]]).all()
    y[3, 0, 0] = 3
    with pytest.raises(RuntimeError, match="NaN"):
        model.fit(x, y, batch_size=2, callbacks=[stop], verbose=0)
    assert np.isnan(model.evaluate(x, y, verbose=0)).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert np.isfinite(model.evaluate(x[:3], y[:3], verbose=0)).all()  # a reset forgets


def test_a_pixel_that_counts_for_nothing_may_hold_any_id():
    true, weights = ids(0, 1, 77), np.array([[[[1], [1], [0]]]])
    given = np.random.default_rng(0).normal(size=(1, 1, 3, 3)).astype("float32")
    for function in (losses.CrossEntropyDiceLoss(), dice.MeanDice(3)):
        assert float(function(true, given, weights)) == pytest.approx(
            float(function(true[:, :, :2], given[:, :, :2], weights[:, :, :2])), rel=1e-6
        )


def test_ids_may_be_of_any_dtype_that_holds_them():
    for dtype in ("bool", "uint8", "int64", "float16", "float32", "float64"):
        whole, weights = labels.read(ids(0, 1, 1).astype(dtype), logits(3, 1))[::2]
        assert whole.numpy().ravel().tolist() == [0, 1, 1] and weights is None
