"""Videos frame by frame: whatever is drawn from each becomes a video, or pictures in a folder.

Read and written by OpenCV's FFmpeg. Sound is left out; a frame is in memory alone.
"""

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image

from helpers import files

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".3gp")
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}  # what is written
FRAME_RATES = (1, 240)  # of what a file says beyond, nothing is believed
USUAL_RATE = 25


class Converted(NamedTuple):
    """How many frames were converted, and how many the file says that it has: more, where it is
    cut off or damaged; 0 where it does not say."""

    frames: int
    announced: int


def convert(path, target, draw, progress=None):
    """Makes a video, or pictures, from a video; completely or not at all.

    Args:
        path: of the video. Frames come upright, as its rotation says.
        target: a .mp4 or .avi file; or, with another name, a folder for pictures:
            000001.png, 000002.png, ... Neither may be there.
        draw: function, frame (H, W, 3) uint8 RGB -> what is to be written: (H, W, 3) uint8 RGB
            for a video; for pictures also (H, W, 4), (H, W) or a PIL image. All of one size.
        progress: None, or function (frames done, frames announced), called after each.

    Returns:
        Converted.

    Raises:
        FileNotFoundError, ValueError: there is no video, it is empty, damaged or none, or the
            target is there or of another kind.
        OSError: the target cannot be written.
    """
    path, target = Path(path), Path(target)
    if target.suffix not in CODECS and target.suffix.lower() in SUFFIXES:
        raise ValueError(
            f"{target}: expected a video that ends in {', '.join(CODECS)}, or a folder."
        )
    if os.path.lexists(target):
        raise ValueError(f"{target} is there: move it away, or give another name.")
    log = cv2.utils.logging
    level = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        return _convert(path, target, draw, progress)
    finally:
        log.setLogLevel(level)


def _convert(path, target, draw, progress):
    video = _opened(path)
    try:
        files.check_writable(target)
        # Beside the target, so that what is complete needs but a new name.
        with tempfile.TemporaryDirectory(files.PARTIAL, ".", target.parent) as folder:
            partial = Path(folder, "complete" + target.suffix)
            rate = video.get(cv2.CAP_PROP_FPS)
            rate = rate if FRAME_RATES[0] <= rate <= FRAME_RATES[1] else USUAL_RATE
            sink = _Video(partial, rate) if target.suffix in CODECS else _Pictures(partial)
            announced, done = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))), 0
            try:
                while (read := video.read())[0]:
                    sink.write(draw(np.ascontiguousarray(read[1][..., ::-1])))
                    done += 1
                    if progress:
                        progress(done, announced)
            finally:
                sink.close()
            if not done:
                raise ValueError(_no_video(path))
            sink.check(done)
            os.replace(partial, target)
    finally:
        video.release()
    return Converted(done, announced)


class _Pictures:
    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.count = folder, 0

    def write(self, picture):
        self.count += 1
        if not isinstance(picture, PIL.Image.Image):
            picture = PIL.Image.fromarray(picture)
        picture.save(self.folder / f"{self.count:06}.png", compress_level=1)  # fast, a bit larger

    def close(self):
        pass

    def check(self, frames):
        pass


class _Video:
    def __init__(self, path, rate):
        self.path, self.rate, self.writer = path, rate, None

    def write(self, frame):
        if self.writer is None:
            codec = cv2.VideoWriter_fourcc(*CODECS[self.path.suffix])
            size = frame.shape[1::-1]
            self.writer = cv2.VideoWriter(str(self.path), cv2.CAP_FFMPEG, codec, self.rate, size)
        self.writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def close(self):
        if self.writer is not None:
            self.writer.release()

    def check(self, frames):
        """OpenCV says nothing of frames that it could not write."""
        video = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        written = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
        video.release()
        if abs(written - frames) > 1:  # some containers count by their length in seconds
            raise OSError(
                f"Only {written} of {frames} frames could be written: free some space, or write "
                f"another kind of video ({', '.join(CODECS)})."
            )


def _opened(path):
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty: copy or download it again.")
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not video.isOpened():
        raise ValueError(_no_video(path))
    return video


def _no_video(path):
    return (
        f"{path} is not a video that can be read, or is cut off: copy or download it again, or "
        f"save it as MP4."
    )
