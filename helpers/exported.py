"""Networks as ``experiments.export`` writes them: run by ONNX Runtime or by LiteRT, without
TensorFlow and Keras.

A file says itself, as JSON, which classes it knows, what its input is and which weights it was
made from: an ONNX file in a property of its metadata, a LiteRT file in a zip archive at its end,
where TensorFlow Lite's labels are as well.
"""

import hashlib
import io
import json
import os
import threading
import zipfile
from pathlib import Path

import numpy as np

from helpers import photos
from helpers.classes import Labelling

VERSION = 1  # of what the JSON holds
KEY = "unet_pets"  # the property's name, and the archive's member with .json behind it
KINDS = {".onnx": ("ONNX", "onnxruntime"), ".tflite": ("LiteRT", "ai-edge-litert")}


class Model:
    """An exported network in the place of a Keras model: images in, logits out.

    - ``input_shape``: (None, height, width, channels), as of a Keras model.
    - ``flexible``: whether ``at_size`` gives it for images of another size.
    """

    def __init__(self, run, input_shape, flexible=False):
        self._run, self.input_shape, self.flexible = run, input_shape, flexible

    def predict_on_batch(self, images):
        """Logits (B, H, W, C) float32 for raw images (B, H, W, channels), 0..255; one image after
        the other, which a CPU is no slower for."""
        images = np.asarray(images, np.float32)
        return np.concatenate([self._run(images[k : k + 1]) for k in range(len(images))])

    def at_size(self, size):
        """The same network for images of (height, width) pixels.

        Raises:
            ValueError: it takes another size alone, or a side does not divide by ``photos.STEP``.
        """
        shape = (None, *size, self.input_shape[-1])
        if shape != self.input_shape and not self.flexible:
            height, width = self.input_shape[1:3]
            raise ValueError(
                f"This exported network takes {height} x {width} pixels alone, not {size[0]} x "
                f"{size[1]}: export it with --flexible, or give its .safetensors file."
            )
        if any(side % photos.STEP for side in size):
            raise ValueError(
                f"The network cannot take {size[0]} x {size[1]} pixels: expected multiples of "
                f"{photos.STEP}."
            )
        return Model(self._run, shape, self.flexible)

    def mirrored(self):
        """The same network as ``models.mirrored`` would have it."""

        def twice(image):
            return (self._run(image) + self._run(image[:, :, ::-1])[:, :, ::-1]) / 2

        return Model(twice, self.input_shape, self.flexible)

    def enlarged(self):
        """The same network as ``models.enlarged`` would have it.

        Raises:
            ValueError: it is not flexible.
        """
        size = self.input_shape[1:3]
        self.at_size(photos.enlarged_size(size))  # raises where it cannot

        def twice(image):  # of any size, as the network
            size = image.shape[1:3]
            wide = self._run(_resized(image, photos.enlarged_size(size)))
            return (self._run(image) + _resized(wide, size)) / 2

        return Model(twice, self.input_shape, self.flexible)


def _resized(images, size):
    """(1, h, w, C) float32, as by Keras's Resizing."""
    return photos.resized_maps(images[0], size)[None]


def load(path, threads=None):
    """An exported network.

    Args:
        path: of an .onnx or .tflite file that ``experiments.export`` wrote.
        threads: that one pass uses; None for one a core.

    Returns:
        Model; classes.Labelling; and a dict of what else the file says: ``threshold``, ``view``,
        ``mirrored`` and ``enlarged`` as in ``weights.Network``; ``sha256`` of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: what runs it is not installed.
        ValueError: it is cut off, of another kind or version, or does not fit its labelling.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    content = path.read_bytes()
    kind, package = KINDS[path.suffix]
    try:
        run, taken, given, text = (_onnx if path.suffix == ".onnx" else _litert)(content, threads)
    except ImportError as error:
        raise ImportError(
            f"{path} is run by {package}, which cannot be imported ({error}): python -m pip "
            f"install {package}, or give a .safetensors or .keras file."
        ) from error
    except Exception as error:  # the runtimes' own: of many kinds
        why = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ValueError(
            f"{path} is no complete {kind} file ({why[0][:200]}): export or fetch it again."
        ) from error
    if text is None:
        raise ValueError(
            f"{path} does not say which classes it knows: expected a file that python -m "
            f"experiments.export wrote, complete to its end."
        )
    labelling, config = _read(text, path)
    size = (*config["input_size"], taken[-1])
    fixed = [
        have for have, said in zip(taken[1:], size) if not config["flexible"] and have != said
    ]
    if len(taken) != 4 or len(given) != 4 or fixed:
        raise ValueError(f"{path} takes {taken} and gives {given}: expected images and logits.")
    if isinstance(given[-1], int) and given[-1] not in (1, len(labelling)):
        raise ValueError(
            f"{path} gives {given[-1]} classes, but names {len(labelling)} "
            f"({', '.join(labelling.names)}): its labelling is of another network. Export "
            f"it again."
        )
    known = {name: config[name] for name in ("threshold", "view", "mirrored", "enlarged")}
    sha256 = hashlib.sha256(content).hexdigest()
    return Model(run, (None, *size), config["flexible"]), labelling, {**known, "sha256": sha256}


def _read(text, path):
    try:
        config = json.loads(text)
        version = config["version"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has damaged metadata ({error!r}): export it again.") from error
    if version != VERSION:
        raise ValueError(
            f"{path} is of version {version} of experiments.export, and this is version "
            f"{VERSION}: export it again, or use the version that wrote it."
        )
    try:
        labelling = Labelling.from_json(config["labelling"])
        for name in ("threshold", "flexible"):
            config[name]
        config |= {name: config.get(name, False) for name in ("mirrored", "enlarged")}
        config["view"] = photos.View(**config["view"])
        config["input_size"] = tuple(map(int, config["input_size"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} has a labelling or an input size that cannot be used ({error}): export it "
            f"again."
        ) from error
    return labelling, config


def _onnx(content, threads):
    """(function that runs it, shape of its input, shape of its output, its JSON or None)"""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3  # errors: the rest is about its own optimizations
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:  # somebody else's, of any inputs and outputs
        return None, (), (), None
    (taken,), (given,) = session.get_inputs(), session.get_outputs()

    def run(images):
        return session.run(None, {taken.name: images})[0]

    return run, taken.shape, given.shape, text


def _litert(content, threads):
    """As ``_onnx``."""
    from ai_edge_litert.interpreter import Interpreter

    if not zipfile.is_zipfile(io.BytesIO(content)):
        return None, (), (), None
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        text = archive.read(f"{KEY}.json").decode()
    interpreter = Interpreter(model_content=content, num_threads=threads or os.cpu_count())
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    shape, lock = [], threading.Lock()

    def run(images):
        with lock:  # unlike a session of ONNX Runtime, it holds one image's values
            if shape != list(images.shape):
                interpreter.resize_tensor_input(taken["index"], images.shape)
                interpreter.allocate_tensors()
                shape[:] = images.shape
            interpreter.set_tensor(taken["index"], images)
            interpreter.invoke()
            return interpreter.get_tensor(given["index"])

    shapes = [[int(side) for side in part["shape_signature"]] for part in (taken, given)]
    return run, *shapes, text
