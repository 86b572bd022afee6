"""Large images in tiles: seamless, each pixel once, in bounded memory."""

import itertools
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from helpers import datasets, evaluation, models, pipeline, run_mode, tiles, weights
from helpers.classes import VOID, Labelling
from helpers.datasets.tiled import tiled

LABELLING = Labelling(("a", "b", "c"), ((0, 0, 0), (90, 90, 90), (200, 200, 200)))
SIZE, OVERLAP = 64, 48  # half the overlap is more than the small network below sees about a pixel


def unet(size):
    return models.unet(size, classes=3, width=4, depth=2)


@pytest.fixture(scope="module")
def network():
    run_mode.set_seed(0)
    model = unet(SIZE)
    logits = model.predict_on_batch(photo(SIZE, SIZE)[None])
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, -np.median(logits, axis=(0, 1, 2))])  # all classes
    return weights.Network(model, LABELLING)


def photo(height, width):
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return np.kron(small, np.ones((8, 8, 1), np.uint8))[:height, :width]


@pytest.mark.parametrize("size", [(96, 128), (101, 118), (40, 90)])
def test_a_prediction_in_tiles_is_that_of_the_whole_image(network, size):
    image = photo(*size)
    found = tiles.predict(network, image, OVERLAP)
    # the whole image at once, with as much around it as the network's poolings and the tiles need
    whole_size = [max(SIZE, -(-side // 16) * 16) for side in size]
    whole = tiles.cut(image, tiles.grid(size, whole_size, 0)[0])
    model = unet(tuple(whole_size))
    model.set_weights(network.model.get_weights())
    expected = evaluation.predict(model, whole[None])[0][: size[0], : size[1]]
    inside = tuple(slice(0, side - 24 if side % 16 else side) for side in size)
    assert len(np.unique(expected)) == 3
    assert np.array_equal(found[inside], expected[inside])


@pytest.mark.parametrize(
    "size, tile, overlap", [*itertools.product((1, 7, 64, 100), (32, 64), (0, 16))]
)
def test_cores_cover_every_pixel_once(size, tile, overlap):
    seen = np.zeros((size, 50), int)
    for one in tiles.grid(seen.shape, tile, overlap):
        seen[one.core] += 1
        for window, core, side in zip(one.window, one.core, seen.shape):
            assert window.start <= core.start and core.stop <= window.stop
            assert core.start in (0, window.start + overlap // 2)
            assert core.stop in (side, window.stop - overlap // 2)
    assert (seen == 1).all()


def test_a_large_scene_takes_little_memory():
    scene = np.broadcast_to(np.uint8(7), (4_000, 4_000, 3))  # a number, seen as that many
    model = SimpleNamespace(
        input_shape=(None, 512, 512, 3),
        predict_on_batch=lambda images: np.broadcast_to(np.arange(3.0), (*images.shape[:3], 3)),
    )
    tracemalloc.start()
    found = tiles.predict(weights.Network(model, LABELLING), scene, 128)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found == 2).all()
    assert peak - found.nbytes < 150e6


def test_tiles_as_examples(synthetic_dataset):
    few = datasets.subset(synthetic_dataset, train=2, validation=1, test=2)
    parts = tiled(few, lambda size: tiles.grid(size, SIZE, 16))
    for split in datasets.SPLITS:
        names, area = [], {}
        for batch in pipeline.labelled_batches(parts, split, SIZE, 8):
            names += batch["file_name"].tolist()
            for name, mask in zip(batch["file_name"], batch["mask"]):
                image = name.rpartition(b"@")[0]
                area[image] = area.get(image, 0) + (mask != VOID).sum()
        assert len(names) == datasets.count_examples(parts, split) == len(set(names))
        for batch in pipeline.labelled_batches(few, split, SIZE, 8):
            for name, mask in zip(batch["file_name"], batch["own_mask"]):
                assert area[name] == mask.size if split != "train" else area[name] > mask.size
    assert len(pipeline.load_split(parts, "train", SIZE)) == parts.sizes["train"]


def test_counts_of_tiles_add_up_to_those_of_images(synthetic_dataset, network):
    few = datasets.subset(synthetic_dataset, test=2)
    parts = tiled(few, lambda size: tiles.grid(size, SIZE, OVERLAP))
    batches = pipeline.labelled_batches(parts, "test", SIZE, 8)
    counts = evaluation.measure(network.model, batches, parts.labelling)
    merged = tiles.by_image(counts)
    assert counts.matrices.sum(axis=0).tolist() == merged.matrices.sum(axis=0).tolist()
    records = list(datasets.read_records(few, "test").as_numpy_iterator())
    assert merged.known["file_name"] == sorted(r["file_name"].decode() for r in records)
    record = min(records, key=lambda record: record["file_name"])
    image = pipeline.tf.io.decode_jpeg(record["image"], channels=3).numpy()
    truth = pipeline.decode_mask(record["segmentation_mask"], few.labelling).numpy()[..., 0]
    found = tiles.predict(network, image, OVERLAP)  # what is scored is what is predicted
    assert merged.matrices[0].tolist() == evaluation.confusion_matrix(truth, found, 3).tolist()
    assert merged.known["label"][0] == record["label"]


@pytest.mark.parametrize("size", [(30, 90), (90, 30), (64, 128), (7, 1)])
def test_a_frame_keeps_the_aspect_ratio(size):
    (tile,) = tiles.frame(size, (64, 128))
    seen = tiles.cut(photo(*size), tile)
    assert seen.shape[1] == pytest.approx(2 * seen.shape[0], abs=1)
    assert min(np.subtract(seen.shape[:2], size)) == 0  # no larger than it must be
    assert np.array_equal(seen[tile.core], photo(*size))
    mask = tiles.cut(np.zeros(size, np.uint8), tile, outside=VOID)
    assert (mask == VOID).sum() == mask.size - np.prod(size)


@pytest.mark.parametrize("overlap", [-2, 3, 64])
def test_an_overlap_that_does_not_fit(overlap):
    with pytest.raises(ValueError, match="overlap=.*expected an even number"):
        tiles.grid((100, 100), 64, overlap)
