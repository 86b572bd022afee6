"""The recipe of the U-Net from scratch, and its command with little work."""

import numpy as np
import pytest

from experiments import recipe, unet_from_scratch
from helpers import evaluation, models, weights
from helpers.training import Run, Stage

STAGES = (Stage(16, 2, 8, 1e-2), Stage((32, 16), 1, 8, 1e-3))
ARGUMENTS = {"classes": 3, "width": 2, "depth": 1}


def test_published_stages_grow_to_a_size_that_fits_the_network():
    sizes = [stage.size for stage in unet_from_scratch.STAGES]
    assert sizes == sorted(sizes) and sizes[-1] == 128
    for size in sizes:
        models.unet(size, **{**unet_from_scratch.ARGUMENTS, "width": 1})


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(unet_from_scratch, "STAGES", STAGES)
    monkeypatch.setattr(unet_from_scratch, "ARGUMENTS", ARGUMENTS)
    monkeypatch.setattr(unet_from_scratch, "RUN", Run(tmp_path / "runs", seed=7, verbose=0))


def test_the_command_publishes_what_it_trained_and_what_is_in_the_file_is_scored(
    small, command, fits, synthetic_dataset
):
    result = command(unet_from_scratch)["unet_from_scratch"]
    network = weights.load(weights.FOLDER / result["weights"]["file"], result["weights"]["sha256"])
    matrix = recipe.evaluate(network.model, synthetic_dataset, "test").sum(axis=0)
    assert result["confusion_matrix"] == matrix.tolist() and np.sum(matrix) == 5 * 32 * 16
    assert evaluation.scores(matrix).items() <= result.items()
    for rounded, trained in zip(network.model.get_weights(), fits[1]["model"].get_weights()):
        assert np.allclose(rounded, trained, atol=np.abs(trained).max() / 120)
    assert (result["input_size"], result["seed"], result["images"]) == ([32, 16], 7, 5)
    assert result["data_source"].endswith("test split (5)") and "float32" in str(
        result["settings"]
    )
    assert result["settings"]["parameters"] == network.model.count_params()
    assert [stage["epochs"] for stage in result["settings"]["stages"]] == [2, 1]
    assert result["validation"]["data_source"].endswith("validation split (2)")
    assert len(result["validation"]["mean_dice_by_epoch"]) == 3
    assert result["classes"] == ["pet", "background", "border"]
    assert result["command"] == "python -m experiments.unet_from_scratch"
    del fits[:]
    again = command(unet_from_scratch, "--shards", 2)["unet_from_scratch"]
    assert again["command"] == "python -m experiments.unet_from_scratch --shards 2" and fits
    del fits[:]
    results = command(unet_from_scratch, "--seed", 8)
    other = results["unet_from_scratch_seed_8"]
    assert other["command"] == "python -m experiments.unet_from_scratch --seed 8" and fits
    assert other["seed"] == 8 and other["weights"]["sha256"] != result["weights"]["sha256"]
    assert results["unet_from_scratch"] == again
    assert [path.name for path in weights.FOLDER.iterdir()] == [result["weights"]["file"]]
    del fits[:]
    again = command(unet_from_scratch)["unet_from_scratch"]
    assert again["weights"] == result["weights"] and not fits


def test_what_cannot_be_published_is_not_even_trained(small, command, fits, tmp_path):
    (tmp_path / "results").write_text("a file, no folder")
    with pytest.raises(OSError, match="unet_from_scratch.json was not written .*is a file"):
        command(unet_from_scratch)
    assert not fits
