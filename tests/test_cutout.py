"""Cut-outs: the right alpha, the foreground's own colours, at any size, or one clear error."""

import json
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from helpers import cutout, prediction, weights
from helpers.classes import PETS, VOID, Labelling
from helpers.prediction.__main__ import main
from tests.tiny import STREET

RESULT = Path(__file__).parents[1] / "experiments/results/cutouts.json"
ORANGE, BLUE = np.array([220, 120, 30]), np.array([20, 60, 160])

TWO = Labelling(("a", "b"), (ORANGE, BLUE))


def disk(size):
    """A photo (size, size, 3) of an orange disk with a soft rim on blue, its alpha, and
    probabilities (64, 64, 3) of inside, outside and rim."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    far = np.hypot(x, y)
    alpha = ((0.3 - far) / 0.04 + 0.5).clip(0, 1)
    photo = np.rint(alpha[..., None] * ORANGE + (1 - alpha[..., None]) * BLUE).astype(np.uint8)
    far = np.hypot(*(np.mgrid[:64, :64] / 64 - 0.5))
    ids = np.select([far < 0.26, far > 0.34], [0, 1], 2)
    return photo, alpha, np.eye(3, dtype=np.float32)[ids]


def test_classes_have_their_roles():
    assert cutout.roles(PETS) == (0, 1, VOID)
    assert cutout.roles(TWO, ["b"]) == (1, 0)
    assert cutout.roles(STREET, ["car", "tree"]) == (1, 0, 0, 1)
    with pytest.raises(ValueError, match="Name one or more of .*: road, car, tree, sky"):
        cutout.roles(STREET)
    with pytest.raises(ValueError, match="expected some, not all, of road, car"):
        cutout.roles(STREET, ["cat"])


@pytest.mark.parametrize("working", [10**6, 96 * 96])
def test_alpha_and_colours_are_those_of_the_composite(monkeypatch, working):
    monkeypatch.setattr(cutout, "WORKING", working)
    monkeypatch.setattr(cutout.photos, "STRIP", 7 * 192)  # rows that do not divide the height
    photo, alpha, probabilities = disk(192)
    two = probabilities[..., :2] + probabilities[..., 2:] / 2
    for given, parts in (
        (probabilities, cutout.roles(PETS)),
        (probabilities.argmax(-1), cutout.roles(PETS)),
        (two, cutout.roles(TWO, ["a"])),
        (two, cutout.roles(PETS)),  # one logit of the first against the second
    ):
        result = cutout.cut_out(photo, given, parts)
        assert result.shape == (192, 192, 4) and result.dtype == np.uint8
        assert np.abs(result[..., 3] / 255 - alpha).max() < 0.06
        assert np.abs(result[..., :3] - ORANGE)[alpha > 0.2].max() < 12  # no blue halo
        assert np.mean(result[alpha == 0] > 0) < 0.01


def test_nothing_and_all():
    photo = disk(40)[0]
    for front in (0.0, 1.0):
        result = cutout.cut_out(photo, np.full((8, 8, 2), [front, 1 - front]), (0, 1))
        assert (result[..., 3] == 255 * front).all()
        assert (result[..., :3] == photo * int(front)).all()
    unsure = cutout.cut_out(photo, np.full((8, 8, 2), 0.5), (0, 1))
    assert np.isfinite(unsure).all()


def test_a_new_background_is_a_colour_or_a_photo_that_fills(tmp_path):
    cut = np.zeros((4, 8, 4), np.uint8)
    cut[:, :4] = (*ORANGE, 255)
    cut[:, 4] = (*ORANGE, 51)
    on_blue = cutout.compose(cut, tuple(BLUE))
    assert (on_blue[:, :4] == ORANGE).all() and (on_blue[:, 5:] == BLUE).all()
    assert (on_blue[:, 4] == np.rint(0.2 * ORANGE + 0.8 * BLUE)).all()
    stripes = np.repeat(np.arange(12, dtype=np.uint8), 3).reshape(12, 1, 3).repeat(6, axis=1)
    filled = cutout.compose(np.zeros((4, 8, 4), np.uint8), stripes)[..., 0]
    assert filled[0, 0] == pytest.approx(5, abs=1) and filled[-1, -1] == pytest.approx(6, abs=1)

    assert cutout.open_background("#0a141E", prediction.read_photo) == (10, 20, 30)
    with pytest.raises(ValueError, match="neither a photo that is there nor a colour"):
        cutout.open_background(str(tmp_path / "beach.jpg"), prediction.read_photo)


class Orange:
    """A model of one logit, for what is more red than blue."""

    input_shape = (None, 48, 48, 3)

    def predict_on_batch(self, images):
        return (np.float32(images[..., :1]) - images[..., 2:]) / 20


def test_the_command_cuts_out_photos_and_clips(monkeypatch, tmp_path, capsys):
    network = weights.Network(Orange(), PETS, 0.5)
    monkeypatch.setattr(weights, "open_network", lambda source, threads: network)
    photo, alpha, _ = disk(96)
    PIL.Image.fromarray(photo).save(tmp_path / "disk.png")
    writer = cv2.VideoWriter(
        str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 9, (96, 96)
    )
    for _ in range(2):
        writer.write(photo[..., ::-1].copy())
    writer.release()

    def run(*options):
        given = [str(tmp_path / name) for name in ("disk.png", "clip.avi")]
        monkeypatch.setattr("sys.argv", ["prediction", *given, *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0, capsys.readouterr().err

    run("--cutout")
    for path in (tmp_path / "disk_cutout.png", tmp_path / "clip_cutout/000002.png"):
        found = np.asarray(PIL.Image.open(path))
        assert found.shape == (96, 96, 4) and np.abs(found[..., 3] / 255 - alpha).mean() < 0.01
    run("--background", "white", "--out", str(tmp_path / "white"))
    found = np.asarray(PIL.Image.open(tmp_path / "white/disk_cutout.png"))
    assert found.shape == (96, 96, 3) and (found[alpha == 0] > 250).mean() > 0.99
    run()
    assert (tmp_path / "clip_overlay.mp4").stat().st_size and (tmp_path / "disk_mask.png").exists()


def test_images_of_any_channels_are_cut_out(monkeypatch):
    photo, alpha, found = disk(96)
    monkeypatch.setattr(prediction, "probabilities", lambda network, photo: found)
    network = weights.Network(None, PETS)
    for channels in ([0], [0, 1, 2, 0, 1]):
        result = prediction.cut_out(network, photo[..., channels])
        assert result.shape == (96, 96, 4) and np.abs(result[..., 3] / 255 - alpha).mean() < 0.02
    with pytest.raises(ValueError, match="tells pet and background apart alone: name one"):
        one_logit = network._replace(threshold=0.5)
        prediction.cut_out(one_logit, photo, prediction.Cut(["border"]))


def test_what_a_cut_out_lies_on_is_known_again(tmp_path):
    wide, high = np.zeros((2, 4, 3), np.uint8), np.zeros((4, 2, 3), np.uint8)
    backgrounds = [None, (0, 0, 0), wide, high]
    origins = [
        prediction.origin_of(weights.Network(Orange(), PETS), tmp_path, prediction.Cut(None, one))
        for one in backgrounds
    ]
    assert len({*origins}) == 4
    assert prediction._digest(None) is None  # an address in memory would differ from run to run
    assert prediction._digest(wide) == prediction._digest(wide.copy())


def test_the_measured_cut_outs_are_twice_as_good_as_the_plain_mask():
    for found in json.loads(RESULT.read_text())["cutouts"].values():
        masks = [errors for name, errors in found.items() if name.startswith("mask")]
        for name in ("sad", "mse", "gradient", "colors"):
            assert 2 * found["cut-out"][name] < min(errors[name] for errors in masks)
