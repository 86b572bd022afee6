"""Training in stages, as the recipes behind ``experiments/results`` do it."""

import contextlib
import functools
import math
import uuid
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from experiments import identity
from helpers import (
    checkpoints,
    datasets,
    distribution,
    evaluation,
    pipeline,
    run_mode,
    training,
)
from helpers.augmentation import augment
from helpers.dice import BinaryDice, MeanDice
from helpers.losses import CrossEntropyDiceLoss
from helpers.models import train_encoder


def train(
    build, dataset, stages, run, *, loss=None, augmentation=augment, border=None, start=None
):
    """Trains a network stage by stage; each starts from the best weights of the one before.

    A fully convolutional network has no weight that depends on the image size, so the stages may
    differ in size (progressive resizing).

    Called again with the same arguments, a training that was killed resumes, see ``training.fit``,
    and one that is finished is loaded, not trained again. The same means, by ``identity``: network
    and the weights that it is given, data (not what is in its files), augmentation, loss,
    optimizer, callbacks, ``keep_best``, backend, seed and shards, but on any number of devices or
    processes. Each training has a folder of its own in the run folder, so none replaces another.

    Args:
        build: function of an image size that returns a Keras model with logits of the data set's
            classes, or with one where ``border`` is given.
        dataset: datasets.Dataset; trains on its training split, validates on its validation split.
        stages: training.Stages, in order; the last one's size is the model's.
        run: training.Run.
        loss: a Keras loss on logits; None for cross-entropy plus Dice.
        augmentation: of the stages that are augmented, as in ``pipeline.training_batches``.
        border: None for all classes; for the first against the second, what the border counts as,
            see ``pipeline.to_binary``.
        start: a network like those of ``build``, whose weights the first stage starts from. None:
            from ``build``'s own.

    Returns:
        model: of the last stage, with the weights that were best on validation.
        history: dict of lists by epoch, all stages in a row, and ``seconds`` by stage.

    Raises:
        RuntimeError: the same training is running already, or its loss became NaN or infinite.
        OSError: the run folder cannot be written to.
        ValueError: ``run.devices`` or ``run.shards`` do not fit, see ``helpers.distribution``.
    """
    _check_devices(dataset, stages, run)
    run = run._replace(verbose=0) if distribution.process() else run
    loss = default_loss(dataset.labelling) if loss is None else loss
    task = _Task(dataset, loss, augmentation, border)
    of_all = _identified(_identity, task, run)
    model, history = start, {"seconds": []}
    for number, stage in enumerate(stages, start=1):
        if run.verbose:
            print(f"Stage {number} of {len(stages)}: {stage.epochs} epochs at {stage.size} px")
        model, given = _build(build, stage, run.seed, model)
        known = {**of_all, **_identified(_identity_of_stage, task, stage, model, given)}
        again = functools.partial(build, stage.size)
        keeper = _train_stage(model, again, task, (number, stage), run, known)
        for name, values in {**keeper.history, "seconds": [round(keeper.seconds)]}.items():
            history.setdefault(name, []).extend(values)
    return model, history


def evaluate(model, dataset, split, threshold=0.5):
    """The model's confusion matrices on a split, (N, C, K), one an image; see
    ``evaluation.measure``."""
    size = model.input_shape[1:3]
    batches = pipeline.labelled_batches(dataset, split, size, 32, own_masks=False)
    counts = evaluation.measure(model, batches, dataset.labelling, threshold=threshold)
    return counts.matrices


def default_loss(labelling):
    """Cross-entropy plus Dice; pixels that count for nothing are ignored."""
    return CrossEntropyDiceLoss(ignore=labelling.ignore)


def steps_of_epoch(stage, examples):
    """int, the batches of an epoch with so many examples."""
    steps = math.ceil(examples / stage.batch_size)
    return steps if stage.steps is None else min(stage.steps, steps)


def _check_devices(dataset, stages, run):
    """Before hours of training."""
    distribution.check_devices(run.devices)
    sizes = {s: datasets.count_examples(dataset, s) for s in ("train", "validation")}
    for number in distribution.own_shards(run.shards):
        datasets.shard(dataset, "train", number, run.shards)
    for stage in stages:
        batch, seen = stage.batch_size, sizes["train"]
        seen = min(seen, (stage.steps or math.inf) * batch)
        distribution.check_batches("training", seen, batch, run.devices)
        if batch % run.shards:
            raise ValueError(f"{run.shards} shards cannot share a batch of {batch} evenly.")
        distribution.check_batches("validation", sizes["validation"], batch, run.devices)


class _Task(NamedTuple):
    """What is learnt from: see ``train``."""

    dataset: datasets.Dataset
    loss: keras.losses.Loss
    augmentation: object
    border: str | None


def _build(build, stage, seed, start):
    """A stage's network, and those of its weights that do not follow from the seed: these have the
    same last digits on every device, and the drawn ones do not."""
    if start is None:
        run_mode.set_seed(seed + 1)
        others = build(stage.size).get_weights()
    run_mode.set_seed(seed)  # each stage anew, so that a resumed run is the same run
    model = build(stage.size)
    if start is not None:
        model.set_weights(start.get_weights())
        others = model.get_weights()
    if stage.train_encoder is not True:
        train_encoder(model, stage.train_encoder)
    given = [one for one, other in zip(model.get_weights(), others) if np.array_equal(one, other)]
    return model, given


def _identity(task, run):
    data, splits = task.dataset, ("train", "validation")
    parts = [[data.sizes[split], data.parts.get(split)] for split in splits]
    acting = [c for c in run.callbacks if not getattr(c, "only_watches", False)]
    return {
        "data": identity.of([data.name, data.labelling.to_json(), parts, task.border]),
        "loss": identity.of(task.loss),
        "augmentation": identity.of(task.augmentation),
        "callbacks": identity.of(acting),
        **{"keep_best": run.keep_best, "seed": run.seed, "backend": keras.backend.backend()},
        **({} if run.shards == 1 else {"shards": run.shards}),
    }


def _identity_of_stage(task, stage, model, given):
    examples = datasets.count_examples(task.dataset, "train")
    steps = steps_of_epoch(stage, examples)
    optimizer = training.make_optimizer(stage.learning_rate, stage.epochs * steps)
    return {
        "network": identity.of_graph(model),
        "start weights": identity.of(given),
        "schedule": identity.of([stage.epochs, stage.batch_size, optimizer]),
        **({} if stage.augmented else {"augmentation": None}),
    }


def _identified(find, *arguments):
    try:
        return find(*arguments)
    except identity.Unidentified as error:
        print(f"There is no telling {error} from another, so this is trained anew each time.")
        return {"unidentified": distribution.from_chief(lambda: uuid.uuid4().hex)}


def _train_stage(model, build, task, numbered, run, known):
    """Trains a network, or gives it the weights of the same training if that is finished.

    Args:
        build: function that builds another such network.
        numbered: the stage's number, and the Stage.

    Returns:
        checkpoints.Checkpoints, with the history.
    """
    number, stage = numbered
    folder = Path(run.folder) / f"stage_{number}_{identity.of(known)[:8]}"
    monitor = f"val_{_metric(task).name}"

    def read():
        return checkpoints.Checkpoints(folder, monitor, known, run.keep_best)

    is_there = run.resume and read().finished  # then the disk may well be one to read only
    with contextlib.ExitStack() as stack:
        if not is_there:
            lock = checkpoints.locked(folder)
            distribution.from_chief(lambda: stack.enter_context(lock))
        if not run.resume:
            distribution.from_chief(lambda: checkpoints.move_aside(folder))
        keeper = read()  # by now, another process may have finished it
        if not keeper.finished:
            if run.verbose and not keeper.epochs:
                _say_what_differs(folder, known)
            batches = _batches(task, stage, run._replace(seed=run.seed + number))
            settings = {"loss": task.loss, "keeper": keeper, "stage": stage, "run": run}
            with distribution.replicated(model, build, run.devices) as copy:
                training.fit(copy, *batches, metric=_metric(task), **settings)
        elif run.verbose:
            print(f"Already trained, in {folder}: delete that folder to train it again")
    keeper.restore_best(model)
    return keeper


def _metric(task):
    labelling = task.dataset.labelling
    return BinaryDice() if task.border else MeanDice(len(labelling), ignore=labelling.ignore)


def _say_what_differs(folder, known):
    """Says why what is there from before is not the same training."""
    stage, _ = folder.name.rsplit("_", 1)
    differences = []
    for path in folder.parent.glob(f"{stage}_*"):
        other = checkpoints.read_identity(path) or known
        parts = [part for part in known if other.get(part) != known[part]]
        differences += [(len(parts), path.name, parts)] if parts else []
    if differences:
        _, name, parts = min(differences)
        print(f"{folder.name} differs from {name} in {', '.join(parts)}")


def _batches(task, stage, run):
    """What ``training.fit`` trains and validates on: of several processes, this one's part."""
    dataset, border = task.dataset, task.border
    shards = {
        number: pipeline.load_split(
            datasets.shard(dataset, "train", number, run.shards), "train", stage.size
        )
        for number in distribution.own_shards(run.shards)
    }
    validation = datasets.shard(
        dataset, "validation", distribution.process(), distribution.processes()
    )
    held_out = pipeline.load_split(validation, "validation", stage.size)
    augmentation = task.augmentation if stage.augmented else None
    steps = steps_of_epoch(stage, datasets.count_examples(dataset, "train"))
    batch_size = stage.batch_size // distribution.processes()
    make = pipeline.training_batches if run.shards == 1 else pipeline.sharded_batches
    examples = shards[0] if run.shards == 1 else shards

    def targets(batches):
        if border is None:
            return batches
        return pipeline.binary_batches(batches, dataset.labelling, border)

    def epochs(epoch):
        batches = make(examples, batch_size, run.seed, augmentation, epoch)
        return targets(batches.take(steps))

    return epochs, targets(pipeline.evaluation_batches(held_out, batch_size))
