"""What tests of several files share."""

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
    """Stands in for training.fit, whose compilation takes most of a short training's time: moves
    each trainable weight by what the batches hold. Keeps the weights before and the arguments."""
    from helpers import training

    calls = []

    def fit(model, train, validation, *, epochs, learning_rate, run_dir, **settings):
        calls.append((model.get_weights(), train, validation, settings))
        for epoch in range(epochs):
            for images, *_ in train(epoch):
                for weight in model.trainable_weights:
                    weight.assign(weight + learning_rate * float(np.mean(images)) / 255)
        run_dir.mkdir(parents=True, exist_ok=True)
        model.save(run_dir / "best.keras")
        losses = [float(np.sum(model.get_weights()[0]))] * epochs
        return {"loss": losses, "val_" + settings["metric"].name: losses, "seconds": [0]}

    monkeypatch.setattr(training, "fit", fit)
    return calls
