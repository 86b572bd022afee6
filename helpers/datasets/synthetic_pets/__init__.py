"""Synthetic pets: a TFDS data set of drawings, for a run without a network."""

from helpers.datasets.synthetic_pets.builder import SyntheticPets, draw_pet

__all__ = ["SyntheticPets", "draw_pet"]
