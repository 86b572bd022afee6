"""Videos: each frame once and in its colours, all of a result or none of it."""

import cv2
import numpy as np
import PIL.Image
import pytest

from helpers import clips

COLORS = np.random.default_rng(0).integers(20, 236, (9, 3)).astype(np.uint8)


@pytest.fixture
def video(tmp_path):
    """Nine frames of 64 x 48 pixels, each of one colour, at 12 a second."""
    path = tmp_path / "cat.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12, (64, 48))
    for color in COLORS:
        writer.write(np.full((48, 64, 3), color[::-1], np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize("suffix", clips.CODECS)
def test_a_video_of_every_frame(video, tmp_path, suffix, capfd):
    seen, target = [], tmp_path / "new" / f"negative{suffix}"
    done = clips.convert(video, target, lambda frame: 255 - frame, lambda *n: seen.append(n))
    assert done == (9, 9) and seen == [(n, 9) for n in range(1, 10)]
    written = cv2.VideoCapture(str(target))
    assert written.get(cv2.CAP_PROP_FPS) == pytest.approx(12)
    for color in COLORS:
        frame = written.read()[1][..., ::-1]
        assert frame.shape == (48, 64, 3)
        assert np.abs(frame.mean(axis=(0, 1)) - (255 - color)).max() < 8
    assert not written.read()[0]
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert not capfd.readouterr().err


def test_pictures_of_any_kind(video, tmp_path):
    def cut(frame):
        return np.dstack([frame, np.full(frame.shape[:2], 9, np.uint8)])

    def mask(frame):
        picture = PIL.Image.fromarray(np.full(frame.shape[:2], 1, np.uint8))
        picture.putpalette([0, 0, 0, 250, 9, 9])
        return picture

    # a dot in a folder's name, as some telephones have in those of their videos
    for draw, mode, name in ((cut, "RGBA", "cut"), (mask, "P", "2024.TS_mask")):
        clips.convert(video, tmp_path / name, draw)
        pictures = sorted((tmp_path / name).iterdir())
        assert [path.name for path in pictures] == [f"{n:06}.png" for n in range(1, 10)]
        assert {PIL.Image.open(path).mode for path in pictures} == {mode}


def test_what_is_no_video_is_one_sentence(video, tmp_path, capfd):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(9999))
    before = {*tmp_path.iterdir()}
    for name, error, words in (
        ("none.mp4", FileNotFoundError, "there is no such file"),
        ("empty.mp4", ValueError, "is empty"),
        ("noise.mp4", ValueError, "is not a video that can be read"),
    ):
        with pytest.raises(error, match=words):
            clips.convert(tmp_path / name, tmp_path / "out.mp4", lambda frame: frame)
    with pytest.raises(ValueError, match="is there: move it away"):
        clips.convert(video, tmp_path / "noise.mp4", lambda frame: frame)
    with pytest.raises(ValueError, match="expected a video that ends in .mp4, .avi"):
        clips.convert(video, tmp_path / "out.mov", lambda frame: frame)
    assert {*tmp_path.iterdir()} == before and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["out.mp4", "out"])
def test_a_failure_midway_leaves_nothing(video, tmp_path, name):
    def draw(frame, calls=[]):  # noqa: B006 - it counts
        calls.append(frame)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return frame

    with pytest.raises(KeyboardInterrupt):
        clips.convert(video, tmp_path / name, draw)
    assert [*tmp_path.iterdir()] == [video]


def test_what_is_left_of_a_video_that_was_cut_off(video, tmp_path):
    content = video.read_bytes()
    video.write_bytes(content[: len(content) * 8 // 10])
    done = clips.convert(video, tmp_path / "out", lambda frame: frame)
    assert 0 < done.frames < done.announced == 9
    assert len([*(tmp_path / "out").iterdir()]) == done.frames
