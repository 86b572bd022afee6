"""The parts that the notebooks import: data, augmentation, models, Dice, training, evaluation,
prediction, figures."""

import os

# TensorFlow's start-up log is about drivers and CPU flags; it hides what matters to a reader.
# The variable is read when TensorFlow is first imported, and this file always comes before that.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
