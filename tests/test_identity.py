"""Two things have one identity where they do the same, in any process, and else two."""

import dataclasses
import functools
import importlib
import json
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from experiments import identity

FACTOR = 3


def by_constant(images, masks, seed):
    return images // FACTOR, masks


def by_argument(images, masks, seed, factor=2):
    return images // factor, masks


def by_closure(factor):
    return lambda images, masks, seed: (images // factor, masks)


class Darken:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, images, masks, seed):
        return images // self.factor, masks

    def darken(self, images, masks, seed):
        return self(images, masks, seed)


class Brighten(Darken):
    def __call__(self, images, masks, seed):
        return images * self.factor, masks


@dataclasses.dataclass
class Record:
    factor: int = 2

    def __call__(self, images, masks, seed):
        return images // self.factor, masks


class Weighted(keras.losses.Loss):
    def __init__(self, weight):
        super().__init__()
        self.model = weight  # as a perceptual loss has one; and no get_config

    def call(self, y_true, y_pred):
        return self.model * keras.ops.mean(y_pred - y_true)


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


def all_different():
    """Things that must not be taken for each other."""
    stopping = [
        keras.callbacks.EarlyStopping("val_loss", patience=patience) for patience in (1, 2)
    ]
    return [
        *[None, 0, 1, "1", [1], [1, 2], {"a": 1}, np.ones(2), np.ones((1, 2)), np.zeros(2)],
        *[lambda i, m, s: (i, m), lambda i, m, s: (m, i), lambda i, m, s: ([k for k in i], m)],
        *[by_constant, by_argument, by_closure(1), by_closure(2)],
        *[functools.partial(by_argument, factor=1), functools.partial(by_argument, factor=2)],
        *[
            Darken(1),
            Darken(2),
            Brighten(1),
            Darken(1).darken,
            Darken(2).darken,
            Record(),
            Record(3),
        ],
        *[Weighted(1), Weighted(2), keras.losses.Dice(), keras.losses.Dice(axis=(1, 2))],
        *[keras.losses.CategoricalCrossentropy(label_smoothing=s) for s in (0.0, 0.1)],
        *[Stop(), *stopping, keras.callbacks.LambdaCallback(on_epoch_end=by_constant)],
        *[
            functools.cache(by_constant),
            np.mean,
            keras.ops.mean,
            frozenset("abc"),
            by_closure("a"),
        ],
    ]


def test_what_differs_has_another_identity_and_the_same_one_in_another_process():
    found = [identity.of(value) for value in all_different()]
    assert len(set(found)) == len(found) and found == [*map(identity.of, all_different())]
    command = (
        "import json; from experiments import identity; from tests import test_identity as t;"
        "print(json.dumps([identity.of(value) for value in t.all_different()]))"
    )
    output = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert json.loads(output.stdout.splitlines()[-1]) == found


def test_a_constant_that_is_used_counts_and_one_that_is_not_does_not(monkeypatch):
    before = identity.of(by_constant), identity.of(by_argument)
    monkeypatch.setitem(globals(), "FACTOR", 4)
    assert identity.of(by_constant) != before[0]
    monkeypatch.setitem(globals(), "images", "as an argument is called")
    assert identity.of(by_argument) == before[1]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes modules and imports them anew: two, of which the second uses the first."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(
        inner, outer="import inner\ndef change(x):\n    return inner.scaled(x)\n", load=True
    ):
        for name, text in (("inner", inner), ("outer", outer)):
            (tmp_path / f"{name}.py").write_text(text)
            if load:
                sys.modules.pop(name, None)
                importlib.invalidate_caches()
                importlib.import_module(name)
        return sys.modules["outer"].change

    yield write
    del sys.modules["inner"], sys.modules["outer"]


INNER = "SCALE = 2\nOTHER = 1\ndef scaled(x):\n    return x * SCALE\n"


def test_a_function_is_what_it_says_and_what_it_uses_not_how_it_is_set(written):
    plain = identity.of(written(INNER))
    moved = INNER.replace("    return", '    """Scaled."""\n\n    # twice\n    return')
    assert identity.of(written(moved.replace("OTHER = 1", "OTHER = 2"))) == plain
    assert identity.of(written(INNER.replace("SCALE = 2", "SCALE = 3"))) != plain
    assert identity.of(written(INNER.replace("x * SCALE", "x + SCALE"))) != plain
    inside = "def change(x):\n    import inner\n    return inner.scaled(x)\n"
    local = identity.of(written(INNER, inside))
    assert identity.of(written(INNER.replace("SCALE = 2", "SCALE = 3"), inside)) != local


def test_a_file_that_was_changed_and_not_imported_again_does_not_count(written):
    new = INNER.replace("x * SCALE", "x + SCALE")
    after = identity.of(written(new))
    change = written(INNER)
    written(new, load=False)
    assert identity.of(change) != after


def test_a_notebooks_functions_and_classes_are_known_by_their_cells():
    shell = InteractiveShell.instance()

    def ran(cell):
        shell.run_cell(cell)
        return identity.of(shell.user_ns["change"])

    first = "def change(images, masks, seed):\n    return images // 2, masks"
    assert ran(first) == ran(f"x = 1\n\n{first}  # half") != ran(first.replace("2", "3"))
    kind = "class Change:\n    def __call__(self, i, m, s):\n        return i // 2, m\n"
    kind += "change = Change()"
    assert ran(kind) == ran(f"# again\n{kind}") != ran(kind.replace("2", "3"))
    assert ran("change = lambda i, m, s: (i, m)") != ran("change = lambda i, m, s: (m, i)")


def test_a_callback_that_was_used_is_the_same_as_before():
    stopping = keras.callbacks.EarlyStopping("val_loss", mode="min", restore_best_weights=True)
    before = identity.of(stopping)
    stopping.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    stopping.on_train_begin()
    stopping.on_epoch_end(0, {"val_loss": 1.0})
    assert identity.of(stopping) == before


@pytest.mark.parametrize("value", [threading.Lock(), (x for x in "ab"), np.random.default_rng(0)])
def test_what_cannot_be_told_is_said(value):
    with pytest.raises(identity.Unidentified, match=type(value).__name__):
        identity.of([1, Darken(value)])


def network(activation="relu", rate=0.5, skip=True, layer=keras.layers.Conv2D):
    images = keras.Input((8, 8, 3))
    x = layer(3, 1, activation=activation)(images)
    x = keras.layers.Dropout(rate)(keras.layers.BatchNormalization()(x))
    encoder = keras.Model(images, keras.layers.Add()([x, images if skip else x]))
    return keras.Model(images, keras.layers.Conv2D(1, 1)(encoder(images)))


class OwnConvolution(keras.layers.Conv2D):
    def call(self, inputs):
        return super().call(inputs) * 2


def test_a_network_is_its_layers_not_their_names_nor_precision_nor_release(monkeypatch):
    plain = identity.of_graph(network())
    assert identity.of_graph(network()) == plain  # whose layers have other numbers
    keras.config.set_dtype_policy("mixed_float16")
    try:
        assert identity.of_graph(network()) == plain
    finally:
        keras.config.set_dtype_policy("float32")
    config = keras.layers.BatchNormalization.get_config
    with monkeypatch.context() as patch:  # an older release, without what came since
        older = {"renorm", "renorm_clipping", "renorm_momentum"}
        patch.setattr(
            keras.layers.BatchNormalization,
            "get_config",
            lambda self: {k: v for k, v in config(self).items() if k not in older},
        )
        assert identity.of_graph(network()) == plain
    frozen = network()
    frozen.layers[1].trainable = False
    others = [network("elu"), network(by_argument), network(rate=0.4), network(skip=False)]
    others += [network(layer=OwnConvolution), frozen]
    assert len({plain, *map(identity.of_graph, others)}) == 7
