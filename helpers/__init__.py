"""The parts that the notebooks import: data, augmentation, models, Dice, training, evaluation,
prediction, figures."""

import importlib.abc
import importlib.util
import os
import re
import sys
import tempfile

# TensorFlow's start-up log is about drivers and CPU flags; it hides what matters to a reader.
# The variable is read when TensorFlow is first imported, and this file always comes before that.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# So is what OpenCV's FFmpeg prints about a video that we refuse in a sentence.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
_START_UP = re.compile(rb"[IW]\d{4} |WARNING: All log messages before |To enable the following")


class _QuietTensorFlow(importlib.abc.MetaPathFinder):
    """Holds back the lines that TensorFlow's libraries print while they are loaded, before they
    know of the variable. What is not of the start-up is passed on."""

    def find_spec(self, name, path, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            load = spec.loader.exec_module
            spec.loader.exec_module = lambda module: _quietly(load, module)
        return spec


def _quietly(load, module):
    try:
        stderr = os.dup(2)
    except OSError:  # closed: nothing would be seen
        return load(module)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            load(module)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            log.seek(0)
            for line in log:
                if not _START_UP.match(line):
                    sys.stderr.write(line.decode(errors="replace"))


if "tensorflow" not in sys.modules:
    sys.meta_path.insert(0, _QuietTensorFlow())
