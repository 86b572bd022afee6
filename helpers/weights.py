"""Trained weights as files: small, loaded by name, checked by their hash.

A file is in the safetensors format: numbers and names, no code. It says itself which network of
``helpers.models`` it is for.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from helpers import files, models

ROOT = Path(__file__).parents[1]
FOLDER, RESULTS = ROOT / "weights", ROOT / "results"
SUFFIX = ".safetensors"
NETWORKS = {
    "unet": models.unet,
    # weights=None: a file must not name another one that is to be read.
    "mobilenetv2_unet": lambda **arguments: models.mobilenetv2_unet(**arguments, weights=None),
}
SCALE = "/scale"


def save(model, path, network, arguments, *, bits=16, threshold=None):
    """Writes a trained network's weights, whole or not at all.

    Args:
        model: built by ``helpers.models``.
        path: of the file, ending in .safetensors.
        network: "unet" or "mobilenetv2_unet", the function that built it.
        arguments: dict, that function's arguments, JSON.
        bits: 16 for float16. 8 for kernels of whole numbers from -127 to 127 with one scale for
            each place on the last axis, and float16 for the rest: half the file.
        threshold: with one logit: the probability above which a pixel is pet.

    Returns:
        dict: ``file``, its name; ``sha256`` of it; ``bits``.

    Raises:
        ValueError: a weight does not fit into float16.
        OSError: the file cannot be written.
    """
    tensors = {}
    for variable in model.weights:
        value = np.asarray(variable, np.float32)
        if not np.abs(value).max() <= np.finfo(np.float16).max:  # NaN too
            raise ValueError(f"{variable.path} is not finite, or does not fit into float16.")
        if bits == 8 and value.ndim > 1:
            scale = np.abs(value).max(axis=tuple(range(value.ndim - 1))) / 127
            scale = np.maximum(scale, 1e-7).astype(np.float32)
            tensors[variable.path] = np.round(value / scale).astype(np.int8)
            tensors[variable.path + SCALE] = scale
            continue
        tensors[variable.path] = value.astype(np.float16)
    config = {"network": network, "arguments": arguments, "threshold": threshold}
    content = safetensors.numpy.save(tensors, {"config": json.dumps(config)})
    files.write(path, content)
    return {"file": Path(path).name, "sha256": hashlib.sha256(content).hexdigest(), "bits": bits}


def load(path, sha256=None):
    """The network that a file is for, with its weights.

    Args:
        path: from ``save``.
        sha256: of the file, checked before anything is read from it; None: not checked.

    Returns:
        model, and the threshold (None with three classes).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another hash, not a whole safetensors file, or one of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise ValueError(
            f"{path} is not the published file: its SHA-256 is {found[:12]}..., expected "
            f"{sha256[:12]}.... It may have been cut off: fetch it again."
        )
    try:
        tensors = safetensors.numpy.load(content)
        config = json.loads(_metadata(content)["config"])
        build, arguments = NETWORKS[config["network"]], dict(config["arguments"])
        threshold = config["threshold"]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} does not hold weights of helpers.weights, or not all of them: {error}"
        ) from error
    try:
        model = build(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The network that {path} is for cannot be built: {error}") from error
    known = {variable.path: variable for variable in model.weights}
    stored = {name for name in tensors if not name.endswith(SCALE)}
    if stored != set(known):
        odd = sorted(stored ^ set(known))
        raise ValueError(f"{path} is of another network: {odd[0]} is only in one of the two.")
    for name, variable in known.items():
        value = tensors[name].astype(np.float32) * tensors.get(name + SCALE, np.float32(1))
        if value.shape != tuple(variable.shape):
            raise ValueError(
                f"{path} is of another network: {name} has the shape {value.shape}, the network's "
                f"{tuple(variable.shape)}."
            )
        variable.assign(value)
    return model, threshold


def published(name):
    """The network behind a result in the README, as it was scored.

    Args:
        name: of a file under ``results/`` and ``weights/``, such as "mobilenetv2_unet_256".

    Returns:
        As ``load``.

    Raises:
        ValueError: an unknown name, or a file that is not the one that was scored.
    """
    names = sorted(path.stem for path in FOLDER.glob("*" + SUFFIX))
    if name not in names:
        raise ValueError(f"There are no weights named {name!r}: expected {' or '.join(names)}.")
    result = json.loads((RESULTS / f"{name}.json").read_text())
    return load(FOLDER / f"{name}{SUFFIX}", result["weights"]["sha256"])


def _metadata(content):
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"]
