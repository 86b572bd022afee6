"""Mean IoU against training time: TensorFlow's tutorial beside our recipe, in one run.

    python -m benchmarks.time_to_accuracy

Each contestant trains epoch by epoch, always the one that has used the least time so far, so that
a noisy machine slows all of them alike. Their seconds hold everything but validation: reading,
decoding, compiling, training. The test split is scored once, at the end.
"""

import itertools
import time
from pathlib import Path

import numpy as np

from benchmarks import tutorial
from helpers import (
    data,
    evaluation,
    mobilenetv2_unet,
    models,
    readme,
    run_mode,
    training,
    visualization,
)
from helpers.dice import CrossEntropyDiceLoss, MeanDice

RESULT = Path("results/time_to_accuracy.json")
SIZE = 128
OURS = "Ours"
TUTORIAL = "TensorFlow's tutorial"


def tutorials(pets):
    """Yields the tutorial's network after each of its epochs."""
    run_mode.set_seed(mobilenetv2_unet.SEED)
    model = tutorial.model()
    batches = iter(tutorial.batches(pets, "train", training=True))  # repeats without end
    steps = data.count_examples(pets, "train") // tutorial.BATCH
    for _ in range(tutorial.EPOCHS):
        train_epoch(model, itertools.islice(batches, steps))
        yield model


def ours(pets, stages):
    """Yields our network after each epoch of ``stages``."""
    model = None
    for number, stage in enumerate(stages, start=1):
        run_mode.set_seed(mobilenetv2_unet.SEED)
        previous = model
        model = models.mobilenetv2_unet(stage.size, data.CLASSES, decoder=mobilenetv2_unet.DECODER)
        if previous is not None:
            model.set_weights(previous.get_weights())
        models.train_encoder(model, not stage.freeze_encoder)
        examples = data.load_split(pets, "train", stage.size)
        seed = mobilenetv2_unet.SEED + number
        train = data.training_batches(examples, stage.batch_size, seed, stage.augmented)
        training.compile_model(
            model,
            steps=stage.epochs * len(train),
            loss=CrossEntropyDiceLoss(),
            metric=MeanDice(data.CLASSES),
            learning_rate=stage.learning_rate,
            jit_compile=stage.jit_compile,
        )
        for _ in range(stage.epochs):
            train_epoch(model, train)
            yield model


def train_epoch(model, batches):
    """What ``model.fit`` does in an epoch. It would make an iterator of its own each time, and a
    cache that one iterator has begun to fill is lost to the next."""
    model.reset_metrics()
    for images, masks in batches:
        model.train_on_batch(images, masks)


def race(contestants, evaluate):
    """Trains all contestants in turns.

    Args:
        contestants: dict, name -> generator that yields a model after each epoch.
        evaluate: function of name and model that returns the validation's confusion matrix.

    Returns:
        models: dict, name -> the trained model.
        curves: dict, name -> {"seconds": [...], "validation_mean_iou": [...]}, by epoch.
    """
    trained, racing = {}, dict(contestants)
    curves = {name: {"seconds": [], "validation_mean_iou": []} for name in contestants}
    while racing:
        name = min(racing, key=lambda name: sum(curves[name]["seconds"][-1:]))
        start = time.monotonic()
        model = next(racing[name], None)
        if model is None:
            del racing[name]
            continue
        curve, trained[name] = curves[name], model
        curve["seconds"].append(sum(curve["seconds"][-1:]) + time.monotonic() - start)
        mean_iou = evaluation.scores(evaluate(name, model))["mean_iou"]
        curve["validation_mean_iou"].append(mean_iou)
        print(f"{name}: {curve['seconds'][-1]:6.0f} s, mean IoU {mean_iou:.4f}", flush=True)
    return trained, curves


def main():
    pets = data.open_pets()
    precision = training.set_precision()
    stages = mobilenetv2_unet.STAGES[SIZE]
    contestants = {
        TUTORIAL: tutorials(pets),
        "Ours, encoder frozen": ours(pets, stages[:1]),
        OURS: ours(pets, stages),
    }

    def evaluate(name, model, split="validation"):
        if name == TUTORIAL:
            batches = tutorial.batches(pets, split, training=False)
        else:
            batches = data.evaluation_batches(data.load_split(pets, split, SIZE), 32)
        return evaluation.evaluate(model, batches, data.CLASSES)

    trained, curves = race(contestants, evaluate)
    entries = {}
    for name, model in trained.items():
        matrix = evaluate(name, model, "test")
        entries[name] = {
            **{key: np.round(values, 4).tolist() for key, values in curves[name].items()},
            "parameters": model.count_params(),
            "test": {**evaluation.reported_scores(matrix), "confusion_matrix": matrix.tolist()},
        }
    source = data.describe(pets, "validation")
    values = evaluation.result(
        entries[OURS]["test"]["confusion_matrix"],
        images=data.count_examples(pets, "test"),
        input_size=SIZE,
        data_source=data.describe(pets, "test"),
        settings={
            "model": "mobilenetv2_unet",
            "decoder": mobilenetv2_unet.DECODER,
            "stages": [stage._asdict() for stage in stages],
            "precision": precision,
        },
        seed=mobilenetv2_unet.SEED,
        train_seconds=round(curves[OURS]["seconds"][-1]),
        validation={"data_source": source, "mean_iou": curves[OURS]["validation_mean_iou"][-1]},
        contestants=entries,
        command="python -m benchmarks.time_to_accuracy",
    )
    evaluation.write_result(RESULT, values)
    figure = visualization.plot_progress(
        {name: tuple(curve.values()) for name, curve in curves.items()}, source=source
    )
    visualization.save_figure(figure, RESULT.with_suffix(".png"))
    print(readme.comparison(values))


if __name__ == "__main__":
    main()
