"""Elastic deformations, for tissue and cells, beside what ``helpers.augmentation`` does."""

import cv2
import numpy as np

from helpers.augmentation import augment, by_numpy

GRID = 3  # points a side that are moved
MOVE = 10.0  # pixels, the standard deviation


def elastic_augment(images, masks, seed):
    """As ``augmentation.augment``, and then a smooth deformation of each image and its mask, as in
    the U-Net paper (Ronneberger et al., 2015): points of a coarse grid are moved at random, and
    what lies between is interpolated.
    """
    return by_numpy(deform, *augment(images, masks, seed), seed)


def deform(images, masks, seed):
    """The deformation alone, of NumPy arrays."""
    rng = np.random.default_rng(np.asarray(seed).astype(np.uint64))
    height, width = images.shape[1:3]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    images, masks = images.copy(), masks.copy()
    for image, mask in zip(images, masks):
        moves = rng.normal(0, MOVE, (GRID, GRID, 2)).astype(np.float32)
        moves = cv2.resize(moves, (width, height), interpolation=cv2.INTER_CUBIC)
        places = columns + moves[..., 0], rows + moves[..., 1]
        for pixels, how in ((image, cv2.INTER_LINEAR), (mask, cv2.INTER_NEAREST)):
            moved = cv2.remap(pixels, *places, how, borderMode=cv2.BORDER_REFLECT_101)
            pixels[:] = moved.reshape(pixels.shape)
    return images, masks
