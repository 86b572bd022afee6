"""Outlines and distances, by hand and against SciPy."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from helpers import boundaries
from helpers.classes import VOID

RNG = np.random.default_rng(5)


def blobs(height=40, width=64):
    return np.kron(RNG.random((height // 8, width // 8)), np.ones((8, 8))) > 0.5


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
        truth, guess = blobs(), blobs()
        lines = [boundaries.outline(mask) for mask in (truth, guess)]
        far = [distance_transform_edt(~line) for line in lines]
        near = [distance <= boundaries.OUTLINE_WIDTH for distance in far]
        expected = [lines[1] & near[0], lines[1], lines[0] & near[1], lines[0]]
        counts = boundaries.outline_counts(truth, guess)
        assert counts.tolist() == [np.sum(part) for part in expected]


def test_the_boundary_f_score_of_moved_and_missing_regions():
    def f(truth, guess):
        return float(boundaries.outline_f(boundaries.outline_counts(truth, guess)))

    square, empty = np.zeros((2, 32, 48), bool)
    square[8:20, 8:20] = True
    assert f(square, square) == 1 and f(empty, empty) == 1
    assert f(square, empty) == 0 and f(empty, square) == 0
    assert f(square, np.roll(square, 2, axis=1)) == 1  # two pixels off is near
    assert 0 < f(square, np.roll(square, 3, axis=1)) < 1
    # precision 1 of 2, recall 1 of 4: harmonic mean 1/3
    assert boundaries.outline_f([1, 2, 1, 4]) == pytest.approx(1 / 3)


def test_errors_are_counted_by_distance_from_the_nearest_change():
    ids = np.array([0, 1, 2, VOID])
    mask = np.kron(ids[RNG.integers(0, 4, (4, 6))], np.ones((10, 10), int))
    counted = mask != VOID
    wrong = counted & (RNG.random(mask.shape) < 0.2)
    change = np.zeros(mask.shape, bool)
    for y, x in np.ndindex(mask.shape):
        others = {mask[y, x], mask[max(0, y - 1), x]}, {mask[y, x], mask[y, max(0, x - 1)]}
        change[y, x] = any(len(pair) == 2 and VOID not in pair for pair in others)
    far = distance_transform_edt(~change)
    counts = boundaries.distance_counts(mask[None], counted[None], wrong[None])
    edges = [0, *boundaries.DISTANCES, np.inf]
    for row, low, high in zip(counts, edges, edges[1:]):
        inside = counted & (far >= low) & (far < high)
        assert row.tolist() == [inside.sum(), (inside & wrong).sum()]
    alone = np.ones((1, 6, 9), int)
    lone = boundaries.distance_counts(alone, alone > 0, alone > 0)
    assert lone[-1].tolist() == [54, 54] and lone.sum() == 108
