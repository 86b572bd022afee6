"""What the notebooks share: data, augmentation, models, Dice, training, evaluation, figures."""

import os

# TensorFlow's start-up log is about drivers and CPU flags; it hides what matters to a reader.
# The variable is read when TensorFlow is first imported, and this file always comes before that.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CLASS_NAMES = ("pet", "background", "border")  # class ids 0, 1 and 2
