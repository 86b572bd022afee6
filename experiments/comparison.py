"""One thing varied, everything else equal: what ``losses`` and ``architectures`` share.

Every variant is trained with every seed, all variants with the first seed before any with the
second: what is there is a fair table at any time. A training leaves beside the result what each
validation image counted, in a small file, and the result is put together from these:
what has been trained is not trained again, on this machine or on another that has the files.
Weights are under ``runs``; there an interrupted training resumes.
What the counts say: ``differences``.
"""

import argparse
import dataclasses
import functools
import gc
import json
import math
import re
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from experiments import differences, identity, publish, recipe
from experiments.mobilenetv2_unet import FIRST_TRAINED
from helpers import (
    boundaries,
    datasets,
    evaluation,
    files,
    models,
    pipeline,
    run_mode,
    training,
    weights,
)
from helpers.augmentation import augment
from helpers.datasets import oxford_pets
from helpers.dice import MeanDice
from helpers.training import Run, Stage

RUNS = Path("runs")
SEEDS = (1, 2, 3)
# The published recipe, cut down to minutes: the decoder on the encoder as it is, then both.
STAGES = (
    Stage(128, 1, 8, 4e-3, augmented=False, train_encoder=False),
    Stage(128, 2, 16, 3e-4, train_encoder=FIRST_TRAINED),
)
EPOCHS, TIME = "epochs", "time"  # the budgets
CLOSE = 0.05  # as a share: so near to the reference's time, both budgets are one
MOST = 5  # times the reference's time: a slower network is trained for the same time alone
ROUNDS, TIMED_STEPS = 5, 3
PROTOCOL = (
    "Scored on validation, pooled over its images: mean IoU, IoU of the border and calibration "
    "error at the network's size, boundary F (pet with border, within {width} pixels) at the "
    "photos' own size. Weights of the last epoch. Differences from {reference} are means over the "
    "seeds that both have; their 95 % intervals are a paired bootstrap over images. A difference "
    "counts as found where the interval does not hold zero and all seeds, two or more, agree in "
    "sign. Of 100 such intervals without any difference, 5 would not hold zero."
)
SAME_TIME = (
    " The same time: as many steps as fit into the time that {reference} takes for its epochs, by "
    "the time of a step, measured in turns; where the epochs take within {close:.0%} of it, one "
    "training serves for both. A network that would take more than {most} times as long for the "
    "epochs is compared in the same time alone."
)


class Variant(NamedTuple):
    """What is trained: a network of ``helpers.models``, a loss on its logits, the stages."""

    loss: keras.losses.Loss
    arguments: dict
    stages: tuple
    builder: str = "mobilenetv2_unet"

    def build(self, size):
        return getattr(models, self.builder)(size, **self.arguments)

    def untrained(self):
        """Without ImageNet weights: for what does not depend on weights."""
        pretrained = {} if self.builder in ("unet", "residual_unet") else {"weights": None}
        return self._replace(arguments={**self.arguments, **pretrained}).build(self.stages[0].size)


class Comparison(NamedTuple):
    """- ``name``: of the command, the result and the folder under ``runs``.
    - ``variants``: name -> Variant.
    - ``baselines``: names; all others are compared with the first.
    - ``budgets``: of ``EPOCHS`` and ``TIME``; the last one decides.
    """

    name: str
    variants: dict
    baselines: tuple
    budgets: tuple = (EPOCHS,)


# ---------------------------------------------------------------------------------- the trainings


def run(comparison, seeds=None, only=None):
    """Trains what has not been trained, and writes the result after each training.

    Args:
        comparison: Comparison.
        seeds: int, how many of ``SEEDS``; None for all.
        only: names of variants; None for all.

    Returns:
        dict: what was written.

    Raises:
        ValueError: an unknown name.
    """
    names = list(comparison.variants) if only is None else list(only)
    if unknown := set(names) - set(comparison.variants):
        known = ", ".join(comparison.variants)
        raise ValueError(f"There is no {' or '.join(sorted(unknown))}: expected some of {known}.")
    path = weights.RESULTS / f"{comparison.name}.json"
    files.check_writable(path)
    pets = oxford_pets.open_pets()
    bench = Bench(comparison, pets, training.set_precision())
    bench.measure(names)
    for seed in SEEDS[:seeds]:
        for name in names:
            for budget in comparison.budgets:
                if bench.stages(name, budget) and bench.kept(name, budget, seed) is None:
                    kept = bench.train(name, budget, seed)
                    found = differences.scores(kept.counts().sum(axis=0), pets.labelling)
                    print(
                        f"seed {seed}, {name}, same {budget}: mean IoU "
                        f"{found['mean_iou']:.4f}, {kept.seconds.sum():.0f} s",
                        flush=True,
                    )
                    files.write_json(path, bench.result())
    if bench.complete():
        bench.test()
    result = bench.result()
    files.write_json(path, result)
    return result


class Bench:
    """The trainings of a comparison on a data set, and what they have left.

    What is kept says by a key what it is of: network, data, stages, loss, augmentation and seed.
    Of another key, it counts as not there, and is replaced.
    """

    def __init__(self, comparison, dataset, precision):
        self.comparison, self.dataset, self.precision = comparison, dataset, precision
        self.folder = weights.RESULTS / comparison.name
        self._known, self._keys, self._speeds = {}, {}, {}  # read or worked out before
        self.size = next(iter(comparison.variants.values())).stages[-1].size
        self.small = resized(dataset, self.size)

    @functools.cached_property
    def networks(self):
        """Of each variant: ``parameters``, ``multiply_adds`` and ``graph``, an identity."""
        known, found = {}, {}
        for name, variant in self.comparison.variants.items():
            key = json.dumps([variant.builder, variant.arguments])
            if key not in known:
                model = variant.untrained()
                known[key] = {
                    "parameters": model.count_params(),
                    "multiply_adds": models.count_multiply_adds(model),
                    "graph": identity.of_graph(model),
                }
                gc.collect()
            found[name] = known[key]
        return found

    @functools.cached_property
    def validation(self):
        """All validation images as batches, with their masks at their own size."""
        return list(pipeline.labelled_batches(self.dataset, "validation", self.size, 32))

    def stages(self, name, budget):
        """The stages of a variant in a budget; None where it has none, because it would take more
        than ``MOST`` times the reference's time, or its speed is unknown."""
        stages, ratio = self.comparison.variants[name].stages, self.time_ratio(name)
        if ratio is None:
            return None
        if budget == EPOCHS:
            return stages if ratio <= MOST else None
        return shortened(stages, ratio, datasets.count_examples(self.dataset, "train"))

    def train(self, name, budget, seed):
        """Trains, unless ``recipe.train`` has, and counts what that got right on validation."""
        model, seconds = self._trained(name, budget, seed)
        kept = self._count(model, self.validation, seconds, name, budget, seed, "validation")
        del model
        gc.collect()
        return kept

    def kept(self, name, budget, seed, split="validation"):
        """Kept, or None."""
        path, key = self._path(name, budget, seed, split), self._key(name, budget, seed)
        if path not in self._known:
            self._known[path] = differences.read(path)
        found = self._known[path]
        return found if found and found.key == key else None

    def _count(self, model, batches, seconds, name, budget, seed, split):
        counts = evaluation.measure(model, batches, self.dataset.labelling)
        kept = differences.Kept(
            counts.known["file_name"],
            counts.matrices,
            counts.own_outlines[:, 0],
            counts.confidences,
            np.array(seconds),
            np.array(run_mode.device_name()),
            np.array(self._key(name, budget, seed)),
        )
        path = self._path(name, budget, seed, split)
        files.write(path, differences.to_npz(kept))
        self._known[path] = kept
        return kept

    def _trained(self, name, budget, seed):
        variant = self.comparison.variants[name]
        folder = RUNS / self.comparison.name / _slug(name) / f"seed_{seed}"
        # Three epochs under a falling rate end at their best; and none is chosen on validation.
        run = Run(folder, seed, keep_best=False, verbose=0)
        stages = self.stages(name, budget)
        model, history = recipe.train(variant.build, self.small, stages, run, loss=variant.loss)
        return model, history["seconds"]

    def _path(self, name, budget, seed, split="validation"):
        which = EPOCHS if self._one_for_both(name, budget) else budget
        return self.folder / _slug(name) / f"{split}_{which}_seed_{seed}.npz"

    def _one_for_both(self, name, budget):
        return self.stages(name, budget) == self.comparison.variants[name].stages

    def _key(self, name, budget, seed):
        which = (name, budget, seed)
        if which not in self._keys:
            stages, loss = self.stages(name, budget), self.comparison.variants[name].loss
            known = [self._of(name), list(map(list, stages)), loss, augment, seed]
            self._keys[which] = identity.of(known)
        return self._keys[which]

    def _of(self, name):
        data = self.dataset
        parts = [[data.sizes[split], data.parts.get(split)] for split in datasets.SPLITS]
        return [self.networks[name]["graph"], data.name, data.labelling.to_json(), parts]

    # Speed

    def measure(self, names):
        """Measures how fast variants and the reference train, in turns, where that is unknown."""
        names = dict.fromkeys([self.comparison.baselines[0], *names])
        unknown = [name for name in names if self._speed(name) is None]
        if not unknown:
            return
        reference = self.comparison.variants[self.comparison.baselines[0]]
        beside = [_stepper(reference, stage, self.dataset) for stage in reference.stages]
        for name in unknown:
            variant, stages = self.comparison.variants[name], []
            for stage, other in zip(variant.stages, beside[-len(variant.stages) :], strict=True):
                found = timed_in_turns(_stepper(variant, stage, self.dataset), other)
                stages.append(found if variant is not reference else {**found, "ratio": 1.0})
                gc.collect()
            known = {"key": self._speed_key(name), "stages": stages}
            files.write_json(self._speed_path(name), known)
            ratios = ", ".join(f"{stage['ratio']:.2f}" for stage in stages)
            print(f"{name}: steps take {ratios} of the reference's time", flush=True)
        gc.collect()

    def time_ratio(self, name):
        """What a training takes as a multiple of the reference's time, in the same epochs; None
        before both speeds are known."""
        seconds = [
            self.step_seconds(one, self.comparison.variants[one].stages)
            for one in (name, self.comparison.baselines[0])
        ]
        return None if None in seconds else seconds[0] / seconds[1]

    def step_seconds(self, name, stages):
        """The time of all steps on a machine as it was when the reference was measured: not what
        else runs beside them, nor compiling, reading and validating."""
        speeds = self._speed(name), self._speed(self.comparison.baselines[0])
        if None in speeds:
            return None
        examples = datasets.count_examples(self.dataset, "train")
        return sum(
            stage.epochs * recipe.steps_of_epoch(stage, examples) * own["ratio"] * other["seconds"]
            for stage, own, other in zip(stages, *speeds, strict=True)
        )

    def _speed(self, name):
        if name not in self._speeds:
            path = self._speed_path(name)
            known = json.loads(path.read_text()) if path.exists() else {}
            if known.get("key") != self._speed_key(name):
                return None
            self._speeds[name] = known["stages"]
        return self._speeds[name]

    def _speed_path(self, name):
        return self.folder / _slug(name) / "speed.json"

    def _speed_key(self, name):
        variant = self.comparison.variants[name]
        reference = self.comparison.baselines[0]
        graphs = [self.networks[one]["graph"] for one in (name, reference)]
        return identity.of([graphs, list(map(list, variant.stages)), variant.loss])

    # The result

    def complete(self):
        """Whether every training is there: only then is the test split looked at, once."""
        names = self.comparison.variants
        return all(self.time_ratio(name) is not None for name in names) and all(
            self.kept(name, budget, seed) is not None
            for name in names
            for budget in self.comparison.budgets
            for seed in SEEDS
            if self.stages(name, budget)
        )

    def test(self):
        """Scores the winner and the baselines on the test split, with every seed."""
        budget = self.comparison.budgets[-1]
        for name in self._tested():
            for seed in SEEDS:
                if self.kept(name, budget, seed, "test") is None:
                    model, seconds = self._trained(name, budget, seed)
                    batches = pipeline.labelled_batches(self.dataset, "test", self.size, 32)
                    self._count(model, batches, seconds, name, budget, seed, "test")
                    del model
                    gc.collect()

    def _tested(self):
        kept = self._all(self.comparison.budgets[-1])
        best = differences.winner(kept, self.dataset.labelling)
        return list(dict.fromkeys([best, *self.comparison.baselines]))

    def _all(self, budget, split="validation", names=None):
        """name -> seed -> Kept, of what is there."""
        found = {}
        for name in self.comparison.variants if names is None else names:
            if self.stages(name, budget):
                of_seeds = {seed: self.kept(name, budget, seed, split) for seed in SEEDS}
                found[name] = {seed: kept for seed, kept in of_seeds.items() if kept}
        return {name: of_seeds for name, of_seeds in found.items() if of_seeds}

    def result(self):
        """The result, a dict ready for JSON, from what is there."""
        comparison, labelling = self.comparison, self.dataset.labelling
        budgets, devices = {}, set()
        for budget in comparison.budgets:
            kept = self._all(budget)
            devices |= {str(one.device) for of_seeds in kept.values() for one in of_seeds.values()}
            budgets[budget] = differences.summary(kept, comparison.baselines[0], labelling)
            for name, entry in budgets[budget].items():
                stages = self.stages(name, budget)
                entry["stages"] = [stage._asdict() for stage in stages]
                entry["step_seconds"] = round(self.step_seconds(name, stages), 1)
        result = {
            "comparison": comparison.name,
            "protocol": self._protocol(),
            "baselines": list(comparison.baselines),
            "seeds": list(SEEDS),
            "complete": self.complete(),
            "classes": list(labelling.names),
            "input_size": self.size,
            "data_source": datasets.describe(self.dataset, "validation"),
            "settings": {
                "training_images": datasets.count_examples(self.dataset, "train"),
                "optimizer": publish.OPTIMIZER,
                "augmentation": "of the stages that are augmented, helpers.augmentation",
                "checkpoint": "last epoch",
                "precision": self.precision,
            },
            "variants": {
                name: {
                    "builder": variant.builder,
                    "arguments": variant.arguments,
                    "parameters": self.networks[name]["parameters"],
                    "multiply_adds": self.networks[name]["multiply_adds"],
                    "time_ratio": differences.rounded(self.time_ratio(name)),
                }
                for name, variant in comparison.variants.items()
            },
            "budgets": budgets,
            "trained_on": sorted(devices),
            "command": f"python -m experiments.{comparison.name}",
            **publish.environment(),
        }
        if result["complete"]:
            budget, tested = comparison.budgets[-1], self._tested()
            kept = self._all(budget, "test", tested)
            if len(kept) == len(tested) and all(len(one) == len(SEEDS) for one in kept.values()):
                result["winner"] = tested[0]
                result["test"] = {
                    "data_source": datasets.describe(self.dataset, "test"),
                    "budget": budget,
                    "variants": differences.summary(kept, comparison.baselines[0], labelling),
                }
        return result

    def _protocol(self):
        text = PROTOCOL + SAME_TIME * (TIME in self.comparison.budgets)
        values = {"width": boundaries.OUTLINE_WIDTH, "close": CLOSE, "most": MOST}
        return text.format(reference=self.comparison.baselines[0], **values)


def resized(dataset, size):
    """The data set with images and masks at that size, without loss and kept in memory, so that
    the next training does not decode the photographs again."""
    height, width = pipeline.sides(size)

    def shrink(record):
        image, _ = pipeline.decode(record, size, dataset.labelling)
        stored = tf.io.decode_png(record["segmentation_mask"], channels=1)
        mask = tf.image.resize(stored, (height, width), method="nearest")
        pngs = {"image": tf.io.encode_png(image), "segmentation_mask": tf.io.encode_png(mask)}
        return {**record, **pngs}

    @functools.cache
    def read(split):
        return dataset.read(split).map(shrink, num_parallel_calls=tf.data.AUTOTUNE).cache()

    return dataclasses.replace(dataset, read=read, read_part=None)


def shortened(stages, ratio, examples):
    """The stages with 1 / ``ratio`` of their steps: as many batches an epoch, and of them as many
    epochs, as it takes."""
    if abs(ratio - 1) < CLOSE:
        return stages
    found = []
    for stage in stages:
        whole = recipe.steps_of_epoch(stage, examples)
        wanted = max(1, round(stage.epochs * whole / ratio))
        epochs = max(stage.epochs if ratio > 1 else 1, math.ceil(wanted / whole))
        epochs = min(epochs, wanted)
        found.append(stage._replace(epochs=epochs, steps=round(wanted / epochs)))
    return tuple(found)


def timed_in_turns(step, other):
    """Times two functions in turns, so that a noisy machine slows both alike.

    Returns:
        dict: ``seconds`` of a step, the median of the rounds, and ``ratio`` to the other's, the
        median of the rounds' ratios.
    """
    for warm_up in (step, step, other, other):
        warm_up()
    rounds = [[_seconds_of(function) for function in (step, other)] for _ in range(ROUNDS)]
    return {
        "seconds": statistics.median(own for own, _ in rounds),
        "ratio": statistics.median(own / its for own, its in rounds),
    }


def _seconds_of(function):
    began = time.perf_counter()
    for _ in range(TIMED_STEPS):
        function()
    return (time.perf_counter() - began) / TIMED_STEPS


def _stepper(variant, stage, dataset):
    """A function that trains a variant for one step, on random pixels."""
    model, classes = variant.untrained(), len(dataset.labelling)
    if stage.train_encoder is not True:
        models.train_encoder(model, stage.train_encoder)
    training.compile_model(
        model,
        steps=1000,
        loss=variant.loss,
        metric=MeanDice(classes),
        learning_rate=stage.learning_rate,
    )
    rng, shape = np.random.default_rng(0), (stage.batch_size, *pipeline.sides(stage.size))
    images = rng.integers(0, 256, (*shape, 3), np.uint8)
    masks = rng.integers(0, classes, (*shape, 1), np.uint8)
    return lambda: model.train_on_batch(images, masks)


def _slug(name):
    return re.sub(r"\W+", "_", name).strip("_")


def main(comparison):
    """The command."""
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{comparison.name}")
    parser.add_argument("--seeds", type=int, choices=range(1, len(SEEDS) + 1), help="how many")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=comparison.variants)
    options = parser.parse_args()
    run(comparison, options.seeds, options.only)
