"""Trained weights as files: small, loaded by name, checked by their hash.

A file is in the safetensors format: numbers and names, no code. It says itself which network of
``helpers.models`` it is for, and of which labelling. Keras is loaded once it is needed: exported
networks, see ``helpers.exported``, do without.
"""

import functools
import hashlib
import inspect
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from helpers import exported, files, photos
from helpers.classes import PETS, Labelling

ROOT = Path(__file__).parents[1] / "experiments"
FOLDER, RESULTS = ROOT / "weights", ROOT / "results"
SUFFIX = ".safetensors"
# functions of helpers.models
BUILDERS = ("unet", "residual_unet", "mobilenetv2_unet", "encoder_unet")
SCALE = "/scale"


class Network(NamedTuple):
    """A trained network with what is needed to use it.

    - ``model``: gives logits of the labelling's classes, or one of the first against the second.
    - ``labelling``: classes.Labelling.
    - ``threshold``: with one logit: the probability above which a pixel is of the first class;
      None otherwise.
    - ``builder``: a name in ``BUILDERS``, the function of ``helpers.models`` that built it, and
      ``arguments``, a dict of JSON values, what it was given beside the input size and
      ``weights``. None of a .keras file and of an exported one.
    - ``view``: photos.View, how images come to it.
    - ``mirrored``, ``enlarged``: whether ``model`` looks at the mirror image, and at the enlarged
      one, too: see ``with_views``.
    - ``sha256``: of the file that it was read from; None of one that was just trained.
    """

    model: object
    labelling: Labelling
    threshold: float | None = None
    builder: str | None = None
    arguments: dict | None = None
    view: photos.View = photos.View()
    mirrored: bool = False
    enlarged: bool = False
    sha256: str | None = None


def save(network, path, bits=16):
    """Writes a trained network's weights, completely or not at all.

    Args:
        network: Network.
        path: of the file, ending in .safetensors.
        bits: 16 for float16. 8 for kernels of whole numbers from -127 to 127 with one scale for
            each place on the last axis, and float16 for the rest: half the file.

    Returns:
        dict: ``file``, its name; ``sha256`` of it; ``bits``.

    Raises:
        ValueError: a weight does not fit into float16.
        OSError: the file cannot be written.
    """
    tensors = {}
    for variable in network.model.weights:
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
    config = {
        "network": network.builder,
        "arguments": {"input_size": list(network.model.input_shape[1:3]), **network.arguments},
        "threshold": network.threshold,
        "labelling": network.labelling.to_json(),
        "view": network.view._asdict(),
        "mirrored": network.mirrored,
        "enlarged": network.enlarged,
    }
    content = safetensors.numpy.save(tensors, {"config": json.dumps(config)})
    files.write(path, content)
    return {"file": Path(path).name, "sha256": hashlib.sha256(content).hexdigest(), "bits": bits}


def load(path, sha256=None):
    """The network that a file is for, with its weights.

    Args:
        path: from ``save``.
        sha256: of the file, checked before anything is read from it; None: not checked.

    Returns:
        Network.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another hash, not a complete safetensors file, or one of another network.
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
        with safetensors.safe_open(path, "numpy") as file:
            config = json.loads(file.metadata()["config"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        build = _builder(config["network"], config["arguments"])
        # files from before a labelling was a value are of pets
        labelling = Labelling.from_json(config.get("labelling") or PETS.to_json())
        threshold = config["threshold"]
        views = {name: config.get(name, False) for name in ("mirrored", "enlarged")}
        view = photos.View(**config.get("view", {}))
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} does not hold weights of helpers.weights, or not all of them: {error}"
        ) from error
    try:
        model = build()
    except ValueError as error:
        raise ValueError(f"The network that {path} is for cannot be built: {error}") from error
    _assign(model, tensors, path)
    network = Network(model, labelling, threshold, config["network"], view=view, sha256=found)
    arguments = {name: v for name, v in config["arguments"].items() if name != "input_size"}
    network = network._replace(arguments=arguments)
    return with_views(network, **views)


def with_views(network, mirrored=False, enlarged=False):
    """The same network, which looks at each image more than once and takes the mean.

    Args:
        network: Network. Views that it has already stay.
        mirrored: also at the mirror image, see ``models.mirrored``.
        enlarged: also at the image enlarged by a quarter, see ``models.enlarged``; with
            ``mirrored``, at the mirror image enlarged as well.

    Returns:
        Network.

    Raises:
        ValueError: the network takes one size alone, and is to see images enlarged.
    """
    mirrored, enlarged = network.mirrored or mirrored, network.enlarged or enlarged
    if isinstance(network.model, exported.Model):
        makers = exported.Model
    else:
        from helpers import models as makers
    model = network.model
    if enlarged and not network.enlarged:
        model = makers.enlarged(model)
    if mirrored and not network.mirrored:
        model = makers.mirrored(model)
    return network._replace(model=model, mirrored=mirrored, enlarged=enlarged)


def at_size(network, size):
    """The same network for images of another size.

    Args:
        network: Network.
        size: int or (height, width), pixels.

    Returns:
        Network.

    Raises:
        ValueError: it cannot take that size.
    """
    size = photos.sides(size)
    if size == tuple(network.model.input_shape[1:3]):
        return network
    if isinstance(network.model, exported.Model):
        return network._replace(model=network.model.at_size(size))
    if network.builder is None:
        height, width = network.model.input_shape[1:3]
        raise ValueError(f"This checkpoint takes images of {height} x {width} pixels alone.")
    model = _builder(network.builder, {**network.arguments, "input_size": size})()
    model.set_weights(network.model.get_weights())
    plain = network._replace(model=model, mirrored=False, enlarged=False)
    return with_views(plain, network.mirrored, network.enlarged)


def _builder(name, arguments):
    """A function that builds a file's network; TypeError if that has no such arguments."""
    from helpers import models

    if name not in BUILDERS:
        raise ValueError(f"it names the network {name!r}")
    build = getattr(models, name)
    signature = inspect.signature(build)
    signature.bind(**arguments)
    if "weights" in arguments:
        raise ValueError("it names another file to read, under weights")
    own = {"weights": None} if "weights" in signature.parameters else {}
    return functools.partial(build, **arguments, **own)


def _assign(model, tensors, path):
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


def published(name):
    """The network behind a result in the README, as it was scored.

    Args:
        name: of a file under ``experiments/results`` and ``experiments/weights``, such as
            "mobilenetv2_unet_256".

    Returns:
        Network.

    Raises:
        ValueError: an unknown name, or a file that is not the one that was scored.
    """
    names = sorted(path.stem for path in FOLDER.glob("*" + SUFFIX))
    if name not in names:
        raise ValueError(f"There are no weights named {name!r}: expected {' or '.join(names)}.")
    result = json.loads((RESULTS / f"{name}.json").read_text())
    return load(FOLDER / f"{name}{SUFFIX}", result["weights"]["sha256"])


def open_network(source, threads=None):
    """A trained network, read without running code: published weights by their hash, numbers
    alone from a .safetensors file, a checkpoint in Keras's safe mode, an exported network.

    Args:
        source: the name of published weights, or a .safetensors, .keras, .onnx or .tflite file; of
            these the name alone where the file is in ``experiments/weights``.
        threads: that one pass of an exported network uses; None for one a core.

    Returns:
        Network.

    Raises:
        FileNotFoundError, ValueError: there is none, or it is not what its name says, or it holds
            code, or is for other classes.
        ImportError: what runs an exported network is not installed.
    """
    path = Path(source)
    if not path.suffix:
        return published(source)
    if path.suffix in exported.KINDS:
        beside = FOLDER / path.name
        path = beside if path.parent == Path() and not path.exists() and beside.exists() else path
        model, labelling, known = exported.load(path, threads)
        return Network(model, labelling, **known)
    if path.suffix == SUFFIX:
        return load(path)
    if path.suffix != ".keras":  # .h5, .pkl, .pt: not even opened
        raise ValueError(
            f"{path} is a {path.suffix} file, which may hold code: expected a {SUFFIX} file of "
            f"helpers.weights, a .keras checkpoint, an exported .onnx or .tflite file, or the "
            f"name of published weights."
        )
    model = _checkpoint(path)
    classes = model.output_shape[-1]
    if classes not in (1, len(PETS)):  # the file does not say which they are
        raise ValueError(
            f"{path} has {classes} classes: expected {len(PETS)} ({', '.join(PETS.names)}), or "
            f"one logit."
        )
    threshold = 0.5 if classes == 1 else None
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Network(model, PETS, threshold, sha256=sha256)


def _checkpoint(path):
    import keras

    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no complete Keras checkpoint: fetch or write it again.")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras's own: of many kinds
        if "safe_mode" in str(error):  # its advice is to switch that off
            raise ValueError(
                f"{path} holds code, such as a Lambda layer, which is not run: give a checkpoint "
                f"of layers alone, as helpers.models builds."
            ) from error
        why = str(error).splitlines()[0]
        raise ValueError(
            f"{path} is no complete Keras checkpoint ({why}): fetch or write it again."
        ) from error
