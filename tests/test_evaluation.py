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
    return [
        {"image": images[end - size : end], "mask": masks[end - size : end]}
        for size, end in zip(sizes, ends)
    ]


# Rows truth, columns prediction. Pet 2 of 3 found, background 1 of 2, border 0 of 1.
TRUTH, GUESS = np.array([[0, 0, 0, 1, 1, 2]]), np.array([[0, 0, 1, 1, 2, 0]])
MATRIX = [[2, 1, 0], [0, 1, 1], [1, 0, 0]]


def test_a_confusion_matrix_and_its_scores_by_hand():
    assert evaluation.confusion_matrix(TRUTH, GUESS, 3).tolist() == MATRIX
    assert evaluation.confusion_matrix([[0, 9]], [[1, 7]], 3, predicted=2, void=9).tolist() == [
        [0, 1],
        [0, 0],
        [0, 0],
    ]
    many = np.full((20, 20), 19, np.uint8)  # 19 x 20 + 19 does not fit into uint8
    assert evaluation.confusion_matrix(many, many.astype(np.int8), 20)[19, 19] == 400
    assert evaluation.scores(MATRIX) == {
        "pixel_accuracy": pytest.approx(3 / 6),
        "iou": pytest.approx([2 / 4, 1 / 3, 0]),
        "dice": pytest.approx([4 / 6, 2 / 4, 0]),
        "mean_iou": pytest.approx((2 / 4 + 1 / 3 + 0) / 3),
        "mean_dice": pytest.approx((4 / 6 + 2 / 4 + 0) / 3),
    }


@pytest.mark.parametrize(
    "truth, guess, message",
    [
        (TRUTH, GUESS[0], r"Truth has shape \(1, 6\), prediction \(6,\)"),
        (TRUTH[:, :1], GUESS, "must be equal"),
        (TRUTH + 1, GUESS, r"truth holds class ids 1\.\.3: expected 0\.\.2"),
        (TRUTH, GUESS - 1, r"prediction holds class ids -1\.\.1: expected 0\.\.2"),
        (TRUTH, GUESS * 0.3, "prediction is float64: expected integer class ids"),
        (TRUTH.astype("float32"), GUESS, "truth is float32"),
    ],
)
def test_wrong_class_ids_are_errors(truth, guess, message):
    with pytest.raises(ValueError, match=message):
        evaluation.confusion_matrix(truth, guess, 3)


def test_three_classes_become_two_by_rule():
    matrix = [[1, 2, 4], [8, 16, 32], [64, 128, 256]]
    expected = {
        "pet": [[1 + 4 + 64 + 256, 2 + 128], [8 + 32, 16]],
        "background": [[1, 2 + 4], [8 + 64, 16 + 32 + 128 + 256]],
        "ignore": [[1 + 4, 2], [8 + 32, 16]],
    }
    for rule, two in expected.items():
        assert evaluation.binary_matrices(matrix, PETS.border_rule(rule)).tolist() == two


# Over a split


def test_batches_of_any_size_count_the_same():
    model = oracle(3)
    images = saying(np.random.default_rng(2).integers(0, 3, (5, 6, 9)))
    (matrices, *rest) = evaluation.measure(model, batches(5, images=images), PETS)
    assert matrices.shape == (5, 3, 3) and rest == [None] * 7
    again = evaluation.measure(model, iter(batches(2, 2, 1, images=images)), PETS).matrices
    assert np.array_equal(matrices, again)
    for matrix, mask, ids in zip(matrices, MASKS, evaluation.predict(model, images)):
        assert np.array_equal(matrix, evaluation.confusion_matrix(mask[..., 0], ids, 3))


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_one_logit_is_the_first_class_against_the_second(threshold):
    matrices = evaluation.measure(RED, batches(3, 2), PETS, threshold=threshold).matrices
    found = 1 / (1 + np.exp(-(NOISE[..., 0] - 127.0) / 50)) > threshold
    for matrix, mask, first in zip(matrices, MASKS[..., 0], found):
        for row, counts in enumerate(matrix.tolist()):
            here = mask == row
            assert counts == [np.sum(here & first), np.sum(here & ~first)]
    for name, rule in PETS.border_rules.items():
        (curve,) = evaluation.threshold_curve(RED, batches(3, 2), [threshold], PETS, name)
        assert curve == evaluation.binary_scores(matrices, rule)["dice"]


def test_a_probability_of_exactly_the_threshold_is_the_second_class():
    even = Model(lambda images: images[..., :1] * 0.0)
    (batch,) = batches(1, masks=MASKS * 0)
    assert evaluation.measure(even, [batch], PETS).matrices[0, 0].tolist() == [0, 54]
    assert evaluation.threshold_curve(even, [batch], [0.5], PETS, "pet") == [0]


def own_batch(images, masks, own_masks):
    names = [f"{number}".encode() for number in range(len(masks))]
    return {"image": images, "mask": masks, "own_mask": own_masks, "file_name": names}


@pytest.mark.parametrize("own", [(8, 24), (4, 6), (2, 4)])
def test_each_photo_is_also_scored_at_its_own_size(own):
    ids = np.zeros((1, 4, 6), np.uint8)
    ids[:, :, 3:], own_mask = 1, np.zeros(own, np.uint8)
    own_mask[:, (own[1] + 1) // 2 :] = 1
    counts = evaluation.measure(
        oracle(3), [own_batch(saying(ids), ids[..., None], [own_mask])], PETS
    )
    assert evaluation.scores(counts.own_matrices[0])["pixel_accuracy"] == 1
    assert counts.own_matrices.sum() == own_mask.size and counts.matrices.sum() == 24
    assert (counts.own_outlines[:, :, 0] == counts.own_outlines[:, :, 3]).all()


V = VOID
STREET_MASK = np.uint8(
    [[0, 0, 0, V, 1, 1], [0, 0, 0, V, 1, 1], [0, 0, 0, V, 1, 1], [2, 2, 2, V, V, V]]
)


def test_void_counts_for_nothing_by_hand():
    masks = np.stack([STREET_MASK, np.full_like(STREET_MASK, V)])
    ids = np.where(masks == V, 3, masks)  # a fourth class that is nowhere
    ids[0, 0, 0] = 1
    batch = own_batch(saying(ids), masks[..., None], list(masks))
    counts = evaluation.measure(oracle(4), [batch], STREET)
    assert counts.known["file_name"].tolist() == ["0"]  # the other image is void throughout
    matrix = [[8, 1, 0, 0], [0, 6, 0, 0], [0, 0, 3, 0], [0, 0, 0, 0]]
    assert counts.matrices.tolist() == counts.own_matrices.tolist() == [matrix]
    # road meets tree along three pixels; the car meets void alone, and so has no true outline
    outlines = [[5, 5, 3, 3], [0, 1, 0, 0], [3, 3, 3, 3], [0, 0, 0, 0]]
    assert counts.outlines.tolist() == counts.own_outlines.tolist() == [outlines]
    assert counts.confidences.sum(axis=0)[:2].tolist() == [18, 17]
    # from the upper side of the tree: 3 pixels at 0, 3 at 1, 11 from 2 to 4, the car's last above
    assert counts.distances[:5].tolist() == [[3, 0], [3, 0], [11, 1], [1, 0], [0, 0]]
    assert counts.places[..., 0].tolist() == (STREET_MASK != V).tolist()
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


def test_what_cannot_be_evaluated_is_an_error():
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluation.measure(RED, [], PETS)
    for function in (
        lambda batches: evaluation.measure(RED, batches, PETS),
        lambda batches: evaluation.threshold_curve(RED, batches, [0.5], PETS, "pet"),
    ):
        for masks in (MASKS + 1, MASKS + 253, MASKS / 2, MASKS[..., 0], MASKS[:, :-1]):
            with pytest.raises(ValueError, match="holds class ids|expected integer|must be equal"):
                function(batches(5, masks=masks))
    three = oracle(3)
    with pytest.raises(ValueError, match="3 classes: expected 2 .*one logit of pet"):
        evaluation.threshold_curve(
            three, batches(5, images=saying(MASKS[..., 0])), [0.5], PETS, "pet"
        )
    for thresholds in ([0.5, 0.3], [50], [0]):
        with pytest.raises(ValueError, match="expected growing numbers between 0 and 1"):
            evaluation.threshold_curve(RED, batches(5), thresholds, PETS, "pet")


RAW = NOISE.astype("float32")
WRONG = {
    "0..1": RAW / 255,
    "0..1, float16": (RAW / 255).astype("float16"),
    "0..1, overshot by a resize": RAW / 250,
    "-1..1": RAW / 127.5 - 1,
    "NaN": np.where(RAW == 9, np.nan, RAW),
    "infinite": np.where(RAW == 9, np.inf, RAW),
    "16 bits": NOISE.astype("uint16") * 257,
    "grey": NOISE[..., :1],
    "RGBA": np.concatenate([NOISE, NOISE[..., :1]], axis=-1),
    "no batch": NOISE[0],
    "no channels": NOISE[..., 0],
    "bool": NOISE > 0,
    "text": NOISE.astype(str),
}


@pytest.mark.parametrize("case", WRONG)
def test_images_that_are_not_raw_pixels_are_refused(case):
    for function in (evaluation.predict, evaluation.predict_probabilities):
        with pytest.raises(ValueError, match="^The images (are|hold)"):
            function(RED, WRONG[case])


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", "float32", "float64"])
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
