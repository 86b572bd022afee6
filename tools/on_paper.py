"""What larger machines mean for the recipe of U-Net on MobileNetV2: arithmetic with what
``experiments.on_paper`` holds and with what the benchmarks measured."""

import math

PASSES = 3  # a training step's cost in forward passes: the backward pass costs about two
MACHINES = (  # name, GPU, how many, link
    ("T4", "T4", 1, None),
    ("A100", "A100", 1, None),
    ("8 A100, one host", "A100", 8, "NVLink"),
    ("1,000 workers with a T4", "T4", 1000, "10 Gbit/s Ethernet"),
    ("1,000 workers with an A100", "A100", 1000, "10 Gbit/s Ethernet"),
)


def described(result, step, reading, export):
    """The section of the README.

    Args:
        result: dict, as ``experiments.on_paper`` writes it.
        step, reading: dicts of the benchmarks ``training_step`` and ``input_pipeline``.
        export: dict, one entry of ``experiments.export --record``.

    Returns:
        Rows of a table, lists of str; and a list of paragraphs.
    """
    rates = {name: _rate(result, gpu) for name, gpu in result["gpus"].items()}
    core = reading["contestants"]["ours"]["later_images_per_s"] / _cores(reading)
    batch, size = result["batch_size"], result["input_size"]
    head = [f"Training, {size} px", "Network, each", f"Step of {batch} each", "All-reduce a step"]
    head += ["Cores that feed all", "What limits"]
    rows = [head, ["---"] * len(head), _measured(step, core, batch)]
    for name, gpu, count, link in MACHINES:
        gb_per_s = result["links"][link]["gb_per_s"] if link else math.inf
        rows.append(_row(name, rates[gpu], count, ring(result, count) / gb_per_s, core, batch))
    images = int(reading["data_source"].rsplit("(")[-1].rstrip(")").replace(",", ""))
    return rows, [
        _sources(result, core, step["command"], reading["command"]),
        _scale(images, batch),
        _million(rates, export),
    ]


def ring(result, count):
    """Megabytes that each of so many devices sends a step, in a ring all-reduce of float32."""
    return 2 * (count - 1) / count * 4 * result["gradients"] / 1e6


def _rate(result, gpu):
    """Images a second of a training step, from what is stated of another network's forward pass,
    by multiply-adds."""
    stated = gpu["images"] / gpu["ms"] * 1e3
    return stated * result["stated_multiply_adds"] / result["multiply_adds"] / PASSES


def _measured(step, core, batch):
    rate = step["contestants"]["ours, light decoder, whole"]["images_per_s"]
    row = [f"{_cores(step)} CPU cores, measured", f"{rate:,.0f} images/s"]
    return [*row, f"{1e3 * batch / rate:,.0f} ms", "none", f"{rate / core:.2f}", "compute"]


def _row(name, rate, count, reduce_ms, core, batch):
    cores, step_ms = math.ceil(count * rate / core), 1e3 * batch / rate
    enough = f"compute with {cores:,} core{'s' * (cores > 1)} or more, else input"
    return [
        name,
        f"{rate:,.0f} images/s",
        f"{step_ms:.1f} ms",
        f"{reduce_ms:.2f} ms" if count > 1 else "none",
        f"{cores:,}",
        "all-reduce" if reduce_ms > step_ms else enough,
    ]


def _sources(result, core, *commands):
    stated = [
        f"{name}, {gpu['images']} images in {gpu['ms']:g} ms ([{gpu['how']}]({gpu['source']}))"
        for name, gpu in result["gpus"].items()
    ]
    links = [
        f"{name} {link['gb_per_s']:g} GB/s"
        + f" ([{link['how']}]({link['source']}))" * bool(link["source"])
        for name, link in result["links"].items()
    ]
    ours, theirs = (_giga(result[key]) for key in ("multiply_adds", "stated_multiply_adds"))
    return (
        f"Only the first row and the {core:,.0f} images/s that one core reads from the cache and "
        f"augments are measured (`{'`, `'.join(commands)}`). The others are estimates: what is "
        f"stated of a forward pass of MobileNetV2 at 224 px, {theirs} multiply-adds, by ours at "
        f"{result['input_size']} px, {ours}, and by {PASSES}, as a backward pass costs about two. "
        f"Stated: {'; '.join(stated)}. A ring all-reduce sends 2(n - 1)/n of "
        f"{4 * result['gradients'] / 1e6:.1f} MB, the gradients in float32, here by "
        f"{' or '.join(links)}; that it can overlap the backward pass is left out."
    )


def _scale(images, batch):
    steps = images / batch
    return (
        f"**Training gains from a few devices, not from many.** An epoch of these recipes has "
        f"{images:,} images, {steps:.0f} steps of {batch}: {steps / 8:.0f} steps on 8 devices, "
        f"and on 1,000 workers one step would be {1000 / steps:.0f} epochs. A thousand workers "
        f"are for prediction, where none waits for another, or for more images."
    )


def _million(rates, export):
    cores = _cores(export)
    hours = 1e6 / export["photos_per_s"] * cores / 3600
    trained = [f"{1e6 / rate / 60:.0f} minutes on one {gpu}" for gpu, rate in rates.items()]
    return (
        f"**A million photos** take {hours:.1f} core-hours to predict at 256 px, masks and "
        f"overlays written, at the {export['photos_per_s']:.0f} photos/s that {cores} cores were "
        f"measured at (ONNX float16, *Without TensorFlow*): {3.6 * hours:.0f} s on 1,000 workers "
        f"of one core, their start not counted. An epoch of training on them takes "
        f"{' or '.join(trained)}, by the estimate above. The cost is these hours times the price "
        f"of a core-hour or GPU-hour where you rent; no price is printed here, as it would soon "
        f"be out of date."
    )


def _giga(number):
    return f"{number / 1e9:.2f} G"


def _cores(result):
    if "cores" not in result["device"]:
        raise ValueError(
            f"{result['command']} was run on {result['device']}: this page is of CPUs, run it "
            f"with CUDA_VISIBLE_DEVICES=-1."
        )
    return int(result["device"].split(", ")[1].split()[0])
