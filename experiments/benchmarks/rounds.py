"""Contestants measured in turns, each in a process of its own."""

import json
import os
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
            runs[name].append(run(module, [name]))
            print(f"round {number} of {rounds}, {name}: {runs[name][-1]}", flush=True)
    return {
        name: {key: statistics.median(run[key] for run in values) for key in values[0]}
        for name, values in runs.items()
    }


def run(module, arguments, variables=None):
    """What ``python -m module *arguments`` prints last, a line of JSON.

    Args:
        variables: dict of str, of the environment, beside those that are set.

    Raises:
        RuntimeError: it failed; the message holds what it printed.
    """
    words = [str(argument) for argument in arguments]
    environment = {**os.environ, **(variables or {})}
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
