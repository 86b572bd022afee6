"""Ours beside its peers, each comparison in one run. Not part of the tests.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.time_to_accuracy
    python -m benchmarks.input_pipeline
    python -m benchmarks.training_step

The first writes its JSON file and chart to ``results/``, the others beside themselves.
"""
