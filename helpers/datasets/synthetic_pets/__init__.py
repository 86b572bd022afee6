"""Synthetic pets: a TFDS data set of drawings, for a run without a network."""

from helpers.datasets.synthetic_pets.builder import SyntheticPets

__all__ = ["SyntheticPets"]
