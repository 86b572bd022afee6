"""TensorFlow's segmentation tutorial (https://www.tensorflow.org/tutorials/images/segmentation),
written from its description.

Kept as it is there: pixels scaled to [0, 1] although MobileNetV2 expects [-1, 1], images resized
without antialiasing and cached as float32, a shuffle over 1,000 images, a flip as the only
augmentation, the frozen encoder, the pix2pix decoder, Adam at 1e-3, cross-entropy, batches of 64.
Changed: it validates on the test split; here it trains on our training split, like ours.
"""

import keras
import tensorflow as tf
from keras import layers

from helpers import datasets
from helpers.classes import PETS
from helpers.models import mobilenetv2_encoder, upsample

SIZE = 128
BATCH = 64
BUFFER = 1000
EPOCHS = 20
WIDTHS = (512, 256, 128, 64)


def batches(pets, split, training):
    """Batches of images (64, 128, 128, 3) float32, 0..1, and masks (64, 128, 128, 1) uint8."""
    examples = datasets.read_records(pets, split).map(_load, num_parallel_calls=tf.data.AUTOTUNE)
    if not training:
        return examples.batch(BATCH)
    flip = Flip()
    return (
        examples.cache()
        .shuffle(BUFFER, seed=42)
        .batch(BATCH)
        .repeat()
        .map(lambda images, masks: flip(images, masks))
        .prefetch(buffer_size=tf.data.AUTOTUNE)
    )


def model(weights="imagenet"):
    """The tutorial's network, compiled."""
    encoder = mobilenetv2_encoder((SIZE, SIZE), weights=weights)
    encoder.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3))
    *skips, x = encoder(inputs)
    for width, skip in zip(WIDTHS, reversed(skips)):
        x = layers.Concatenate()([upsample(width, 3)(x), skip])
    logits = layers.Conv2DTranspose(len(PETS), 3, strides=2, padding="same")(x)
    network = keras.Model(inputs, logits)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss, metrics=["accuracy"])
    return network


class Flip(layers.Layer):
    """Flips image and mask alike, by two layers of the same seed."""

    def __init__(self, seed=42):
        super().__init__()
        self.images = layers.RandomFlip("horizontal", seed=seed)
        self.masks = layers.RandomFlip("horizontal", seed=seed)

    def call(self, images, masks):
        return self.images(images), self.masks(masks)


def _load(record):
    image = tf.io.decode_jpeg(record["image"], channels=3)
    mask = tf.io.decode_png(record["segmentation_mask"], channels=1)
    image = tf.image.resize(image, (SIZE, SIZE))
    mask = tf.image.resize(mask, (SIZE, SIZE), method="nearest")
    return tf.cast(image, tf.float32) / 255.0, mask - tf.constant(1, tf.uint8)
