"""ImageNet weights for networks of keras.applications: found or fetched, and opened.

Keras would do both by itself, but it tries for minutes where there is no network, reads a folder
only where it may write, and says of a damaged file neither its path nor what to do.
"""

import os
import zipfile

import keras
import numpy as np

from helpers import downloads, run_mode

HOST = "https://storage.googleapis.com/tensorflow/keras-applications/"


def load_imagenet(model, files):
    """Loads ImageNet weights from one of several files that serve.

    Args:
        model: from ``keras.applications``, without its classifier.
        files: their paths below ``HOST``, the best first; that one is fetched where there is none.

    Raises:
        FileNotFoundError: there is none, and the best one cannot be fetched.
        NotADirectoryError: Keras's folder is a file.
        ValueError: the file is damaged, or of another network.
    """
    names = [file.rsplit("/", 1)[-1] for file in files]
    found = [
        path
        for name in names
        for home in run_mode.keras_homes()
        if os.path.isfile(path := home / "models" / name)
    ]
    if found and found[0].name != names[0]:
        print(f"ImageNet weights: {found[0]}, as {names[0]} is not there; they fit any size.")
    path = found[0] if found else _fetch(HOST + files[0], names[0])
    load(model, path, remedy="Delete it and run again: it is then fetched anew.")


def load(model, path, remedy="Fetch it again, or pass another."):
    """Loads weights from a file in one of Keras's formats.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or of another network.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no weights file {path}.")
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} does not hold weights of {model.name}. It may have been cut off, or be a web "
            f"page or of another network ({error}). {remedy}"
        ) from error


def copy(source, target):
    """Copies weights to a network that takes images of another number of channels.

    In the first layer, channels take the kernels of red, green and blue in turns, each divided by
    how many channels share it; one or two channels share the sum of all three. So a grey image is
    seen as before.

    Args:
        source: keras.Model that takes RGB.
        target: the same network, for images of other channels.
    """
    for old, new in zip(source.weights, target.weights):
        value = np.asarray(old)
        if value.shape != tuple(new.shape):
            channels = new.shape[2]
            color = np.arange(channels) % 3
            alone = value[:, :, color] / np.bincount(color)[color, None]
            shared = value.sum(axis=2, keepdims=True).repeat(channels, axis=2) / channels
            value = alone if channels >= 3 else shared
        new.assign(value)


def _fetch(url, name):
    home = run_mode.keras_homes()[0]
    try:
        home.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            f"Keras keeps weights in the folder {home}, but that is a file, or lies in one: set "
            f"KERAS_HOME to a folder."
        ) from error
    except OSError:
        pass  # not ours to write: get_file takes the other folder
    failure = "their host does not answer"
    if downloads.host_answers(url):
        try:
            path = keras.utils.get_file(name, url, cache_dir=home, cache_subdir="models")
            print(f"ImageNet weights: downloaded to {path}")
            return path
        except Exception as error:  # what get_file itself raises where the host refuses
            failure = f"fetching them failed ({error})"
    raise FileNotFoundError(
        f"The ImageNet weights are not in {home / 'models' / name} and {failure}. Put {url} there "
        f"and run again: no network is needed then. Or pass weights=None to start from random "
        f"weights."
    )
