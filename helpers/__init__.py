"""What the notebooks share: data, augmentation, models, Dice, training, evaluation, figures."""

CLASS_NAMES = ("pet", "background", "border")  # class ids 0, 1 and 2
