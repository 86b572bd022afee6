"""Uncertainty by mirroring and by occlusion, with models whose answer is known."""

import numpy as np
import pytest

from helpers import error_analysis

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype("float32")


class Bright:
    """Pet where the red channel is bright, whatever else; the same in the mirror."""

    def predict_on_batch(self, images):
        return (np.asarray(images)[..., :1] - 127) / 8


class Left(Bright):
    """Pet in the left half, whatever is there."""

    def predict_on_batch(self, images):
        logits = np.full((*np.shape(images)[:3], 1), -9.0)
        logits[:, :, : logits.shape[2] // 2] = 9
        return logits


class Corner(Bright):
    """The whole image is pet if its top left corner is bright."""

    def predict_on_batch(self, images):
        corner = np.asarray(images)[:, :4, :4].mean(axis=(1, 2, 3))
        return np.broadcast_to((corner - 250)[:, None, None, None], (len(images), 16, 16, 1))


def test_mirroring_changes_nothing_or_all():
    probabilities, uncertainty = error_analysis.flip_uncertainty(Bright(), IMAGES)
    assert np.allclose(uncertainty, 0)
    assert np.allclose(probabilities[..., 0] > 0.5, IMAGES[..., 0] > 127)
    probabilities, uncertainty = error_analysis.flip_uncertainty(Left(), IMAGES)
    assert uncertainty.min() > 0.99 and uncertainty.max() <= 1
    assert np.allclose(probabilities, 0.5)


def test_a_decision_hangs_on_what_it_was_made_from():
    image = np.full((16, 16, 3), 255, "float32")
    heat = error_analysis.occlusion_map(Corner(), image, (15, 15), patch=4, stride=2)
    assert heat.shape == (16, 16) and 0.9 < heat[:2, :2].min() and heat.max() <= 1
    assert not heat[8:].any() and not heat[:, 8:].any()
    local = error_analysis.occlusion_map(Bright(), image, (10, 3), patch=4, stride=2)
    assert np.argwhere(local).min(axis=0).tolist() == [8, 0] and local[10, 3] == local.max()
    assert not local[14:].any() and not local[:8].any()
    with pytest.raises(ValueError, match=r"pixel=\(16, 0\): expected \(y, x\) inside"):
        error_analysis.occlusion_map(Bright(), image, (16, 0))
