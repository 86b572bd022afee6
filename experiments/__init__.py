"""A command behind every number: the recipes, what they write, and the benchmarks."""

import helpers  # noqa: F401  comes before TensorFlow, whose log it quietens
