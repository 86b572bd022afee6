"""What the notebooks share: data, augmentation, models, Dice, training, evaluation, figures."""
