"""Training in stages, as the recipes behind ``experiments/results`` do it."""

import json
import uuid
from pathlib import Path

import keras

from experiments import identity
from helpers import checkpoints, evaluation, files, pipeline, run_mode, training
from helpers.augmentation import augment
from helpers.classes import VOID
from helpers.dice import BinaryDice, MeanDice
from helpers.losses import CrossEntropyDiceLoss
from helpers.models import train_encoder

FINISHED = "finished.json"


def train(
    build, dataset, stages, run, *, loss=None, augmentation=augment, border=None, start=None
):
    """Trains a network stage by stage; each starts from the best weights of the one before.

    A fully convolutional network has no weight that depends on the image size, so the stages may
    differ in size (progressive resizing).

    Called again with the same arguments, a training that was killed resumes, see ``training.fit``,
    and one that is finished is loaded, not trained again. The same means: network and its weights at
    the start, data, augmentation, loss, callbacks, ``keep_best``, backend, seed and stages up to
    there, see ``experiments.identity``. Each training has a folder of its own in the run folder, so
    none replaces another.

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
    """
    loss = default_loss(dataset.labelling) if loss is None else loss
    model, history, before = start, {"seconds": []}, []
    for number, stage in enumerate(stages, start=1):
        if run.verbose:
            print(f"Stage {number} of {len(stages)}: {stage.epochs} epochs at {stage.size} px")
        run_mode.set_seed(run.seed)  # each stage anew, so that a resumed run is the same run
        previous, model = model, build(stage.size)
        if previous is not None:
            model.set_weights(previous.get_weights())
        if stage.train_encoder is not True:
            train_encoder(model, stage.train_encoder)
        before.append(stage)
        what = (dataset, before, run, loss, augmentation, border)
        folder, known = _folder(model, f"stage_{number}", *what)
        with checkpoints.locked(folder):
            if not run.resume:
                _move_aside(folder)
            part = _finished(model, folder, run)
            if part is None:
                part = _train_stage(model, dataset, number, stage, run, what[3:], folder)
                _keep(model, folder, {"identity": known, "history": part})
        for name, values in part.items():
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
    return CrossEntropyDiceLoss(ignore=None if labelling.void is None else VOID)


def _train_stage(model, dataset, number, stage, run, told, folder):
    loss, augmentation, border = told
    labelling = dataset.labelling
    ignore = None if labelling.void is None else VOID
    metric = MeanDice(len(labelling), ignore=ignore) if border is None else BinaryDice()
    keeper = checkpoints.Checkpoints(folder, f"val_{metric.name}", run.keep_best)
    examples = pipeline.load_split(dataset, "train", stage.size)
    held_out = pipeline.load_split(dataset, "validation", stage.size)

    def targets(batches):
        return batches if border is None else pipeline.binary_batches(batches, labelling, border)

    def epochs(epoch):
        changes = augmentation if stage.augmented else None
        seed = run.seed + number
        return targets(pipeline.training_batches(examples, stage.batch_size, seed, changes, epoch))

    return training.fit(
        model,
        epochs,
        targets(pipeline.evaluation_batches(held_out, stage.batch_size)),
        stage=stage,
        loss=loss,
        metric=metric,
        keeper=keeper,
        run=run,
    )


def _folder(model, name, dataset, stages, run, loss, augmentation, border):
    """Where this training is kept, and what it is known by; None where that cannot be told."""
    parts = {split: dataset.parts.get(split) for split in ("train", "validation")}
    try:
        known = {
            "network": identity.of_network(model),
            "data": identity.of([dataset.name, parts, border]),
            "augmentation": identity.of(augmentation),
            "loss": identity.of(loss),
            "callbacks": identity.of(
                [c for c in run.callbacks if not getattr(c, "only_watches", False)]
            ),
            "keep_best": run.keep_best,
            "backend": keras.backend.backend(),
            "seed": run.seed,
            # how it is compiled changes the last digits alone
            "stages": [stage._replace(jit_compile=None) for stage in stages],
        }
    except identity.Unidentified as error:
        folder = Path(run.folder) / f"{name}_{uuid.uuid4().hex[:8]}"
        if run.verbose:
            print(f"There is no telling {error} from another, so it is trained anew, in {folder}")
        return folder, None
    known = json.loads(json.dumps(known))  # as it comes back from a file
    return Path(run.folder) / f"{name}_{identity.digest(known)}", known


def _move_aside(folder):
    entries = [path for path in folder.iterdir() if path.name != checkpoints.LOCK]
    if entries:
        aside = folder.with_name(f"{folder.name}_{uuid.uuid4().hex[:8]}")
        aside.mkdir()
        for path in entries:
            path.rename(aside / path.name)
        print(f"Trains anew; what {folder} held is now in {aside}")


def _finished(model, folder, run):
    """The history of a training that was finished, whose weights the model gets; None if it was
    not."""
    note = _load(folder / FINISHED)
    if note is None:
        return None
    checkpoints.load_weights(model, folder / checkpoints.BEST, note["best"])
    if run.verbose:
        print(f"Already trained, in {folder}: delete that folder to train it again")
    return note["history"]


def _keep(model, folder, note):
    try:
        best = checkpoints.save_model(model, folder / checkpoints.BEST)
        files.write_json(folder / FINISHED, {**note, "best": best})
        (folder / checkpoints.STATE).unlink(missing_ok=True)  # of no more use
    except OSError as error:  # the model itself is still in memory
        print(f"{error.strerror or error}. The trained model is handed back, but not kept there.")


def _load(path):
    try:
        return json.loads(path.read_text()) if path.is_file() else None
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): move its folder away.") from error
