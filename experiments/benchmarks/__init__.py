"""Ours compared with its peers, each comparison in one run. Not part of the tests.

    pip install -r experiments/benchmarks/requirements.txt
    python -m experiments.benchmarks.time_to_accuracy
    python -m experiments.benchmarks.input_pipeline
    python -m experiments.benchmarks.training_step

and ours alone, as its work grows:

    python -m experiments.benchmarks.growth
    python -m experiments.benchmarks.many_photos

Each writes its JSON file to ``experiments/results``.
"""
