"""Contestants measured in turns, each in a process of its own."""

import json
import statistics
import subprocess
import sys


def measure(module, contestants, rounds):
    """Runs ``python -m module contestant`` for each contestant, round by round.

    A process of its own keeps one framework's threads and memory out of another's numbers; turns
    let a noisy machine disturb all of them alike.

    Args:
        module: str, whose main prints one line of JSON last: a dict of numbers.
        contestants: list of str.
        rounds: int.

    Returns:
        dict: contestant -> the dict, each number the median of the rounds.

    Raises:
        RuntimeError: a contestant failed; the message holds what it printed.
    """
    runs = {name: [] for name in contestants}
    for number in range(1, rounds + 1):
        for name in contestants:
            done = subprocess.run(
                [sys.executable, "-m", module, name], capture_output=True, text=True
            )
            if done.returncode:
                raise RuntimeError(f"{module} {name} failed:\n{done.stderr[-2000:]}")
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"round {number} of {rounds}, {name}: {runs[name][-1]}", flush=True)
    return {
        name: {key: statistics.median(run[key] for run in values) for key in values[0]}
        for name, values in runs.items()
    }
