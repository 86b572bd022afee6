"""The recipe itself, and its command with nothing replaced but the amount of work.

Stages, resuming and the report are in test_recipe.py, where training is mostly a stand-in.
"""

import functools
import json

import keras
import numpy as np
import pytest
from helpers.recipe import Stage

from helpers import data, evaluation, recipe, training, unet_from_scratch, weights
from helpers.models import unet

STAGES = (Stage(16, 2, 8, 1e-2), Stage(32, 1, 8, 1e-3))


@pytest.fixture(scope="module")
def ran(drawn_pets, tmp_path_factory):
    """A folder in which the command ran, and the weights each stage started from."""
    folder, starts, fit = tmp_path_factory.mktemp("ran"), [], training.fit

    def spy(model, *args, **kwargs):
        starts.append(model.get_weights())
        return fit(model, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(data, "open_pets", lambda: drawn_pets)
        patch.setattr(training, "fit", spy)
        small = {"STAGES": STAGES, "RUN_DIR": "runs/tiny", "NAME": "tiny"}
        small |= {"ARGUMENTS": {"classes": data.CLASSES, "width": 4, "depth": 2}}
        for name, value in small.items():
            patch.setattr(unet_from_scratch, name, value)
        patch.setattr("sys.argv", ["unet_from_scratch"])
        unet_from_scratch.main()
    return folder, starts


def best(folder, number):
    path = folder / "runs" / "tiny" / f"stage_{number}" / "best.keras"
    return keras.saving.load_model(path, safe_mode=True)


def test_published_stages_fit_the_network():
    sizes = [stage.size for stage in unet_from_scratch.STAGES]
    assert sizes == sorted(sizes) and sizes[-1] == 128
    options = {"width": unet_from_scratch.WIDTH, "depth": unet_from_scratch.DEPTH}
    shapes = [
        [weight.shape for weight in unet(size, classes=data.CLASSES, **options).weights]
        for size in sizes
    ]
    assert all(shape == shapes[0] for shape in shapes)


def test_result_is_whole(ran):
    result = json.loads((ran[0] / "results/tiny.json").read_text())
    assert evaluation.scores(result["confusion_matrix"]).items() <= result.items()
    assert np.sum(result["confusion_matrix"]) == result["images"] * 32 * 32 == 5 * 32 * 32
    assert result["data_source"] == "drawn pets (synthetic), test split (5)"
    assert (result["input_size"], result["seed"]) == (32, unet_from_scratch.SEED)
    assert (result["settings"]["width"], result["settings"]["depth"]) == (4, 2)
    assert result["settings"]["precision"] == "float32"
    parameters = unet(32, data.CLASSES, width=4, depth=2).count_params()
    assert result["settings"]["parameters"] == parameters
    assert result["validation"]["data_source"].endswith("validation part (2)")
    assert result["settings"]["stages"] == [stage._asdict() for stage in STAGES]
    assert result["train_seconds"] >= 0 and result["command"].startswith("python -m helpers.")
    assert result["versions"] and result["device"] and result["date"] and result["protocol"]
    assert len(result["validation"]["mean_dice_by_epoch"]) == 3
    assert {"mean_iou", "mean_dice", "pixel_accuracy"} < result["validation"].keys()


def test_result_is_that_of_the_last_stages_best_weights_as_they_are_in_the_file(ran, drawn_pets):
    result = json.loads((ran[0] / "results/tiny.json").read_text())
    published, _ = weights.load(ran[0] / "weights/tiny.safetensors", result["weights"]["sha256"])
    models = (published, "test", result), (best(ran[0], 2), "validation", result["validation"])
    for model, split, expected in models:
        matrix = recipe.evaluate(model, drawn_pets, split)
        assert evaluation.scores(matrix)["mean_iou"] == pytest.approx(expected["mean_iou"])
    for rounded, whole in zip(published.get_weights(), best(ran[0], 2).get_weights()):
        assert np.allclose(rounded, whole, atol=np.abs(whole).max() / 120)


def test_each_stage_leaves_a_folder(ran):
    folders = sorted((ran[0] / "runs" / "tiny").iterdir())
    assert [folder.name for folder in folders] == ["stage_1", "stage_2"]
    for folder, stage in zip(folders, STAGES):
        assert {"best.keras", "log.csv"} <= {entry.name for entry in folder.iterdir()}
        assert len((folder / "log.csv").read_text().splitlines()) == 1 + stage.epochs


def test_second_stage_starts_from_the_best_weights_of_the_first(ran):
    folder, starts = ran
    expected = best(folder, 1).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(starts[1], expected, strict=True))
    assert not np.array_equal(starts[0][0], expected[0])  # the first one trained


def test_the_same_seed_gives_the_same_history(ran, drawn_pets, tmp_path):
    folder, starts = ran
    build = functools.partial(unet, classes=data.CLASSES, width=4, depth=2)
    seed, options = unet_from_scratch.SEED, {"run_dir": tmp_path / "run", "verbose": 0}
    model, history = recipe.train(build, drawn_pets, STAGES[:1], seed=seed, **options)
    logged = np.genfromtxt(
        folder / "runs" / "tiny" / "stage_1" / "log.csv", delimiter=",", names=True
    )
    for name in ("loss", "val_loss", "mean_dice", "val_mean_dice"):
        assert len(history[name]) == 2
        assert np.allclose(history[name], logged[name], rtol=1e-4), name
    pairs = zip(model.get_weights(), starts[1], strict=True)
    assert all(np.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in pairs)
