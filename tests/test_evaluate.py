"""The command that scores a checkpoint."""

import json

import numpy as np
import pytest

from helpers import data, evaluate, evaluation, models, weights

NETWORK = {"classes": 3, "width": 2, "depth": 1}


@pytest.fixture
def command(drawn_pets, monkeypatch, tmp_path, capsys):
    """Runs the command in an empty folder; returns what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "open_pets", lambda: drawn_pets)

    def run(*options):
        monkeypatch.setattr("sys.argv", ["evaluate", *map(str, options)])
        evaluate.main()
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("suffix", [weights.SUFFIX, ".keras"])
def test_it_scores_a_file_and_writes_the_report(command, drawn_pets, tmp_path, suffix):
    model = models.unet(16, **NETWORK)
    path = tmp_path / f"net{suffix}"
    if suffix == ".keras":
        model.save(path)
    else:
        weights.save(model, path, "unet", {"input_size": 16, **NETWORK})
        model, _ = weights.load(path)
    printed = command(path, "--split", "validation", "--out", "out.json")
    told = json.loads((tmp_path / "out.json").read_text())
    batches = data.evaluation_batches(data.load_split(drawn_pets, "validation", 16), 32)
    expected = evaluation.scores(evaluation.evaluate(model, batches, 3))
    assert told["mean_iou"] == pytest.approx(expected["mean_iou"])
    assert told["data_source"].endswith("validation part (2)")
    (line,) = (line for line in printed.splitlines() if line.startswith("mean iou"))
    assert float(line.split()[2]) == pytest.approx(told["mean_iou"], abs=1e-4)
    assert "Dice, border as ignore" in printed


def test_one_logit_is_scored_at_its_own_threshold(command, tmp_path):
    model = models.unet(16, **{**NETWORK, "classes": 1})
    arguments = {"input_size": 16, **NETWORK, "classes": 1}
    weights.save(model, tmp_path / "net.safetensors", "unet", arguments, threshold=0.3)
    printed = command("net.safetensors", "--limit", 2, "--out", "out.json")
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["threshold"] == 0.3 and told["images"] == 2 and "mean iou" not in printed


def test_what_cannot_be_scored_is_one_sentence(command, tmp_path):
    with pytest.raises(SystemExit, match="There are no weights named 'resnet': expected"):
        command("resnet")
    with pytest.raises(SystemExit, match="There is no file"):
        command("none.keras")
    path = tmp_path / "net.keras"
    models.unet(16, **NETWORK).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SystemExit, match="is no whole Keras checkpoint"):
        command(path)
    broken = models.unet(16, **NETWORK)
    broken.set_weights([weight * np.nan for weight in broken.get_weights()])
    broken.save(path)
    with pytest.raises(SystemExit, match="output is not finite"):
        command(path)
    assert not (tmp_path / "results").exists()
