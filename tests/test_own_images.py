"""One's own images: from two folders to a network, a report and a page, by one command."""

import io
import json
import re
import sys

import numpy as np
import PIL.Image
import pytest

from experiments import outcome, own_images, recipe
from helpers import prediction, tiles, weights
from helpers.classes import VOID, Labelling
from helpers.datasets import synthetic_cells

COUNT = 9


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    synthetic_cells.write_folder(folder, COUNT)
    return folder


def command(cells, *options):
    """What the command line says, as the command reads it."""
    folders = [str(cells / "images"), str(cells / "masks")]
    return own_images._parser().parse_args([*folders, *map(str, options)])


@pytest.fixture
def untrained(monkeypatch):
    """Stands in for recipe.train, which takes most of the time."""

    def train(build, dataset, stages, run, loss, augmentation):
        dice = [0.5] * sum(stage.epochs for stage in stages)
        history = {"loss": dice, "val_loss": dice, "mean_dice": dice, "val_mean_dice": dice}
        return build(stages[-1].size), {**history, "seconds": [1]}

    monkeypatch.setattr(recipe, "train", train)


SMALL = ("--network", "unet", "--size", 64, 64, "--epochs", 1)


def test_two_folders_become_a_network_a_report_and_a_page(cells, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in cells.rglob("*")}
    report = own_images.run(command(cells, "--out", tmp_path / "out", *SMALL))
    assert json.loads((tmp_path / "out/report.json").read_text()) == json.loads(json.dumps(report))
    assert report["images"] == 1 and len(report["iou"]) == len(synthetic_cells.COLORS)
    assert report["objects"]["true"]["cell"]["count"] > 0
    assert report["command"] == (
        "python -m experiments.own_images images masks --network unet --size 64 64 --epochs 1"
    )
    page = (tmp_path / "out/report.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") == 6 and "nucleus" in page
    assert PIL.Image.open(tmp_path / "out/predictions.png").width > 500
    printed = capsys.readouterr().out
    assert "#602078" in printed and "Settings: unet at 64 x 64 pixels" in printed
    assert {path: path.stat().st_mtime_ns for path in cells.rglob("*")} == before

    network = weights.load(tmp_path / "out/weights.safetensors", report["weights"][0]["sha256"])
    assert network.labelling.names == tuple(synthetic_cells.COLORS)
    assert network.labelling.colors == tuple(synthetic_cells.COLORS.values())
    photo = prediction.read_photo(cells / "images/cells_000.jpg")
    assert prediction.predict_photo(network, photo).shape == photo.shape[:2]


def test_a_dry_run_looks_and_writes_nothing(cells, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert own_images.run(command(cells, "--dry-run")) is None
    printed = capsys.readouterr().out
    assert "9 images with masks, 192 x 256 pixels" in printed
    assert "6 to train, 2 to validate, 1 to test" in printed
    assert "mobilenetv2_unet at 192 x 256 pixels" in printed
    assert not list(tmp_path.iterdir())


def test_with_folds_each_image_is_scored_once(cells, tmp_path, untrained):
    report = own_images.run(command(cells, "--out", tmp_path, "--folds", 3, *SMALL))
    assert report["images"] == COUNT and len(report["test_mean_iou"]) == 3
    assert {name for name, _ in report["worst_images"]} == {
        f"cells_{number:03d}.jpg" for number in range(COUNT)
    }
    assert [file["file"] for file in report["weights"]] == [
        f"weights_fold_{number}.safetensors" for number in (1, 2, 3)
    ]


def test_with_tiles_images_are_scored_at_their_own_size(cells, tmp_path, untrained, capsys):
    report = own_images.run(
        command(cells, "--out", tmp_path, "--tile", 64, "--network", "unet", "--epochs", 1)
    )
    matrix = np.array(report["confusion_matrix"])
    assert matrix.sum() == np.prod(synthetic_cells.SIZE) and report["images"] == 1
    assert "in tiles" in capsys.readouterr().out
    assert len(report["worst_images"]) == 1  # of the image, not of its tiles
    network = weights.load(tmp_path / "weights.safetensors")
    photo = prediction.read_photo(cells / "images/cells_000.jpg")
    assert network.view.overlap == 16
    assert np.array_equal(
        prediction.predict_photo(network, photo), tiles.predict(network, photo, 16)
    )


def test_other_channels_and_aspect_ratios(cells, tmp_path, untrained, capsys):
    (tmp_path / "images").mkdir()
    for path in sorted((cells / "images").iterdir()):
        pixels = np.asarray(PIL.Image.open(path))
        np.save(tmp_path / f"images/{path.stem}.npy", np.dstack([pixels, pixels[..., :2]]))
    options = own_images._parser().parse_args(
        [str(tmp_path / "images"), str(cells / "masks"), "--out", str(tmp_path / "out")]
        + "--bands 0 1 2 3 --fit letterbox --mirror --network unet --size 64 64 --epochs 1".split()
    )
    report = own_images.run(options)
    assert report["settings"]["channels"] == 4
    assert "keep their aspect ratio" in capsys.readouterr().out
    own_size = np.prod(synthetic_cells.SIZE)  # the margin counts for nothing
    share = np.sum(report["confusion_matrix"]) / 64**2
    assert share == pytest.approx(192 / 256, abs=0.02) and report["images"] == 1
    areas = [report["objects"]["true"][name] for name in synthetic_cells.COLORS]
    assert sum(one["count"] * one["mean_area"] for one in areas) == pytest.approx(own_size)
    network = weights.load(tmp_path / "out/weights.safetensors")
    assert network.model.input_shape == (None, 64, 64, 4) and network.mirrored
    contents, seen = prediction.results(network, tmp_path / "images/cells_000.npy", tmp_path)
    assert seen.shape == synthetic_cells.SIZE
    assert PIL.Image.open(io.BytesIO(contents[tmp_path / "cells_000_overlay.png"])).mode == "RGB"


def test_the_loss_that_is_best_on_validation_counts(cells, tmp_path, untrained, monkeypatch):
    scores = iter([0.2, 0.6, 0.4])
    matrices = ([[[score, 1 - score], [1 - score, score]]] for score in scores)
    monkeypatch.setattr(recipe, "evaluate", lambda *_: np.array(next(matrices)))
    losses = ("cross_entropy_dice", "focal", "tversky")
    report = own_images.run(command(cells, "--out", tmp_path, *SMALL, "--loss", *losses))
    (validation,) = report["validation"]
    found = {name: scores["mean_iou"] for name, scores in validation.items()}
    assert list(found) == list(losses) and max(found, key=found.get) == "focal"


@pytest.mark.parametrize("name", own_images.LOSSES)
def test_every_loss_ignores_void(name):
    labelling = Labelling(("a", "b"), ((0, 0, 0), (9, 9, 9)), void=VOID)
    loss = own_images.make_loss(name, labelling, [0.9, 0.1])
    logits = np.random.default_rng(0).normal(size=(1, 8, 8, 2)).astype(np.float32)
    truth = (logits[..., :1] > 0).astype(np.uint8)
    truth[:, :4] = VOID
    value = float(loss(truth, logits))
    logits[:, :4] = 50
    assert np.isfinite(value) and float(loss(truth, logits)) == pytest.approx(value)


@pytest.mark.parametrize(
    "sizes, shares, train, validation, expected",
    [
        ([(360, 480)] * 3, [0.3, 0.3, 0.38, 0.01, 0.01], 367, 101, ((352, 480), 33, 8, True)),
        ([(3000, 4000)], [0.5, 0.5], 20, 5, ((352, 480), 150, 4, False)),
        ([(512, 512), (500, 500)], [0.3, 0.7], 5000, 900, ((416, 416), 6, 8, True)),
        ([(24, 40)], [0.3, 0.7], 100, 20, ((64, 64), 120, 8, True)),
    ],
)
def test_settings_follow_from_the_data(cells, sizes, shares, train, validation, expected):
    plan = own_images.make_plan(sizes, shares, train, validation, command(cells, "--dry-run"))
    first, late = plan.stages
    assert (first.size, first.epochs + late.epochs, late.batch_size, plan.keep_best) == expected
    assert plan.losses == ("class_weights" if min(shares) < 0.02 else "cross_entropy_dice",)
    assert f"{expected[1]} epochs of {train} examples" in plan.words


@pytest.mark.parametrize(
    "matrix, dice, expected",
    [
        ([[80, 0, 0], [15, 0, 0], [5, 0, 0]], (0.5, 0.5), "Nothing was learnt: .* for sky.*masks"),
        ([[70, 10, 0], [10, 5, 0], [0, 5, 0]], (0.5, 0.5), "No better than .* sky.* 80.0 %"),
        ([[79, 1, 0], [1, 14, 0], [0, 5, 0]], (0.6, 0.5), "Never predicted: tree"),
        ([[80, 0, 0], [0, 15, 0], [0, 0, 5]], (0.9, 0.6), "Overfits with focal: .* 0.90 in"),
    ],
)
def test_what_went_wrong_is_said(matrix, dice, expected):
    result = {"confusion_matrix": matrix, "pixel_accuracy": np.trace(matrix) / np.sum(matrix)}
    history = {"mean_dice": [dice[0]], "val_mean_dice": [dice[1]]}
    (sentence,) = outcome.diagnosis(result, ("sky", "car", "tree"), {"focal": history})
    assert re.match(expected, sentence)


def test_nothing_is_said_of_a_good_network():
    result = {"confusion_matrix": [[80, 1], [1, 18]], "pixel_accuracy": 0.98}
    assert outcome.diagnosis(result, ("sky", "car"), {}) == []


@pytest.mark.parametrize(
    "options, expected",
    [
        ((), "give --out, or --dry-run"),
        (("--dry-run", "--epochs", "0"), "--epochs 0: expected 1 or more"),
        (("--out", "{images}/runs"), "lies in .*images: write to another folder"),
        (("--out", "{images}/../out", "--classes", "a=1, b=1"), "id 1 twice"),
    ],
)
def test_what_is_wrong_is_one_sentence(cells, monkeypatch, options, expected):
    options = [option.format(images=cells / "images") for option in options]
    arguments = ["own_images", str(cells / "images"), str(cells / "masks"), *options]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match=expected) as stopped:
        own_images.main()
    assert "\n" not in str(stopped.value)
