"""Uncertainty by mirroring and by occlusion, with models whose answer is known."""

import numpy as np
import pytest

from helpers import error_analysis
from tests.tiny import Model

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), np.uint8)
BRIGHT = Model(lambda images: (images[..., :1] - 127.0) / 8)  # by each pixel; the same mirrored
LEFT = Model(lambda images: images[..., :1] * 0.0 + np.where(np.arange(24) < 12, 9, -9)[:, None])
# all of the image is the first class where its top left corner is bright
CORNER = Model(
    lambda images: images[..., :1] * 0.0 + images[:, :4, :4].mean((1, 2, 3), keepdims=True) - 250
)


def test_mirroring_changes_nothing_or_all():
    probabilities, uncertainty = error_analysis.flip_uncertainty(BRIGHT, IMAGES)
    assert np.allclose(uncertainty, 0)
    assert np.array_equal(probabilities[..., 0] > 0.5, IMAGES[..., 0] > 127)
    probabilities, uncertainty = error_analysis.flip_uncertainty(LEFT, IMAGES)
    assert uncertainty.min() > 0.99 and uncertainty.max() <= 1
    assert np.allclose(probabilities, 0.5)


def test_a_decision_depends_on_what_it_was_made_from():
    image = np.full((16, 24, 3), 255, np.uint8)
    heat = error_analysis.occlusion_map(CORNER, image, (15, 23), patch=4, stride=2)
    assert heat.shape == (16, 24) and 0.9 < heat[:2, :2].min() and heat.max() <= 1
    assert not heat[8:].any() and not heat[:, 8:].any()
    local = error_analysis.occlusion_map(BRIGHT, image, (10, 19), patch=4, stride=2)
    assert local[10, 19] == local.max() > 0
    assert np.argwhere(local).min(axis=0).tolist() == [8, 16]
    assert np.argwhere(local).max(axis=0).tolist() == [13, 21]


@pytest.mark.parametrize(
    "image, pixel, patch, stride, message",
    [
        (IMAGES[0], (16, 0), 4, 2, r"pixel=\(16, 0\): expected \(y, x\) inside .* 16x24"),
        (IMAGES[0], (0, 0), 4, 5, "stride <= patch"),
        (IMAGES[0], (0, 0), 0, 0, "1 or more"),
        (IMAGES[0] / 255, (0, 0), 4, 2, "multiply 0..1 by 255"),
        (IMAGES, (0, 0), 4, 2, r"expected numbers of shape \(B, H, W, 3\)"),
    ],
)
def test_what_gives_no_map_is_an_error(image, pixel, patch, stride, message):
    with pytest.raises(ValueError, match=message):
        error_analysis.occlusion_map(BRIGHT, image, pixel, patch, stride)
