"""Mean IoU against training time: TensorFlow's tutorial beside our recipe, in one run.

    python -m experiments.benchmarks.time_to_accuracy

The contestants train by ``model.fit``, an epoch at a time, always the one that has used the least
time so far: a noisy machine slows all of them alike. Their seconds hold everything but
validation: reading, decoding, compiling, training. The test split is scored once, at the end.

Ours is the recipe itself, in the recipe's folder: ``python -m experiments.mobilenetv2_unet``
reports it without training again.
"""

import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras

from experiments import mobilenetv2_unet, publish, recipe
from experiments.benchmarks import tutorial
from helpers import datasets, evaluation, files, run_mode, training
from helpers.classes import PETS
from helpers.datasets import oxford_pets

RESULT = Path("experiments/results/time_to_accuracy.json")
SIZE = 128
OURS = "Ours"
TUTORIAL = "TensorFlow's tutorial"


class Abandoned(Exception):
    """Ends a contestant after another one has failed."""


class Turn(keras.callbacks.Callback):
    """Lets ``fit`` go on when it is its turn, and is the stopwatch of these turns.

    Args:
        evaluate: function of a model that returns the validation's confusion matrix.
    """

    only_watches = True  # see training.Run

    def __init__(self, evaluate):
        super().__init__()
        self.evaluate = evaluate
        self.seconds, self.mean_iou = [], []  # by epoch
        self.over = False
        self._used, self._since = 0.0, None
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)

    def clock(self):
        """Seconds so far, but those of validation and of waiting."""
        return self._used + (0 if self._since is None else time.monotonic() - self._since)

    def on_test_begin(self, logs=None):
        self._used, self._since = self.clock(), None

    def on_test_end(self, logs=None):
        self._since = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        self._used, self._since = self.clock(), None
        self.seconds.append(self._used)
        self.mean_iou.append(evaluation.scores(self.evaluate(self.model))["mean_iou"])
        self.done.release()
        self.begin()

    def begin(self):
        self.go.acquire()
        if self.over:
            raise Abandoned
        self._since = time.monotonic()

    def end(self):
        self._used, self._since, self.over = self.clock(), None, True
        self.done.release()

    def give(self):
        """Called by the race: waits until one epoch, or the rest, is done."""
        self.go.release()
        self.done.acquire()


def race(contestants, evaluate):
    """Trains all contestants in turns, each in a thread of its own.

    Args:
        contestants: dict, name -> function of a Turn that trains with this callback and returns
            the model.
        evaluate: function of name and model that returns the validation's confusion matrix.

    Returns:
        models: dict, name -> the trained model.
        curves: dict, name -> {"seconds": [...], "validation_mean_iou": [...]}, by epoch.
    """
    turns = {name: Turn(functools.partial(evaluate, name)) for name in contestants}

    def run(name):
        try:
            turns[name].begin()
            return contestants[name](turns[name])
        except BaseException:
            for turn in turns.values():
                turn.over = True
            raise
        finally:
            turns[name].end()

    with ThreadPoolExecutor(len(contestants)) as threads:
        runs = {name: threads.submit(run, name) for name in contestants}
        while racing := [name for name, turn in turns.items() if not turn.over]:
            name = min(racing, key=lambda name: turns[name].clock())
            turn, epochs = turns[name], len(turns[name].seconds)
            turn.give()
            if len(turn.seconds) > epochs:
                print(
                    f"{name}: {turn.seconds[-1]:6.0f} s, mean IoU {turn.mean_iou[-1]:.4f}",
                    flush=True,
                )
        for turn in turns.values():  # after a failure, those that still wait give up
            turn.go.release()
    for running in runs.values():
        if not isinstance(running.exception(), (Abandoned, type(None))):
            raise running.exception()
    curves = {
        name: {"seconds": turn.seconds, "validation_mean_iou": turn.mean_iou}
        for name, turn in turns.items()
    }
    return {name: running.result() for name, running in runs.items()}, curves


def the_tutorial(pets, turn):
    run_mode.set_seed(mobilenetv2_unet.RUN.seed)
    model = tutorial.model()
    model.fit(
        tutorial.batches(pets, "train", training=True),
        epochs=tutorial.EPOCHS,
        steps_per_epoch=datasets.count_examples(pets, "train") // tutorial.BATCH,
        callbacks=[turn],
        verbose=0,
    )
    return model


def ours(pets, stages, run_dir, turn):
    training.set_precision()  # holds for the thread that calls it
    # an earlier run's epochs would have taken no time
    run = mobilenetv2_unet.RUN._replace(folder=run_dir, resume=False, callbacks=(turn,), verbose=0)
    return recipe.train(mobilenetv2_unet.build, pets, stages, run)[0]


def evaluate(pets, name, model, split="validation"):
    """A contestant's confusion matrix, (C, C), on what its own pipeline makes of a split."""
    if name != TUTORIAL:
        return recipe.evaluate(model, pets, split).sum(axis=0)
    # its model takes pixels in 0..1, which ours refuse
    model = keras.Sequential([keras.layers.Rescaling(1 / 255), model])
    batches = (
        {"image": 255.0 * images.numpy(), "mask": masks.numpy()}
        for images, masks in tutorial.batches(pets, split, training=False)
    )
    return evaluation.measure(model, batches, pets.labelling).matrices.sum(axis=0)


def main():
    pets = oxford_pets.open_pets()
    files.check_writable(RESULT)
    precision = training.set_precision()
    stages, run = mobilenetv2_unet.STAGES[SIZE], mobilenetv2_unet.RUN
    contestants = {
        TUTORIAL: functools.partial(the_tutorial, pets),
        "Ours, first stage alone": functools.partial(
            ours, pets, stages[:1], "runs/time_to_accuracy"
        ),
        OURS: functools.partial(ours, pets, stages, run.folder),
    }
    trained, curves = race(contestants, functools.partial(evaluate, pets))
    entries = {}
    for name, model in trained.items():
        matrix = evaluate(pets, name, model, "test")
        rounded = {
            key: [round(value, 4) for value in values] for key, values in curves[name].items()
        }
        rule = PETS.border_rules["pet"]
        dice = evaluation.pooled_binary_scores(matrix, rule)["dice"]
        entries[name] = {
            **rounded,
            "parameters": model.count_params(),
            "test": {
                **evaluation.scores(matrix),
                "dice_border_as_pet": float(dice),
                "confusion_matrix": matrix.tolist(),
            },
        }
    files.write_json(
        RESULT,
        {
            **entries[OURS]["test"],
            "classes": list(pets.labelling.names),
            "protocol": publish.ALL_CLASSES,
            "images": datasets.count_examples(pets, "test"),
            "input_size": SIZE,
            "data_source": datasets.describe(pets, "test"),
            "settings": {
                "model": "mobilenetv2_unet",
                **mobilenetv2_unet.ARGUMENTS,
                "stages": [stage._asdict() for stage in stages],
                "precision": precision,
            },
            "seed": run.seed,
            **publish.environment(),
            "train_seconds": round(curves[OURS]["seconds"][-1]),
            "validation": {
                "data_source": datasets.describe(pets, "validation"),
                "mean_iou": curves[OURS]["validation_mean_iou"][-1],
            },
            "contestants": entries,
            "command": "python -m experiments.benchmarks.time_to_accuracy",
        },
    )


if __name__ == "__main__":
    main()
