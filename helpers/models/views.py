"""A network that looks twice."""

import keras
from keras import layers


def mirrored(model):
    """The mean of a network's logits for an image and for its mirror image, mirrored back: a
    little more accurate, in twice the time. The weights are the network's own, not copies.

    Args:
        model: keras.Model, images (B, H, W, channels) -> logits (B, H, W, C).

    Returns:
        keras.Model of the same input and output.
    """
    images = keras.Input(model.input_shape[1:], name="image", dtype=model.inputs[0].dtype)
    back = Flip(name="mirror_back")(model(Flip(name="mirror")(images)))
    logits = layers.Average(dtype="float32", name="mean")([model(images), back])
    return keras.Model(images, logits, name=model.name)


@keras.saving.register_keras_serializable("unet_pets")
class Flip(layers.Layer):
    """Left and right change places."""

    def call(self, x):
        return keras.ops.flip(x, axis=2)
