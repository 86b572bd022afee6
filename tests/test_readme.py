"""The README says what the files say."""

import io
import json
import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from helpers import evaluation
from helpers.classes import PETS
from tools import on_paper, readme

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
RESULTS = [
    path
    for path in sorted((ROOT / readme.RESULTS).glob("*.json"))
    if "confusion_matrix" in path.read_text()
]
KEYS = {
    "confusion_matrix",
    "images",
    "input_size",
    "data_source",
    "settings",
    "seed",
    "versions",
    "device",
    "train_seconds",
    "validation",
    "command",
}
OF_TRAINING = {"train_seconds", "validation"}


@pytest.fixture(params=RESULTS, ids=lambda path: path.stem)
def result(request):
    return json.loads(request.param.read_text())


def test_numbers_are_those_of_the_results():
    assert len(RESULTS) > 5
    assert readme.filled(TEXT, readme.load_results(ROOT / readme.RESULTS)) == TEXT


def test_another_number_would_be_noticed():
    for number in range(len(readme.load_results(ROOT / readme.RESULTS))):
        results = readme.load_results(ROOT / readme.RESULTS)
        shown, name, more = results[number], "mean_iou", 0.001
        if "rounds" in shown:  # a benchmark of speed
            shown, more = next(iter(shown["contestants"].values())), 1000
            name = next(iter(shown))
        elif "exports" in shown:
            shown = shown["exports"][0]
        elif "cutouts" in shown:
            shown, name, more = list(shown["cutouts"].values())[-1]["cut-out"], "sad", 1
        elif "growth" in shown:
            shown, name, more = list(shown["growth"].values())[-1]["seconds"], -1, 1000
        elif "gradients" in shown:
            name, more = "gradients", 10**6
        elif "comparison" in shown:
            entry = list(list(shown["budgets"].values())[-1].values())[-1]
            shown = entry["mean"]
        elif "contestants" in shown:
            shown = list(shown["contestants"].values())[-1]["test"]
        elif "mean_iou" not in shown:  # of one logit
            shown, name = shown["binary_scores"]["pet"], "dice"
        shown[name] += more
        assert readme.filled(TEXT, results) != TEXT


def test_arithmetic_on_paper_by_hand():
    result = {
        "multiply_adds": 2_000_000,
        "stated_multiply_adds": 4_000_000,
        "gradients": 2_500_000,
        "gpus": {
            name: {"images": 8, "ms": 4.0, "how": "", "source": ""} for name in ("T4", "A100")
        },
        "links": {
            name: {"gb_per_s": 0.5, "how": "", "source": ""}
            for name in ("NVLink", "10 Gbit/s Ethernet")
        },
        "input_size": 128,
        "batch_size": 32,
    }
    step = {"contestants": {"ours, light decoder, whole": {"images_per_s": 20}}}
    reading = {"contestants": {"ours": {"later_images_per_s": 400}}, "data_source": "x (3,200)"}
    for measured in (step, reading):
        measured |= {"device": "AMD, 4 cores, no GPU", "command": "a command"}
    export = {"photos_per_s": 10, "device": "AMD, 2 cores, no GPU"}
    (_, _, first, *rows), texts = on_paper.described(result, step, reading, export)
    assert first[1:5] == ["20 images/s", "1,600 ms", "none", "0.20"]
    # 2,000 stated, twice as many of half the cost, a third of them: 1,333 images/s
    assert rows[0][1:5] == ["1,333 images/s", "24.0 ms", "none", "14"]
    assert rows[2][1:5] == ["1,333 images/s", "24.0 ms", "35.00 ms", "107"]  # 17.5 MB
    assert rows[2][5] == "all-reduce" and rows[0][5].startswith("compute with 14 cores or more")
    assert rows[4][3] == "39.96 ms"
    assert "3,200 images, 100 steps of 32: 12 steps on 8" in texts[1] and "10 epochs" in texts[1]
    assert "55.6 core-hours" in texts[2] and "200 s on 1,000 workers" in texts[2]
    assert "12 minutes on one" in texts[2] and "10.0 MB" in texts[0]


def test_many_photos_are_told_by_worker():
    values = {"photos_per_s": 30.0, "photos_per_s_per_worker": 15.0, "peak_mb": 1234.0}
    text = readme.many_photos(
        {
            "contestants": {"plain command": values},
            "workers": {"plain command": 2},
            "photos": 10_000,
            "photo_px": 160,
            "data_source": "synthetic pets",
            "command": "a command",
            "device": "a laptop",
            "versions": dict.fromkeys(readme.MANY_PHOTOS, "1.0"),
        }
    )
    assert "| 10,000 small photos |" in text
    assert "| plain command | 2 | 30.0 photos/s | 15.0 photos/s | 1,234 MB |" in text


@pytest.mark.parametrize("name", ["accuracy_and_time", "growth"])
def test_the_figure_shows_the_results(name):
    results = readme.load_results(ROOT / readme.RESULTS)
    if name == "growth":
        (result,) = [result for result in results if "growth" in result]
        figure = readme.growth_figure(result)
    else:
        figure = readme.cost_figure(results)
    drawn = io.BytesIO()
    with matplotlib.rc_context({"savefig.bbox": "standard"}):
        figure.savefig(drawn, format="png", dpi="figure")
    committed = plt.imread(ROOT / readme.RESULTS / f"{name}.png")
    drawn.seek(0)
    redrawn = plt.imread(drawn)
    assert committed.shape == redrawn.shape
    assert np.mean(np.abs(committed - redrawn) > 0.1) < 0.005  # fonts differ a little by machine


def test_the_comparison_says_who_is_there_when():
    test = {"pixel_accuracy": 0.9, "mean_iou": 0.7, "dice_border_as_pet": 0.9}
    contestants = {
        "Theirs": {
            "seconds": [100, 200, 300],
            "validation_mean_iou": [0.6, 0.7, 0.65],
            "test": test,
        },
        "Ours": {"seconds": [20, 25, 40], "validation_mean_iou": [0.6, 0.7, 0.8], "test": test},
    }
    result = {
        "contestants": contestants,
        "command": "python -m experiments.benchmarks.race",
        "device": "a laptop",
        "input_size": 128,
        "seed": 1,
        "data_source": "synthetic pets",
    }
    text = readme.comparison(result)
    assert "Theirs has its best validation mean IoU, 0.700, after 200 s." in text
    assert "Ours is there after 25 s, 1/8 of that time." in text
    assert "| Ours | 3 | 40 s |" in text and "(experiments/results/race.png)" in text
    contestants["Ours"]["validation_mean_iou"] = [0.5, 0.6, 0.65]
    assert "Ours is there" not in readme.comparison(result)


def test_other_seeds_and_second_looks_stand_beside_their_network():
    results = readme.load_results(ROOT / readme.RESULTS)
    (once,) = readme._published(readme._of(results, "unet_from_scratch"))
    again = {**once, "seed": 1, "command": f"{once['command']} --seed 1"}
    again |= {"mean_iou": once["mean_iou"] + 0.02, "pixel_accuracy": once["pixel_accuracy"]}
    text, alone = readme.table([once, again]), readme.table([once])
    assert text.count("U-Net from scratch") == 1
    assert "Seeds" not in alone and "Seeds 42, 1, mean and standard deviation: mean IoU" in text
    assert f"mean IoU {once['mean_iou'] + 0.01:.4f} ± 0.0141 and pixel accuracy" in text
    assert f"{once['pixel_accuracy']:.4f} ± 0.0000" in text
    settings = {"sha256": once["weights"]["sha256"], "source": "it", "mirrored": True}
    twice = {**once, "settings": settings, "mean_iou": 0.9876, "command": "look at it"}
    often = {**twice, "settings": {**settings, "enlarged": True}, "mean_iou": 0.9999}
    _, _, *rows = readme.views_table([often, twice], [once]).split("\n\n")[0].splitlines()
    assert "| unet_from_scratch | 128 px | itself | 1 | " in rows[0]
    assert f"| {once['mean_iou']:.3f} (" in rows[0]
    assert "| itself, mirrored | 2 | " in rows[1] and "| 0.988 (" in rows[1]
    assert "| itself, mirrored, both enlarged | 5.1 | " in rows[2] and "| 1.000 (" in rows[2]
    assert "`look at NETWORK`" in readme.views_table([twice], [once])
    settings["sha256"] = "of older weights"
    with pytest.raises(ValueError, match="look at it is of other weights than the published"):
        readme.views_table([twice], [once])


def test_exported_files_have_a_row_each():
    entry = {"network": "unet", "format": "onnx", "quantize": None, "flexible": True}
    entry |= {"bytes": 5_200_000, "equal_pixels": 0.99987, "mean_iou": 0.8, "keras_mean_iou": 0.81}
    entry |= {"pass_ms": 20, "predict_ms": 200, "photos_per_s": 30, "keras_photos_per_s": 15}
    entry |= {"cold_s": 0.5, "keras_cold_s": 5, "device": "a laptop", "data_source": "Pets"}
    entry["versions"] = dict.fromkeys(readme.RUNTIMES, "1.0")
    text = readme.exports({"exports": [entry, {**entry, "flexible": False}]})
    row = "| unet | ONNX, float32, flexible | 5.2 MB | 99.987 % | **0.8000** (0.8100) | "
    assert row + "**20 ms** (200 ms) | 30/s (15/s) | 0.5 s (5.0 s) |" in text
    assert text.count("on a laptop; onnxruntime 1.0") == 1


def test_without_its_markers_it_is_not_touched():
    with pytest.raises(ValueError, match="needs each of these lines once"):
        readme.filled("nothing here", [])


def test_result_has_its_protocol(result):
    assert result.keys() >= (KEYS - OF_TRAINING if "source" in result["settings"] else KEYS)


def test_result_follows_from_its_confusion_matrix(result):
    if "mean_iou" not in result:  # one logit; per image and intervals need each image's matrix
        for rule, values in result["binary_scores"].items():
            scores = evaluation.binary_scores(
                [result["confusion_matrix"]], PETS.border_rules[rule]
            )
            for name in ("dice", "iou", "pixel_accuracy"):
                assert values[name] == pytest.approx(scores[name])
            low, high = values["dice_interval"]
            assert low < values["dice"] < high
        assert np.shape(result["confusion_matrix"]) == (3, 2)
        assert np.sum(result["confusion_matrix"]) == result["images"] * result["input_size"] ** 2
        return
    for name, value in evaluation.scores(result["confusion_matrix"]).items():
        assert result[name] == pytest.approx(value)
    if "folder" not in result:  # of other people's images, void pixels count for nothing
        pixels = np.sum(result["confusion_matrix"])
        assert pixels == result["images"] * result["input_size"] ** 2


def test_result_is_of_the_whole_official_test_split(result):
    if "folder" in result:
        pytest.skip("other people's images")
    assert result["images"] == 3669
    assert result["data_source"].startswith("Oxford-IIIT Pet")
    assert result["data_source"].endswith("official test split (3,669)")


def test_files_that_it_names_exist():
    named = re.findall(
        r"`((?:helpers|notebooks|experiments|tools|tests)/[\w./]*|[\w-]+\.(?:txt|png))`", TEXT
    )
    linked = [target for target in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in target]
    assert len(named) > 5 and len(linked) > 1
    for name in named + linked:
        assert (ROOT / name).exists(), name


def test_commands_that_it_names_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"(?:^|`)make ([\w-]+)", TEXT, re.MULTILINE)
    assert len(targets) >= 4
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for module in re.findall(r"python3? -m ((?:helpers|experiments|tools)\.[\w.]+)", TEXT):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def compared(name, seeds, budgets):
    """A result of experiments.comparison, made up, of two variants."""
    scores = dict.fromkeys(readme.SCORE_NAMES, 0.7)
    found = {"value": 0.01, "interval": [0.005, 0.02], "by_seed": [0.01], "verdict": "better"}
    entry = {"by_seed": dict.fromkeys(seeds, scores), "mean": scores, "step_seconds": 90.0}
    entry["stages"] = [{"epochs": 1}, {"epochs": 2}]
    other = {**entry, "difference": dict.fromkeys(readme.SCORE_NAMES, found)}
    cost = {"parameters": 1_000_000, "multiply_adds": 10**9, "time_ratio": 1.0}
    return {
        "comparison": name,
        "budgets": {budget: {"a": entry, "b": other} for budget in budgets},
        "variants": {"a": cost, "b": cost, "not trained yet": {**cost, "time_ratio": None}},
        "baselines": ["a"],
        "seeds": [1, 2, 3],
        "complete": len(seeds) == 3,
        "protocol": "The protocol.",
        "command": f"python -m experiments.{name}",
        **{"data_source": "somewhere", "input_size": 128, "trained_on": ["CPU"]},
        "versions": {"tensorflow": "2", "keras": "3"},
    }


@pytest.mark.parametrize("seeds, said", [("1", "1 seed of 3, not finished"), ("123", "3 seeds;")])
def test_comparisons_are_told_with_their_seeds(seeds, said):
    of_losses = compared("losses", seeds, ["epochs"])
    text = readme.variants(of_losses)
    assert said in text and "+0.010 (+0.005 to +0.020): better" in text
    assert "Parameters" not in text and "![" not in text  # of one network
    of_networks = compared("architectures", seeds, ["epochs", "time"])
    del of_networks["budgets"]["epochs"]["b"]
    assert "Trained for 3 epochs: that shows how fast" in text
    text = readme.variants(of_networks)
    assert "| b | too slow | **0.700** |" in text
    assert "Trained for 3 epochs or, in the same time, the 90 s of them with a: " in text
    readme.variants_figure(of_networks)
    assert "### Losses compared" in readme.filled(
        TEXT, [*readme.load_results(ROOT / readme.RESULTS), of_losses]
    )
