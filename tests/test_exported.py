"""Exported networks: what is read is what was written, or one clear error."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers import exported, weights
from helpers.classes import PETS

NAME = "mobilenetv2_unet_256.onnx"
CONTENT = (weights.FOLDER / NAME).read_bytes()
OF_TWO = CONTENT
for part in ("names", "colors", "ids", "border_rules"):
    there = PETS.to_json()[part]
    two = there[:2] if part != "border_rules" else {}
    there, two = (f'"{part}": {json.dumps(value)}'.encode() for value in (there, two))
    OF_TWO = OF_TWO.replace(there, two.ljust(len(there)))  # as long as before
NO_FILE, NOT_OURS = "is no complete .* file", "does not say which classes it knows"
REFUSED = {  # its content, what is said of it
    "empty": (b"", NO_FILE),
    "web page": (b"<html>Not found</html>", NO_FILE),
    "half": (CONTENT[: len(CONTENT) // 2], NO_FILE),
    "without its end": (CONTENT[:-20], NO_FILE),
    "of somebody else": (CONTENT.replace(exported.KEY.encode(), b"their_key"), NOT_OURS),
    "of another version": (
        CONTENT.replace(b'"version": 1,', b'"version": 7,'),
        "is of version 7 of experiments.export, and this is version 1",
    ),
    "damaged metadata": (CONTENT.replace(b'"version": 1,', b'"version"  1,'), "damaged metadata"),
    "odd labelling": (
        CONTENT.replace(b'"ids": [1, 2, 3]', b'"ids": [1, 2, 2]'),
        "has a labelling or an input size that cannot be used",
    ),
    "wrong labelling": (OF_TWO, r"gives 3 classes, but names 2 \(pet, background\)"),
    "of another size": (
        CONTENT.replace(b'"input_size": [256, 256]', b'"input_size": [256, 512]'),
        "expected images and logits",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_another_file_is_one_clear_error(tmp_path, case):
    content, message = REFUSED[case]
    assert content != CONTENT
    path = tmp_path / "net.onnx"
    with pytest.raises(FileNotFoundError, match="There is no file"):
        weights.open_network(path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        weights.open_network(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and text.endswith(".") and "\n" not in text


def test_a_runtime_that_is_missing_is_named(tmp_path, monkeypatch):
    for suffix, module, package in (
        (".onnx", "onnxruntime", "onnxruntime"),
        (".tflite", "ai_edge_litert.interpreter", "ai-edge-litert"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        path = tmp_path / f"net{suffix}"
        path.write_bytes(CONTENT)
        with pytest.raises(ImportError, match=f"python -m pip install {package}"):
            weights.open_network(path)


def test_the_published_one_is_found_by_its_name_and_takes_its_size_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = weights.open_network(NAME)
    assert network.labelling == PETS and network.threshold is None and len(network.sha256) == 64
    assert network.model.input_shape == (None, 256, 256, 3)
    images = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    logits = network.model.predict_on_batch(images)
    assert logits.shape == (2, 256, 256, 3) and logits.dtype == np.float32
    assert np.array_equal(network.model.predict_on_batch(images[1:]), logits[1:])
    assert weights.at_size(network, 256) is network
    with pytest.raises(ValueError, match="takes 256 x 256 pixels alone, not 64 x 96: export it"):
        weights.at_size(network, (64, 96))
    twice = weights.with_views(network, mirrored=True)
    assert twice.mirrored and weights.with_views(twice, mirrored=True).model is twice.model
    there, back = (network.model.predict_on_batch(view) for view in (images, images[:, :, ::-1]))
    mean = (there + back[:, :, ::-1]) / 2
    assert np.allclose(twice.model.predict_on_batch(images), mean, atol=1e-5)
    with pytest.raises(ValueError, match="takes 256 x 256 pixels alone, not 320 x 320: export it"):
        weights.with_views(network, enlarged=True)
    recorded = weights.RESULTS / "export.json"
    if recorded.exists():  # the file is the one that was measured
        hashes = [entry["sha256"] for entry in json.loads(recorded.read_text())["exports"]]
        assert network.sha256 in hashes
    assert Path(NAME).suffix in exported.KINDS
