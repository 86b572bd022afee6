"""Outlines and distances, by hand and against SciPy."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from helpers import boundaries
from helpers.classes import VOID

RNG = np.random.default_rng(5)


def blobs(kinds):
    return np.kron(kinds[RNG.integers(0, len(kinds), (5, 8))], np.ones((8, 8), int))


def test_an_outline_by_hand():
    mask, void = np.zeros((2, 5, 6), bool)
    mask[:, :4] = True  # four columns
    assert np.argwhere(boundaries.outline(mask))[:, 1].tolist() == [3] * 5
    assert not boundaries.outline(np.ones((4, 6), bool)).any()  # the image's edge is none
    void[:3, 4] = True  # nor is void's
    assert np.argwhere(boundaries.outline(mask, void)).tolist() == [[3, 3], [4, 3]]
    void[:, 3] = True  # nor do void pixels belong to one
    assert not boundaries.outline(mask, void).any()


def test_near_is_a_distance_of_at_most_the_width():
    for _ in range(5):
        truth, guess = (blobs(np.array([0, 1])) > 0 for _ in range(2))
        lines = [boundaries.outline(mask) for mask in (truth, guess)]
        near = [distance_transform_edt(~line) <= boundaries.OUTLINE_WIDTH for line in lines]
        expected = [lines[1] & near[0], lines[1], lines[0] & near[1], lines[0]]
        counts = boundaries.outline_counts(truth, guess)
        assert counts.tolist() == [np.sum(part) for part in expected]


def test_the_boundary_f_score_of_moved_and_missing_regions():
    square, empty = np.zeros((2, 32, 48), bool)
    square[8:20, 8:20] = True
    near, off = np.roll(square, 2, axis=1), np.roll(square, 3, axis=1)
    pairs = (square, square), (empty, empty), (square, near), (square, empty), (empty, square)
    scores = boundaries.outline_f([boundaries.outline_counts(*pair) for pair in pairs])
    assert scores.tolist() == [1, 1, 1, 0, 0]
    assert 0 < boundaries.outline_f(boundaries.outline_counts(square, off)) < 1
    # precision 1 of 2, recall 1 of 4: harmonic mean 1/3
    np.testing.assert_allclose(boundaries.outline_f([1, 2, 1, 4]), 1 / 3)


def test_errors_are_counted_by_distance_from_the_nearest_change():
    mask = blobs(np.array([0, 1, 2, VOID]))
    counted = mask != VOID
    wrong = counted & (RNG.random(mask.shape) < 0.2)
    change = np.zeros(mask.shape, bool)
    for y, x in np.ndindex(mask.shape):
        pairs = {mask[y, x], mask[max(0, y - 1), x]}, {mask[y, x], mask[y, max(0, x - 1)]}
        change[y, x] = any(len(pair) == 2 and VOID not in pair for pair in pairs)
    far = distance_transform_edt(~change)
    counts = boundaries.distance_counts(mask[None], counted[None], wrong[None])
    edges = [0, *boundaries.DISTANCES, np.inf]
    for row, low, high in zip(counts, edges, edges[1:]):
        inside = counted & (far >= low) & (far < high)
        assert row.tolist() == [inside.sum(), (inside & wrong).sum()]
    alone = np.ones((1, 6, 9), int)
    lone = boundaries.distance_counts(alone, alone > 0, alone > 0)
    assert lone[-1].tolist() == [54, 54] and lone.sum() == 108
