"""What tests of several files share."""

import json
import shutil

import matplotlib.pyplot as plt
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def figures_closed():
    """No test sees the figures of another, and memory stays small."""
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def synthetic_dataset(tmp_path_factory):
    """A few synthetic pets, prepared once: 18 to train on, 2 to validate, 5 to test."""
    from helpers.datasets import oxford_pets
    from helpers.datasets.synthetic_pets import builder

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "SPLIT_SIZES", {"train": 20, "test": 5})
        patch.setenv("PETS_DATA", "synthetic")
        return oxford_pets.open_pets(tmp_path_factory.mktemp("synthetic_pets"))


@pytest.fixture
def fits(monkeypatch):
    """Stands in for keras.Model.fit, whose compilation takes most of a short training's time: real
    optimizer, random states and callbacks, gradients by what the batches hold. Keeps the weights
    before and the arguments of each call."""
    import keras

    calls = []

    def fit(model, batches, *, initial_epoch, epochs, steps_per_epoch, callbacks, **settings):
        start, seed = model.get_weights(), keras.random.SeedGenerator(0)
        calls.append({"model": model, "start": start, "batches": batches, **settings})
        (monitor,) = (part.monitor for part in callbacks if hasattr(part, "history"))
        callbacks = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs)
        callbacks.on_train_begin()
        model.stop_training, batches = False, iter(batches)
        weights = model.trainable_variables
        seeds = [v for v in model.variables if "seed" in v.name]
        for epoch in range(initial_epoch, epochs):
            callbacks.on_epoch_begin(epoch)
            for step in range(steps_per_epoch):
                change = sum(float(np.mean(part)) for part in next(batches)) / 255
                for state in seeds:
                    seed.state.assign(state)
                    change += float(keras.random.uniform((), seed=seed))
                    state.assign(seed.state)
                change = float(model.optimizer.scale_loss(change))
                model.optimizer.apply(
                    [np.full(weight.shape, change, "float32") for weight in weights], weights
                )
                callbacks.on_train_batch_end(step)
            score = float(np.sin(1e3 * np.sum(model.get_weights()[0])))  # up and down
            callbacks.on_epoch_end(epoch, {"loss": -score, monitor: score})
            if model.stop_training:
                break
        callbacks.on_train_end()

    monkeypatch.setattr(keras.Model, "fit", fit)
    return calls


@pytest.fixture
def command(synthetic_dataset, monkeypatch, tmp_path):
    """Runs a command on synthetic pets in an empty folder; returns the results there, by name."""
    from helpers import weights
    from helpers.datasets import oxford_pets

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")
    monkeypatch.setattr(weights, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(oxford_pets, "open_pets", lambda: synthetic_dataset)

    def run(module, *options):
        monkeypatch.setattr("sys.argv", [module.__name__, *map(str, options)])
        module.main()
        return {
            path.stem: json.loads(path.read_text()) for path in tmp_path.glob("results/*.json")
        }

    return run


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium with a camera that shows a test picture, see tests/chromium.py."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium here")
    flags = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
    ]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()
