"""The command that scores trained weights."""

import json

import numpy as np
import pytest

from experiments import evaluate, recipe
from helpers import evaluation, models, photos, weights
from helpers.classes import PETS, Labelling

ARGUMENTS = {"classes": 3, "width": 2, "depth": 1}


@pytest.mark.parametrize("name", ["net.safetensors", "net.keras"])
def test_it_scores_a_file_and_writes_the_report(command, synthetic_dataset, capsys, name):
    network = weights.Network(models.unet((16, 32), **ARGUMENTS), PETS, None, "unet", ARGUMENTS)
    if name.endswith("keras"):
        network.model.save(name)
    else:
        weights.save(network, name)
        network = weights.load(name)
    command(evaluate, name, "--split", "validation", "--out", "results/out.json")
    with open("results/out.json") as file:
        report = json.load(file)
    matrices = recipe.evaluate(network.model, synthetic_dataset, "validation")
    assert report["mean_iou"] == pytest.approx(evaluation.scores(matrices.sum(0))["mean_iou"])
    assert report["data_source"].endswith("validation split (2)")
    printed = capsys.readouterr().out.splitlines()
    (line,) = (line for line in printed if line.startswith("mean iou"))
    assert float(line.split()[2]) == pytest.approx(report["mean_iou"], abs=1e-4)
    assert any(line.startswith("Dice, border as ignore") for line in printed)
    for views in ("mirror",), ("mirror", "enlarge"):
        options = ("--split", "validation", *(f"--{view}" for view in views))
        seen = command(evaluate, name, *options, "--out", "results/seen.json")["seen"]
        model = models.enlarged(network.model) if "enlarge" in views else network.model
        matrices = recipe.evaluate(models.mirrored(model), synthetic_dataset, "validation")
        assert seen["mean_iou"] == pytest.approx(evaluation.scores(matrices.sum(0))["mean_iou"])
        assert seen["settings"]["mirrored"]
        assert seen["settings"]["enlarged"] == ("enlarge" in views)
    assert not report["settings"]["mirrored"] and not report["settings"]["enlarged"]


def test_one_logit_is_scored_at_its_own_threshold(command, capsys):
    arguments = {**ARGUMENTS, "classes": 1}
    network = weights.Network(models.unet(16, **arguments), PETS, 0.3, "unet", arguments)
    weights.save(network, "net.safetensors")
    options = ("net.safetensors", "--limit", 2, "--out", "results/out.json")
    report = command(evaluate, *options)["out"]
    assert report["threshold"] == 0.3 and report["images"] == 2
    assert report["command"].endswith("evaluate net.safetensors --split test --limit 2")
    assert "mean iou" not in capsys.readouterr().out


def test_what_cannot_be_scored_or_written_is_one_sentence(command, tmp_path, monkeypatch):
    def refused(*options):
        with pytest.raises(SystemExit) as caught:
            command(evaluate, *options)
        return str(caught.value)

    assert "There are no weights named 'resnet': expected" in refused("resnet")
    assert "There is no file" in refused("none.keras")
    broken = models.unet(16, **ARGUMENTS)
    broken.set_weights([weight * np.nan for weight in broken.get_weights()])
    broken.save("net.keras")
    assert "output is not finite" in refused("net.keras", "--split", "validation")
    network = weights.Network(models.unet(16, **ARGUMENTS), PETS, None, "unet", ARGUMENTS)
    cells = Labelling(("cell", "nucleus", "rod"), PETS.colors)
    weights.save(network._replace(labelling=cells), "cells.safetensors")
    assert "of other classes (cell, nucleus, rod) than" in refused("cells.safetensors")
    weights.save(network._replace(view=photos.View(letterbox=True)), "margins.safetensors")
    assert "was trained on tiles, in margins" in refused("margins.safetensors")
    monkeypatch.setattr(weights, "open_network", None)  # found out before
    assert "a part of the path is a file" in refused("net.keras", "--out", "net.keras/out.json")
