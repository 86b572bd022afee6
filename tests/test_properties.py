"""Scores and augmentation on inputs that Hypothesis draws, against plain NumPy.

The same ones in every run; a failing one is cut down to the smallest that still fails.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from helpers import evaluation, pipeline
from helpers.albumentations_augmentation import albumentations_augment
from helpers.augmentation import augment
from helpers.classes import PETS
from tests.test_label_properties import SHAPES, by_sets, drawn
from tests.tiny import oracle

SEEDS = hnp.arrays(np.int64, 2)
each_augmentation = pytest.mark.parametrize("function", [augment, albumentations_augment])


@st.composite
def label_pairs(draw, *classes):
    """A number of classes, of these if any, and two label maps (B, H, W) uint8."""
    classes, shape = draw(st.sampled_from(classes or (2, 3, 20))), draw(SHAPES)
    ids = hnp.arrays(np.uint8, shape, elements=st.integers(0, classes - 1))
    return classes, draw(ids), draw(ids)


# --------------------------------------------------------------------------------------- scores


@drawn
@given(label_pairs())
def test_scores_of_a_confusion_matrix(pair):
    classes, truth, guess = pair
    matrix = evaluation.confusion_matrix(truth, guess, classes)
    found, (dice, iou) = evaluation.scores(matrix), by_sets(truth, guess, classes)
    np.testing.assert_allclose([found["dice"], found["iou"]], [dice, iou], rtol=1e-12)
    means = {"mean_dice": dice, "mean_iou": iou, "pixel_accuracy": truth == guess}
    for name, values in means.items():
        assert found[name] == pytest.approx(values.mean()) and 0 <= found[name] <= 1
    each = np.stack([evaluation.confusion_matrix(*one, classes) for one in zip(truth, guess)])
    np.testing.assert_array_equal(each.sum(axis=0), matrix)
    void = evaluation.confusion_matrix(truth, guess, classes, void=0)
    np.testing.assert_array_equal(void, matrix * (np.arange(classes) > 0)[:, None])
    for name, values in evaluation.scores(each).items():
        np.testing.assert_array_equal(values, [evaluation.scores(one)[name] for one in each])


@drawn
@given(label_pairs(3), st.sampled_from([*PETS.border_rules]), st.booleans())
def test_binary_scores_count_what_to_binary_gives(pair, border, one_logit):
    _, masks, guess = pair
    rule = np.array(PETS.border_rule(border))
    first = guess % 2 == 0 if one_logit else np.isin(guess, np.flatnonzero(rule != 1))
    pairs = zip(masks, guess % 2 if one_logit else guess)
    columns = 2 if one_logit else 3
    matrices = [evaluation.confusion_matrix(*each, 3, predicted=columns) for each in pairs]
    found = evaluation.binary_scores(matrices, rule)
    targets, weights = (part.numpy() for part in pipeline.to_binary(masks, PETS, border))
    kept = weights > 0
    right = (targets == first)[kept]
    assert found["pixel_accuracy"] == pytest.approx(right.mean() if right.size else 1)
    pooled = [found["dice"], found["iou"]]
    np.testing.assert_allclose(pooled, by_sets(targets[kept], first[kept], 2)[:, 1], rtol=1e-12)
    each = [by_sets(t[k], p[k], 2)[:, 1] for t, p, k in zip(targets, first, kept)]
    per_image = [found["dice_per_image"], found["iou_per_image"]]
    np.testing.assert_allclose(per_image, np.mean(each, axis=0), rtol=1e-12)


NUMBERS = hnp.arrays(
    st.sampled_from([np.uint8, np.int64, np.float32]),
    st.sampled_from([(2, 3), (2, 3, 1), (2, 1, 3), (6,)]),
    elements=st.integers(0, 3),
)


@drawn
@given(NUMBERS, NUMBERS)
def test_no_matrix_follows_from_what_is_no_pair_of_label_maps(truth, guess):
    fits = truth.shape == guess.shape and "f" not in truth.dtype.kind + guess.dtype.kind
    if fits and max(truth.max(), guess.max()) < 3:
        assert evaluation.confusion_matrix(truth, guess, 3).sum() == truth.size
    else:
        with pytest.raises(ValueError, match="must be equal|expected"):
            evaluation.confusion_matrix(truth, guess, 3)


@drawn
@given(
    hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=4), elements=st.floats(-1, 9)),
    st.sampled_from([0, 1, np.nan, np.inf]),
)
def test_no_score_follows_from_what_is_no_matrix_of_counts(matrix, added):
    matrix = matrix + added
    counts = matrix.ndim > 1 and np.isfinite(matrix).all() and matrix.min() >= 0
    rows, columns = matrix.shape[-2:] if matrix.ndim > 1 else (0, 0)
    for fits, function in (
        (rows == columns, evaluation.scores),
        (
            rows == 3 and columns > 1 and columns < 4,
            lambda m: evaluation.pooled_binary_scores(m, (0, 1, 0)),
        ),
    ):
        if counts and fits:
            for values in function(matrix).values():
                assert -1e-9 <= np.min(values) and np.max(values) <= 1 + 1e-9
        else:
            with pytest.raises(ValueError, match="expected"):
                function(matrix)


@drawn
@given(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 100)), st.integers(0, 9))
def test_a_bootstrap_interval_is_the_same_every_time_and_among_the_values(values, seed):
    def interval(values):
        return evaluation.bootstrap_interval(values, lambda s: s / len(values), 50, seed)

    low, high = interval(values)
    assert (low, high) == interval(values)
    assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9
    for wrong in (values[:0], values * np.nan):
        with pytest.raises(ValueError, match="expected one or more, and finite values"):
            interval(wrong)


# ---------------------------------------------------------------------------------- augmentation


@st.composite
def pictures(draw, smallest=1):
    """Noisy images (B, H, W, 3) and masks (B, H, W, 1), whose values differ from one to the
    next."""
    shape = draw(st.tuples(st.integers(1, 3), *[st.integers(smallest, 40)] * 2))
    rng = np.random.default_rng(draw(st.integers(0)))
    values = rng.integers(0, 256, (shape[0], 3), np.uint8)
    masks = np.stack([rng.choice(own, (*shape[1:], 1)) for own in values])
    return rng.integers(0, 256, (*shape, 3), np.uint8), masks


@each_augmentation
@drawn
@given(pictures(), SEEDS)
def test_augmentation_keeps_the_form_and_adds_no_mask_value(function, batch, seed):
    images, masks = (part.numpy() for part in function(*batch, seed))
    for before, after in zip(batch, (images, masks)):
        assert after.shape == before.shape and after.dtype == np.uint8
    for before, after in zip(batch[1], masks):
        assert set(np.unique(after)) <= set(np.unique(before))
    for first, second in zip((images, masks), function(*batch, seed)):
        np.testing.assert_array_equal(first, second)


NOT_RAW = {
    "0..1": lambda images: images / 255,
    "0..1, float16": lambda images: (images / 255).astype("float16"),
    "0..1, overshot by a resize": lambda images: images / np.float32(250),
    "-1..1": lambda images: images / 127.5 - 1,
    "NaN": lambda images: images * np.float32(np.nan),
    "infinite": lambda images: images.astype("float32") + np.inf,
    "16 bits": lambda images: images.astype("uint16") * 257,
    "grey": lambda images: images[..., :1],
    "RGBA": lambda images: images[..., [0, 1, 2, 0]],
    "no batch": lambda images: images[0],
    "no channels": lambda images: images[..., 0],
    "bool": lambda images: images > 99,
}
NOT_BYTES = {kind: lambda images, kind=kind: images.astype(kind) for kind in ("f2", "f4", "i4")}
NO_MASKS = {
    "a pixel off": lambda masks: masks[:, 1:],
    "half the size": lambda masks: masks[:, ::2, ::2],
    "one too few": lambda masks: masks[1:],
    "no channel": lambda masks: masks[..., 0],
    "one-hot": lambda masks: masks[..., [0, 0, 0]],
    "float": lambda masks: masks.astype("float32"),
    "bool": lambda masks: masks > 0,
}


@pytest.mark.parametrize("case", [*NOT_RAW, *NOT_BYTES])
@drawn
@given(pictures(smallest=5))
def test_images_that_would_come_out_wrong_are_refused(case, batch):
    images = {**NOT_RAW, **NOT_BYTES}[case](batch[0])
    of_a_kind = case in ("grey", "RGBA")  # there are networks for them
    for function in () if of_a_kind else (augment, albumentations_augment):
        with pytest.raises(ValueError, match="^The images are"):
            function(images, batch[1], (1, 2))
    if case in NOT_RAW:
        with pytest.raises(ValueError, match="^The images (are|hold)"):
            evaluation.predict(oracle(3), images)


@pytest.mark.parametrize("case", NO_MASKS)
@drawn
@given(pictures(smallest=5))
def test_masks_that_do_not_fit_their_images_are_refused(case, batch):
    for function in (augment, albumentations_augment):
        with pytest.raises(ValueError, match="^The (masks are|images have the shape)"):
            function(batch[0], NO_MASKS[case](batch[1]), (1, 2))


GREYS = np.array([40, 120, 200], np.uint8)  # in which an image shows each class
NOISE = np.random.default_rng(0).normal(size=(8, 64, 96))
SMOOTH = np.stack([gaussian_filter(one, 9) for one in NOISE])
EDGES = np.quantile(SMOOTH, [1 / 3, 2 / 3], axis=(1, 2))[..., None, None]
BLOBS = (SMOOTH > EDGES).sum(0).astype(np.uint8)[..., None]  # (8, 64, 96, 1), large ones


@each_augmentation
@drawn
@given(SEEDS)
def test_image_and_mask_move_together(function, seed):
    images, masks = function(np.repeat(GREYS[BLOBS], 3, axis=-1), BLOBS, seed)
    for image, mask in zip(images.numpy().mean(axis=-1), masks.numpy()[..., 0]):
        inside = maximum_filter(mask, 5) == minimum_filter(mask, 5)
        there = np.unique(mask[inside])
        greys = [np.median(image[inside & (mask == number)]) for number in there]
        assert sorted(greys) == greys and inside.mean() > 0.3
        # What class the image's grey says; noise may mislead it here and there.
        seen = there[np.abs(image[..., None] - greys).argmin(axis=-1)]
        assert (seen == mask)[inside].mean() > 0.99
