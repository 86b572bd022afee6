"""Upkeep of the repository."""

import helpers  # noqa: F401  comes before TensorFlow, whose log it quietens
