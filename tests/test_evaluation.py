"""What is counted over a split, by hand, and what is refused. Scores: test_properties.py."""

import numpy as np
import pytest

from helpers import evaluation
from helpers.classes import PETS, VOID
from tests.tiny import STREET, Model, oracle, saying

NOISE = np.random.default_rng(0).integers(0, 256, (5, 6, 9, 3), np.uint8)
MASKS = np.random.default_rng(1).integers(0, 3, (5, 6, 9, 1), np.uint8)
RED = Model(lambda images: (images[..., :1] - 127.0) / 50)  # one logit: pet where it is red


def batches(*sizes, images=NOISE, masks=MASKS):
    ends = np.cumsum(sizes)
    places = [slice(end - size, end) for size, end in zip(sizes, ends)]
    return [{"image": images[place], "mask": masks[place]} for place in places]


def test_batches_of_any_size_count_the_same():
    images = saying(np.random.default_rng(2).integers(0, 3, (5, 6, 9)))
    matrices, *rest = evaluation.measure(oracle(3), batches(5, images=images), PETS)
    assert matrices.shape == (5, 3, 3) and rest == [None] * 7
    again = evaluation.measure(oracle(3), iter(batches(2, 2, 1, images=images)), PETS)
    assert np.array_equal(matrices, again.matrices)
    for matrix, mask, ids in zip(matrices, MASKS, evaluation.predict(oracle(3), images)):
        assert np.array_equal(matrix, evaluation.confusion_matrix(mask[..., 0], ids, 3))


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_one_logit_is_the_first_class_against_the_second(threshold):
    images = np.where(MASKS == 2, 127, NOISE)  # at 127 the probability is exactly 0.5
    given = batches(3, 2, images=images)
    matrices = evaluation.measure(RED, given, PETS, threshold=threshold).matrices
    found = 1 / (1 + np.exp(-(images[..., 0] - 127.0) / 50)) > threshold
    for matrix, mask, first in zip(matrices, MASKS[..., 0], found):
        here = [mask == row for row in range(3)]
        assert matrix.tolist() == [[np.sum(row & first), np.sum(row & ~first)] for row in here]
    for name, rule in PETS.border_rules.items():
        curve = evaluation.threshold_curve(RED, given, [0.1, threshold, 0.9], PETS, name)
        assert curve[1] == evaluation.binary_scores(matrices, rule)["dice"]


def own_batch(ids, masks, own_masks):
    names = [f"{number}".encode() for number in range(len(masks))]
    masks = np.asarray(masks)[..., None]
    return {"image": saying(ids), "mask": masks, "own_mask": own_masks, "file_name": names}


@pytest.mark.parametrize("own", [(8, 24), (4, 6), (2, 4)])
def test_each_photo_is_also_scored_at_its_own_size(own):
    small, large = np.zeros((4, 6), np.uint8), np.zeros(own, np.uint8)
    small[:, 3:] = large[:, own[1] // 2 :] = 1
    counts = evaluation.measure(oracle(3), [own_batch([small], [small], [large])], PETS)
    assert counts.matrices.sum() == 24 and counts.own_matrices.sum() == large.size
    assert evaluation.scores(counts.own_matrices[0])["pixel_accuracy"] == 1
    assert (counts.own_outlines[:, :, 0] == counts.own_outlines[:, :, 3]).all()


def test_void_counts_for_nothing_by_hand():
    mask = np.full((4, 6), VOID, np.uint8)
    mask[:3, :3], mask[:3, 4:], mask[3, :3] = 0, 1, 2
    masks = np.stack([mask, np.full_like(mask, VOID)])
    ids = np.where(masks == VOID, 3, masks)  # a fourth class that is nowhere
    ids[0, 0, 0] = 1
    counts = evaluation.measure(oracle(4), [own_batch(ids, masks, list(masks))], STREET)
    assert counts.known["file_name"].tolist() == ["0"]  # the other image is void throughout
    matrix = [[8, 1, 0, 0], [0, 6, 0, 0], [0, 0, 3, 0], [0, 0, 0, 0]]
    assert counts.matrices.tolist() == counts.own_matrices.tolist() == [matrix]
    # road meets tree along three pixels; the car meets void alone, and so has no true outline
    outlines = [[5, 5, 3, 3], [0, 1, 0, 0], [3, 3, 3, 3], [0, 0, 0, 0]]
    assert counts.outlines.tolist() == counts.own_outlines.tolist() == [outlines]
    assert counts.confidences.sum(axis=(0, 1))[:2].tolist() == [18, 17]
    # from the upper side of the tree: 3 pixels at 0, 3 at 1, 11 from 2 to 4, the car's last above
    assert counts.distances[:5].tolist() == [[3, 0], [3, 0], [11, 1], [1, 0], [0, 0]]
    assert counts.places[..., 0].tolist() == (mask != VOID).tolist()
    assert np.argwhere(counts.places[..., 1]).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    "logits, labelling, message",
    [
        (
            np.zeros((5, 6, 9, 4)),
            PETS,
            r"4 classes: expected 3 \(pet, .*\), or one logit of pet\.",
        ),
        (np.zeros((5, 6, 9, 1)), STREET, r"1 classes: expected 4 \(road, .*sky\)\.$"),
        (np.zeros((5, 6, 8, 3)), PETS, "expected logits for each pixel"),
        (np.zeros((5, 3)), PETS, "expected logits for each pixel"),
        (np.full((5, 6, 9, 3), np.nan), PETS, "not finite"),
        (np.full((5, 6, 9, 1), np.inf), PETS, "not finite"),
    ],
)
def test_a_model_that_does_not_fit_is_an_error(logits, labelling, message):
    with pytest.raises(ValueError, match=message):
        evaluation.measure(Model(lambda images: logits), batches(5), labelling)


@pytest.mark.parametrize(
    "function",
    [
        lambda batches: evaluation.measure(RED, batches, PETS),
        lambda batches: evaluation.threshold_curve(RED, batches, [0.5], PETS, "pet"),
    ],
)
def test_masks_that_do_not_fit_and_no_masks_are_errors(function):
    void = np.where(MASKS == 2, VOID, MASKS)  # pets have none
    for masks in (MASKS + 1, void, MASKS / 2, MASKS[..., 0], MASKS[:, :-1]):
        with pytest.raises(ValueError, match="holds class ids|expected integer|must be equal"):
            function(batches(5, masks=masks))
    with pytest.raises(ValueError, match="nothing to evaluate"):
        function([])


@pytest.mark.parametrize("thresholds", [[0.5, 0.3], [50], [0]])
def test_thresholds_are_increasing_probabilities(thresholds):
    with pytest.raises(ValueError, match="expected increasing numbers between 0 and 1"):
        evaluation.threshold_curve(RED, batches(5), thresholds, PETS, "pet")
    with pytest.raises(ValueError, match="threshold=50: expected a probability"):
        evaluation.measure(RED, batches(5), PETS, threshold=50)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "float32", "float64"])
def test_raw_pixels_of_any_number_type_are_taken(dtype):
    assert np.array_equal(evaluation.predict(RED, NOISE.astype(dtype)), NOISE[..., 0] <= 127)
    assert evaluation.predict(RED, np.zeros((2, 4, 6, 3), dtype)).shape == (2, 4, 6)  # black


def test_the_bootstrap_covers_what_it_should():
    rng, hits = np.random.default_rng(3), 0
    for number in range(60):  # a mean of normal numbers: the truth is 0
        values = rng.normal(0, 1, 100)
        low, high = evaluation.bootstrap_interval(values, lambda s: s / 100, 400, seed=number)
        assert low < values.mean() < high
        hits += low < 0 < high
    assert 52 <= hits  # of 60; 57 expected
