"""Synthetic pets: a stand-in for TFDS ``oxford_iiit_pet`` where there is no network.

``SyntheticPets`` is a TFDS builder with the features and label names of ``oxford_iiit_pet:4.0.0``
and 400 training and 100 test examples, each drawn by ``draw_pet`` from a seed of its own. It lets
the whole pipeline run, from reading to figures, without a download.

It is not a benchmark: the pictures are illustrations, drawn and not photographed, and a score on
them says nothing about photographs.

How a picture comes about: a scene (room or garden) is drawn as flat shapes, then lit; so is the
pet, whose parts (outlines in head radii) come from one of six poses. Each part is added to a
silhouette too, and the trimap is computed from that silhouette alone.
"""

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from helpers.datasets.synthetic_pets.painting import lit, paint, texture
from helpers.datasets.synthetic_pets.pet import BREEDS, LOOKS, make_coat, paint_face, paint_fur
from helpers.datasets.synthetic_pets.poses import choose_pose, fit, head_parts, place_head
from helpers.datasets.synthetic_pets.scene import paint_place

SPLIT_SIZES = {"train": 400, "test": 100}


class SyntheticPets(tfds.core.GeneratorBasedBuilder):
    """Synthetic pets with the features of ``oxford_iiit_pet:4.0.0``."""

    VERSION = tfds.core.Version("1.0.0")  # of the drawings: their seeds follow from it
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self):
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=BREEDS),
            "species": tfds.features.ClassLabel(names=["Cat", "Dog"]),
            "file_name": tfds.features.Text(),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1), use_colormap=True),
            "head_bbox": tfds.features.BBoxFeature(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Synthetic (drawn) pets with the features of oxford_iiit_pet.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in SPLIT_SIZES}

    def _generate_examples(self, split):
        for index in range(SPLIT_SIZES[split]):
            yield index, example(split, index)


def draw_pet(rng, label, alpha=False):
    """Draws one example.

    Args:
        rng: ``np.random.Generator``; the same state gives the same picture.
        label: index into ``BREEDS``.
        alpha: whether to return a matte, too.

    Returns:
        image (H, W, 3) uint8, trimap (H, W, 1) uint8 with the values of ``PETS.ids``, and the
        head's box as (ymin, xmin, ymax, xmax) in 0..1.

        With ``alpha`` also the matte (H, W) float32 in 0..1, soft along the fur and with whiskers,
        and the colours (H, W, 3) uint8 of the foreground, black where there is none, and of the
        background with the pet's shadow. ``foreground * matte + background * (1 - matte)`` is the
        image to within 3 levels of 255; but where strong light takes the colours of soft pixels
        to 255 (3 pixels in 10,000), it may differ by up to 40.
    """
    look, cat = LOOKS[BREEDS[label]].split(), BREEDS[label][0].isupper()
    pose, size = choose_pose(rng, look[4])
    collar = not pose.asleep and rng.random() < 0.45
    head = head_parts(rng, cat, look[3], look[4], collar)
    to_picture, scale = fit(rng, pose, head, size)
    coat = make_coat(rng, look, size)
    scene = paint_place(rng, size, pose, to_picture, [coat.main, coat.second])
    from_head, from_face = place_head(rng, pose, to_picture)
    # RGBX, because Pillow would not weight the first colour that is pasted on a clear RGBA pixel.
    pictures = [scene.copy()] + [Image.new("RGBX", size)] * alpha

    def put(outlines, colour, opacity=255):
        paint(pictures, [from_face(outline) for outline in outlines], colour, opacity)

    parts = [(role, to_picture(outline)) for role, outline in pose.body]
    parts += [(r, from_face(o) if r == "muzzle" else from_head(o)) for r, o in head]
    parts += [(role, to_picture(outline)) for role, outline in pose.front]
    trimap = paint_fur(rng, pictures, parts, coat, scale)
    paint_face(rng, put, cat, coat, pose.asleep, collar)
    corners = np.concatenate([from_head(o) for role, o in head if role in ("head", "ear")]) / size
    left, top, right, bottom = np.clip([corners.min(0), corners.max(0)], 0, 1).ravel().tolist()
    light = daylight(rng, size)
    drawn = lit(pictures[0], light), trimap, (top, left, bottom, right)
    return (*drawn, *decomposed(pictures[1], scene, light)) if alpha else drawn


def decomposed(pet, scene, light):
    """Matte, foreground and background, see ``draw_pet``. ``pet`` (RGBX) is painted on nothing:
    its fourth band is the opacity, and its colours are weighted by it."""
    weighted = np.asarray(pet, np.float32)
    matte = weighted[..., 3:] / 255
    foreground = weighted[..., :3] / np.maximum(matte, 1 / 255)
    return matte[..., 0], lit(foreground, light), lit(scene, light)


def daylight(rng, size):
    """Light (H, W, 3) float32 from one side, with darker corners, a tint and a little noise."""
    x = np.linspace(-1, 1, size[0], dtype=np.float32)
    y = np.linspace(-1, 1, size[1], dtype=np.float32)[:, None]
    light = rng.uniform(0.98, 1.14) - rng.uniform(-0.12, 0.12) * x - 0.07 * (x * x + y * y)
    light = light + 0.02 * texture(rng, size, (1, 1))
    warm = rng.uniform(-0.05, 0.05)
    return np.stack([light * (1 + warm), light, light * (1 - warm)], -1)


def example(split, index):
    """One example of a split, as the builder's features encode it."""
    number = index + (0 if split == "train" else SPLIT_SIZES["train"])
    rng = np.random.default_rng([*SyntheticPets.VERSION.tuple, number])
    label = number % len(BREEDS)
    image, mask, box = draw_pet(rng, label)
    return {
        "image": encoded(image, "JPEG", quality=92),
        "label": label,
        "species": int(BREEDS[label][0].islower()),
        "file_name": f"{BREEDS[label]}_{number // len(BREEDS) + 1:03d}.jpg",
        "segmentation_mask": encoded(mask[..., 0], "PNG"),
        "head_bbox": tfds.features.BBox(*(box if split == "train" else (0.0, 0.0, 0.0, 0.0))),
    }


def encoded(array, form, **options):
    """The bytes of an image file: encoding here spares TFDS a detour through TensorFlow."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()
