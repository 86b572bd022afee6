"""What the recipes behind results/ share: training in stages, and the report at the end."""

import hashlib
import json
import re
import time
from pathlib import Path
from typing import NamedTuple

import keras

from helpers import checkpoints, data, evaluation, report, results, run_mode, training, weights
from helpers.augmentation import augment
from helpers.dice import BinaryDice, CrossEntropyDiceLoss, MeanDice
from helpers.models import train_encoder


class Stage(NamedTuple):
    """One part of a training: some epochs at one image size.

    - ``learning_rate``: the peak of the stage's own schedule.
    - ``jit_compile``: Keras's. On a CPU, XLA makes the U-Net from scratch a quarter faster at 128
      pixels and a third slower at 64, and a pre-trained encoder slower at any size.
    - ``augmented``: without, a training of a few epochs gets further; a long one learns its
      images by heart.
    - ``train_encoder``: as in ``models.train_encoder``, for networks that have one.
    """

    size: int
    epochs: int
    batch_size: int
    learning_rate: float
    jit_compile: bool | str = "auto"
    augmented: bool = True
    train_encoder: bool | str = True


def train(
    build,
    pets,
    stages,
    *,
    seed,
    run_dir,
    loss=None,
    border=None,
    augmentation=augment,
    limit=None,
    files=None,
    start=None,
    keep_best=True,
    resume=True,
    callbacks=(),
    clock=time.monotonic,
    verbose=2,
):
    """Trains a network stage by stage; each starts from the best weights of the one before.

    A fully convolutional network has no weight that depends on the image size, so the stages may
    differ in size (progressive resizing).

    Called again with the same arguments, a training that was killed goes on where it was, see
    ``training.fit``, and one that is finished is loaded, not trained again. The same means:
    network and its weights at the start, data, augmentation (by its name), loss, ``keep_best``,
    backend, seed and stages up to there. A change of the code goes unnoticed: delete the run
    folder then.

    Args:
        build: function of an image size that returns a Keras model with logits of three classes,
            or of one where ``border`` is given.
        pets: from ``data.open_pets``.
        stages: Stages, in order; the last one's size is the model's.
        seed: of weights, order and augmentation.
        run_dir: gets one folder a stage, as in ``training.fit``. On Colab, one on Google Drive
            outlives the session.
        loss: a Keras loss on logits; None for cross-entropy plus Dice.
        border: None for the three classes; for pet against background, what the border counts
            as, see ``data.to_binary``.
        augmentation: of the stages that are augmented, as in ``data.training_batches``.
        limit: train on the first so many examples, validate on a tenth as many.
        files: instead of a limit, {"train": [...], "validation": [...]}: train and validate on
            these, see ``data.spread``.
        start: a network like those of ``build``, whose weights the first stage starts from. None:
            from ``build``'s own.
        keep_best: as in ``training.fit``.
        resume: False trains anew, whatever lies in ``run_dir``.
        callbacks: further Keras callbacks.
        clock: function that gives the seconds since whenever; their difference is reported.
        verbose: as in ``model.fit``.

    Returns:
        model: of the last stage, with the weights that were best on validation.
        history: dict of lists by epoch, all stages in a row, and ``seconds`` by stage.
    """
    loss = CrossEntropyDiceLoss() if loss is None else loss
    model, history = None, {"seconds": []}
    tenth = limit and max(1, limit // 10)
    files = files or {"train": None, "validation": None}
    for number, stage in enumerate(stages, start=1):
        if verbose:
            print(f"Stage {number} of {len(stages)}: {stage.epochs} epochs at {stage.size} px")
        run_mode.set_seed(seed)  # each stage anew, so that a resumed run is the same run
        previous, model = model, build(stage.size)
        if previous is not None:
            model.set_weights(previous.get_weights())
        elif start is not None:
            model.set_weights(start.get_weights())
        if stage.train_encoder is not True:
            train_encoder(model, stage.train_encoder)
        folder = Path(run_dir) / f"stage_{number}"
        identity = {
            "network": _hash_of_graph(model),
            "start": _hash_of_weights(model),
            "data": [pets.name, limit, files, border],
            "augmentation": augmentation and augmentation.__qualname__,
            "loss": keras.losses.serialize(loss),
            "keep_best": keep_best,
            "backend": keras.backend.backend(),
            "seed": seed,
            "stages": [list(stage) for stage in stages[:number]],
        }
        identity = json.loads(json.dumps(identity))  # as it comes back from a file
        finished = _load(folder / checkpoints.FINISHED) if resume else {}
        if finished.get("identity") == identity:
            if verbose:
                print(f"Already trained, in {folder}: delete that folder to train it again")
            checkpoints.load_best(model, folder, finished["best"])
            _append(history, finished["history"])
            continue
        if verbose and finished:
            print(f"Replaces another training, in {folder}")
        began = clock()
        held_out = data.load_split(pets, "validation", stage.size, tenth, files["validation"])
        held_out = data.evaluation_batches(held_out, stage.batch_size)
        if border is not None:
            held_out = data.binary_batches(held_out, border)
        part = training.fit(
            model,
            _epochs(
                data.load_split(pets, "train", stage.size, limit, files["train"]),
                stage.batch_size,
                seed + number,
                augmentation if stage.augmented else None,
                border,
            ),
            held_out,
            epochs=stage.epochs,
            loss=loss,
            metric=MeanDice(data.CLASSES) if border is None else BinaryDice(),
            learning_rate=stage.learning_rate,
            jit_compile=stage.jit_compile,
            keep_best=keep_best,
            run_dir=folder,
            identity=identity if resume else None,
            callbacks=callbacks,
            clock=clock,
            began=began,
            verbose=verbose,
        )
        best = checkpoints.hash_of_best(folder)
        note = {"identity": identity, "history": part, "best": best}
        results.write_result(folder / checkpoints.FINISHED, note)
        (folder / checkpoints.STATE).unlink(missing_ok=True)  # twice the weights, of no more use
        _append(history, part)
    return model, history


def evaluate(model, pets, split, limit=None):
    """The model's confusion matrix on a split, see ``evaluation.evaluate``."""
    examples = data.load_split(pets, split, model.input_shape[1], limit)
    return evaluation.evaluate(model, data.evaluation_batches(examples, 32), data.CLASSES)


def run(name, build, stages, *, network, arguments, seed, run_dir, command, bits=16):
    """Trains on all of the data and publishes what comes of it.

    Args:
        name, network, arguments, bits, command: as in ``publish``.
        build, stages, seed, run_dir: as in ``train``.

    Returns:
        dict: what was written, see ``publish``.
    """
    pets = data.open_pets()
    precision = training.set_precision()
    model, history = train(build, pets, stages, seed=seed, run_dir=run_dir)
    values = publish(
        name,
        model,
        pets,
        network=network,
        arguments=arguments,
        bits=bits,
        protocol=results.PIXELS,
        settings={
            "model": network,
            **arguments,
            "stages": [stage._asdict() for stage in stages],
            "loss": "cross-entropy + Dice",
            "optimizer": "AdamW, weight decay 1e-4, cosine schedule per stage",
            "precision": precision,
            "checkpoint": "best validation Dice of each stage",
        },
        seed=seed,
        train_seconds=sum(history["seconds"]),
        validation={
            "data_source": data.describe(pets, "validation"),
            **evaluation.scores(evaluate(model, pets, "validation")),
            "mean_dice_by_epoch": [round(value, 4) for value in history["val_mean_dice"]],
        },
        command=command,
    )
    print(
        f"{values['data_source']}: pixel accuracy {values['pixel_accuracy']:.4f}, "
        f"mean IoU {values['mean_iou']:.4f} -> results/{name}.json"
    )
    return values


def publish(name, model, pets, *, network, arguments, settings, bits=16, threshold=None, **more):
    """Keeps a trained network under ``weights/`` and its report on the test split under
    ``results/``. Scored are the weights as they are in the file, rounded.

    Args:
        name: of both files.
        model: trained.
        pets: from ``data.open_pets``.
        network, arguments, bits, threshold: as in ``weights.save``; arguments without the size.
        settings: dict, of the training.
        more: what else ``results.result`` takes.

    Returns:
        dict: what was written, see ``results.result``.
    """
    size = model.input_shape[1]
    path = f"weights/{name}{weights.SUFFIX}"
    whole = {"input_size": size, **arguments}
    file = weights.save(model, path, network, whole, bits=bits, threshold=threshold)
    model, threshold = weights.load(path, file["sha256"])
    began = time.monotonic()
    counts = evaluation.measure(model, pets, "test", threshold=threshold or 0.5, progress=True)
    values = results.result(
        report.report(counts, pets),
        images=len(counts.files),
        input_size=size,
        data_source=data.describe(pets, "test"),
        settings={**settings, "parameters": model.count_params()},
        threshold=threshold,
        weights=file,
        evaluation_seconds=round(time.monotonic() - began),
        **more,
    )
    results.write_result(f"results/{name}.json", values)
    return values


def _epochs(examples, batch_size, seed, augmentation, border):
    """What ``training.fit`` trains on: a function of an epoch's number."""

    def batches(epoch):
        found = data.training_batches(examples, batch_size, seed, augmentation, epoch)
        return found if border is None else data.binary_batches(found, border)

    return batches


def _hash_of_graph(model):
    # Layers that Keras names by itself get another number in each build.
    graph = re.sub(r'_\d+"', '"', model.to_json())
    return hashlib.sha256(graph.encode()).hexdigest()


def _hash_of_weights(model):
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()


def _append(history, part):
    for name, values in part.items():
        history.setdefault(name, []).extend(values)


def _load(path):
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): delete its folder.") from error
