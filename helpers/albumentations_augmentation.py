"""Augmentation by Albumentations (Buslaev et al., Information 2020,
https://doi.org/10.3390/info11020125), as another choice beside ``helpers.augmentation``.

Its transforms know masks: what moves pixels moves both, the mask by nearest neighbour; what
changes colours leaves the mask alone. They are NumPy and OpenCV, one image at a time, so tf.data
runs them in threads of its own while the model trains.
"""

import os
import threading

import numpy as np

from helpers.augmentation import by_numpy, check_batch

# Albumentations asks its server for a newer version when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A  # noqa: E402
import cv2  # noqa: E402

_threads = threading.local()


def transform():
    """Flip, shift-scale-rotate, colours, a little noise: an ``albumentations.Compose``.

    About as strong as ``helpers.augmentation``: 0.67 to 1.1 of the side is visible.
    """
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Affine(
                scale=(0.9, 1.5),
                translate_percent=(-0.1, 0.1),
                rotate=(-15, 15),
                border_mode=cv2.BORDER_REFLECT_101,
                p=1.0,
            ),
            A.ColorJitter(brightness=0.15, contrast=0.25, saturation=0.4, hue=0.0, p=1.0),
            A.GaussNoise(std_range=(0.0, 0.03), p=0.3),
        ]
    )


def albumentations_augment(images, masks, seed):
    """As ``augmentation.augment``: the same seed gives the same version, in any thread.

    Args:
        images: (B, H, W, 3) uint8, 0..255.
        masks: (B, H, W, 1) uint8 class ids.
        seed: (2,) integer tensor.

    Returns:
        images (B, H, W, 3) uint8 and masks (B, H, W, 1) uint8, moved together.

    Raises:
        ValueError: see ``augmentation.check_batch``.
    """
    return by_numpy(_change, *check_batch(images, masks), seed)


def _change(images, masks, seed):
    if not hasattr(_threads, "transform"):  # a transform holds its random state: one a thread
        _threads.transform = transform()
    _threads.transform.set_random_seed(int(seed[0]) % 2**32)
    both = [_threads.transform(image=image, mask=mask) for image, mask in zip(images, masks)]
    return np.stack([one["image"] for one in both]), np.stack([one["mask"] for one in both])
