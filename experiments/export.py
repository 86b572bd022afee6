"""Trained networks as files that need neither TensorFlow nor Keras to run.

    python -m experiments.export mobilenetv2_unet_256 --format onnx --quantize float16
    python -m experiments.export runs/mine/weights.safetensors --format litert --images photos/

writes an .onnx file (ONNX Runtime) or a .tflite file (LiteRT), by Keras's own ``model.export``,
that says itself which classes it knows and which weights it was made from: ``helpers.prediction``
takes it with --weights. The file is kept only if it names the same classes as Keras does, on
validation images or on those of --images. What it needs beside the project's own packages:

    python -m pip install -r experiments/export-requirements.txt

``--record`` scores the whole official test split as well, by Keras and from the file, measures
times, and writes them into ``experiments/results/export.json``: minutes on a quiet machine.
"""

import argparse
import contextlib
import hashlib
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from experiments import publish
from helpers import datasets, evaluation, exported, files, photos, pipeline, prediction, weights
from helpers.datasets import oxford_pets
from helpers.prediction import __main__ as command

FORMATS = {"onnx": ".onnx", "litert": ".tflite"}
QUANTIZED = ("float16", "int8")
PACKAGES = ("onnx", "tf2onnx", "onnxruntime", "ai-edge-litert")
FEW = 4096  # numbers in a tensor: with fewer, rounding costs more pixels than it saves bytes
CALIBRATION, CHECKED = 128, 32  # images
EQUAL = {"int8": 0.97}  # share of pixels of equal class, at least
EQUAL_FLOAT = 0.9995
TIMED, ROUNDS = 50, 3  # photos, and rounds over them
RECORD = "export.json"
LICENSE = "Apache-2.0"  # of the published weights, as of this repository


class How(NamedTuple):
    """``format``: a key of ``FORMATS``; ``quantize``: one of ``QUANTIZED`` or None, float32;
    ``flexible``: for images of any height and width divisible by ``photos.STEP``."""

    format: str
    quantize: str | None = None
    flexible: bool = False


def export(network, how, calibration=None, **known):
    """A network as an exported file's content.

    Args:
        network: weights.Network of a Keras model.
        how: How.
        calibration: with int8: (B, H, W, channels) uint8 raw images of the training split.
        known: JSON values that the file is to say beside what is needed, such as ``license``.

    Returns:
        bytes.

    Raises:
        ImportError: a converter is not installed; says how to.
    """
    size = network.model.input_shape[1:3]
    metadata = json.dumps(
        {
            "version": exported.VERSION,
            "labelling": network.labelling.to_json(),
            "threshold": network.threshold,
            "view": network.view._asdict(),
            "mirrored": network.mirrored,
            "enlarged": network.enlarged,
            "input_size": list(size),
            "flexible": how.flexible,
            "quantize": how.quantize,
            "source_sha256": network.sha256,
            **known,
        }
    )
    shape = (1, *(2 * (None,) if how.flexible else size), network.model.input_shape[-1])
    signature = [keras.InputSpec(shape=shape, dtype="float32")]
    convert = _onnx if how.format == "onnx" else _litert
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"network{FORMATS[how.format]}"
        try:
            return convert(network.model, signature, path, how, calibration, metadata)
        except ImportError as error:
            raise ImportError(
                f"A converter cannot be imported ({error}): python -m pip install -r "
                f"experiments/export-requirements.txt"
            ) from error


def _onnx(model, signature, path, how, calibration, metadata):
    import onnx

    model.export(path, format="onnx", verbose=False, input_signature=signature)
    if how.quantize == "int8":
        _quantize_onnx(path, calibration)
    graph = onnx.load(path)
    if how.quantize == "float16":
        _halve(graph.graph)
    onnx.helper.set_model_props(graph, {exported.KEY: metadata})
    return graph.SerializeToString(deterministic=True)


def _halve(graph):
    """Stores an ONNX graph's weights as float16, each followed by a cast to float32: half the
    file, and every runtime computes in float32, which CPUs are faster in."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in list(graph.initializer):
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= FEW:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            graph.initializer.remove(tensor)
            graph.initializer.append(numpy_helper.from_array(half, f"{tensor.name}_float16"))
            casts.append(
                helper.make_node(
                    "Cast", [f"{tensor.name}_float16"], [tensor.name], to=TensorProto.FLOAT
                )
            )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _quantize_onnx(path, calibration):
    """Weights and activations of convolutions as 8-bit integers, with a scale a channel."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # batch normalization goes into the convolutions
    quant_pre_process(path, path, skip_symbolic_shape=True)
    name = quantization.quant_utils.load_model_with_shape_infer(path).graph.input[0].name

    class Images(quantization.CalibrationDataReader):
        def __init__(self):
            self.images = iter(calibration)

        def get_next(self):
            image = next(self.images, None)
            return None if image is None else {name: image[None].astype(np.float32)}

    quantization.quantize_static(
        path,
        path,
        Images(),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


def _litert(model, signature, path, how, calibration, metadata):
    import io
    import zipfile

    import tensorflow as tf

    options = {}
    if how.quantize:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if how.quantize == "float16":
        options["target_spec"] = {"supported_types": [tf.float16]}
    if how.quantize == "int8":
        options["representative_dataset"] = lambda: (
            [image[None].astype(np.float32)] for image in calibration
        )
    if how.flexible:
        model = _of_any_size(model)
    model.export(path, format="litert", verbose=False, input_signature=signature, **options)
    content = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(content, "a") as archive:
        member = zipfile.ZipInfo(f"{exported.KEY}.json")  # with a fixed date: the same bytes again
        archive.writestr(member, metadata)
    return content.getvalue()


def _of_any_size(model):
    """The same model, its upsampling written so that TensorFlow knows the channels of images of
    any size, without which LiteRT's own convolutions are not used."""
    import tensorflow as tf

    class Enlarge(keras.layers.UpSampling2D):
        def call(self, x):
            return tf.image.resize(x, tf.shape(x)[1:3] * self.size, "nearest")

    def rebuilt(layer):
        plain = type(layer) is keras.layers.UpSampling2D and layer.interpolation == "nearest"
        return (Enlarge if plain else type(layer)).from_config(layer.get_config())

    images = keras.Input((None, None, model.input_shape[-1]))
    clone = keras.models.clone_model(model, input_tensors=images, clone_function=rebuilt)
    clone.set_weights(model.get_weights())
    return clone


def equal_share(network, other, images):
    """The share of pixels that two networks name the same class of."""
    return np.mean(
        evaluation.predict(network.model, images, network.threshold)
        == evaluation.predict(other.model, images, network.threshold)
    )


def checked(network, content, how, images):
    """An exported file's content as a weights.Network, if it does what the network does.

    Raises:
        ValueError: it names too many pixels differently on these images.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"network{FORMATS[how.format]}"
        path.write_bytes(content)
        other = weights.open_network(path)
    least = EQUAL.get(how.quantize, EQUAL_FLOAT)
    share = equal_share(network, other, images)
    if share < least:
        raise ValueError(
            f"The exported network names {100 * share:.2f} % of the pixels of {len(images)} "
            f"images as Keras does: expected at least {100 * least:.2f} %. The file was not kept."
        )
    print(f"{100 * share:.3f} % of the pixels of {len(images)} images are named as by Keras.")
    return other


def parity(network, other, dataset, limit=None):
    """How two networks do on the test split, at their input's size.

    Returns:
        dict: ``equal_pixels``, a share; ``mean_iou`` of the other and ``keras_mean_iou`` of the
        first (with one logit, of the first class and the second under the first border rule);
        ``images``; ``data_source``.
    """
    dataset = datasets.subset(dataset, test=limit)
    size, labelling = network.model.input_shape[1:3], dataset.labelling
    equal, pixels, matrices = 0, 0, [0, 0]
    for batch in _batches(dataset, "test", size):
        found = [
            evaluation.predict(one.model, batch["image"], network.threshold)
            for one in (network, other)
        ]
        equal, pixels = equal + np.sum(found[0] == found[1]), pixels + found[0].size
        for number, ids in enumerate(found):
            matrices[number] = matrices[number] + evaluation.confusion_matrix(
                batch["mask"][..., 0], ids, len(labelling), void=labelling.ignore
            )
    if network.threshold is not None:
        rule = next(iter(labelling.border_rules.values()))
        matrices = [evaluation.binary_matrices(matrix[:, :2], rule) for matrix in matrices]
    keras_iou, iou = (evaluation.scores(matrix)["mean_iou"] for matrix in matrices)
    return {
        "equal_pixels": float(equal / pixels),
        "mean_iou": iou,
        "keras_mean_iou": keras_iou,
        "images": datasets.count_examples(dataset, "test"),
        "data_source": datasets.describe(dataset, "test"),
    }


def speed(network, other, paths, source, path):
    """Times of Keras and of an exported network, measured in turns.

    Args:
        network, other: weights.Network.
        paths: photos in files.
        source, path: what ``helpers.prediction`` takes for the two with --weights.

    Returns:
        dict: medians of a network pass in milliseconds: ``predict_ms`` and ``predict_on_batch_ms``
        of Keras, ``pass_ms`` of the file. ``photos_per_s`` and ``keras_photos_per_s``: from file
        to files, many in one run. ``cold_s`` and ``keras_cold_s``: the command for one photo.
    """
    size = network.model.input_shape[1:3]
    images = [prediction.network_input(prediction.read_photo(one), size)[None] for one in paths]
    raw = [image.astype(np.float32) for image in images]
    ways = {
        "predict_ms": lambda image: network.model.predict(image, verbose=0),
        "predict_on_batch_ms": network.model.predict_on_batch,
        "pass_ms": other.model.predict_on_batch,
    }
    for way in ways.values():
        way(raw[0])
    times = {name: [] for name in ways}
    for image in raw:
        for name, way in ways.items():
            times[name].append(1e3 * _seconds(way, image))
    found = {name: statistics.median(values) for name, values in times.items()}
    many = weights.open_network(path, threads=1)  # as the command has it
    rates = [[_rate(one, paths) for one in (network, many)] for _ in range(ROUNDS)]
    colds = [[_cold(given, paths[0]) for given in (source, path)] for _ in range(ROUNDS)]
    names = ("keras_photos_per_s", "photos_per_s"), ("keras_cold_s", "cold_s")
    for pair, values in zip(names, (rates, colds)):
        found |= zip(pair, map(statistics.median, zip(*values)))
    return found


def _rate(network, paths):
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        jobs = [command.Job(path, Path(folder), False) for path in paths]
        began = time.perf_counter()
        failures, _ = command.predict_all(command.Work(network), jobs)
        if failures:
            raise RuntimeError(failures[0])
        return len(paths) / (time.perf_counter() - began)


def _cold(source, photo):
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "helpers.prediction", photo, "--out", folder]
        command += ["--weights", source]
        return _seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


def _seconds(function, *args):
    began = time.perf_counter()
    function(*args)
    return time.perf_counter() - began


def examples(network, folder=None):
    """Images to calibrate with and to check with.

    Args:
        network: weights.Network.
        folder: of photos; None for Oxford-IIIT Pet, if the network is of its classes.

    Returns:
        Two arrays (B, height, width, channels) uint8 at the network's size: of the training split
        and of the validation split; of a folder the same for both.

    Raises:
        ValueError: there are none, or the network is of other classes.
    """
    size = network.model.input_shape[1:3]
    if folder is not None:
        found = prediction.find_photos(folder)[:CALIBRATION]
        images = [prediction.network_input(prediction.read_photo(path), size) for path in found]
        return np.stack(images), np.stack(images[:CHECKED])
    pets = oxford_pets.open_pets()
    if network.labelling.names != pets.labelling.names:
        raise ValueError(
            f"The network is of other classes ({', '.join(network.labelling.names)}) than "
            f"{pets.name}: give --images, a folder of photos such as it was trained on."
        )
    pets = datasets.subset(pets, train=CALIBRATION, validation=CHECKED)
    return tuple(
        np.concatenate([batch["image"] for batch in _batches(pets, split, size)])
        for split in ("train", "validation")
    )


def _batches(dataset, split, size):
    return pipeline.labelled_batches(dataset, split, size, 8, own_masks=False)


def record(network, other, how, options, path):
    """Measures parity and times on the official test split, and adds them to what was recorded.

    Args:
        network, other: weights.Network, of Keras and of the file.
        how: How.
        options: of the command.
        path: of the file.
    """
    pets = oxford_pets.open_pets()
    publish.check_fits(network, pets)
    found = parity(network, other, pets, options.limit)
    few = datasets.read_records(datasets.subset(pets, test=TIMED), "test").as_numpy_iterator()
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, example in enumerate(few):
            paths.append(Path(folder) / f"{number}.jpg")
            paths[-1].write_bytes(example["image"])
        found |= speed(network, other, paths, options.source, path)
    content = path.read_bytes()
    entry = {
        **how._asdict(),
        "network": options.source,
        "file": path.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        **found,
        "command": _command(options),
        **publish.environment(PACKAGES),
    }
    target = weights.RESULTS / RECORD
    entries = json.loads(target.read_text())["exports"] if target.exists() else []
    same = ("network", *How._fields)
    kept = [one for one in entries if any(one[name] != entry[name] for name in same)]
    order = sorted([*kept, entry], key=lambda one: [str(one[name]) for name in same])
    files.write_json(target, {"exports": order, "command": "python -m experiments.export"})
    times = found["predict_ms"] / found["pass_ms"]
    print(
        f"{found['images']:,} test images: {100 * found['equal_pixels']:.3f} % of the pixels as "
        f"by Keras, mean IoU {found['mean_iou']:.4f} (Keras {found['keras_mean_iou']:.4f}), a "
        f"pass {times:.1f} times as fast as model.predict -> {target}"
    )


def main():
    options = _parser().parse_args()
    try:
        _run(options)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.exit(str(error))


def _run(options):
    how = How(options.format, options.quantize, options.flexible)
    name = f"{Path(options.source).stem}_{options.quantize or 'float32'}"
    name += "_flexible" * options.flexible + FORMATS[options.format]
    path = options.out or Path("runs/exported") / name
    if path.suffix != FORMATS[options.format]:
        raise ValueError(f"--out {path}: expected a name that ends in {FORMATS[options.format]}.")
    files.check_writable(path)
    network = weights.open_network(options.source)
    if isinstance(network.model, exported.Model):
        raise ValueError(f"{options.source} is exported already: give what it was made from.")
    calibration, images = examples(network, options.images)
    published = not Path(options.source).suffix
    content = export(
        network,
        how,
        calibration,
        name=Path(options.source).stem,
        license=options.license or (LICENSE if published else "not stated"),
    )
    other = checked(network, content, how, images)
    files.write(path, content)
    print(f"{len(content) / 1e6:.1f} MB -> {path}")
    if options.record:
        record(network, other, how, options, path)


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m experiments.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help="name of published weights, .safetensors or .keras file")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--quantize", choices=QUANTIZED, help="(default: float32)")
    parser.add_argument(
        "--flexible",
        action="store_true",
        help=f"for images of any height and width divisible by {photos.STEP}",
    )
    parser.add_argument("--out", type=Path, help="file to write (default: in runs/exported)")
    parser.add_argument("--images", type=Path, help="folder of photos to calibrate and check with")
    parser.add_argument("--license", help="of the weights, to be written into the file")
    parser.add_argument(
        "--record", action="store_true", help="score the test split, measure times"
    )
    parser.add_argument("--limit", type=int, help="with --record: the first so many test images")
    return parser


def _command(options):
    words = [options.source, "--format", options.format]
    words += ["--quantize", options.quantize] if options.quantize else []
    words += ["--flexible"] * options.flexible + ["--record"]
    words += ["--limit", str(options.limit)] if options.limit else []
    return shlex.join(["python", "-m", "experiments.export", *words])


if __name__ == "__main__":
    main()
