"""A page to try networks on photos, in the browser: mask, overlay, cut-out, certainty.

    python -m experiments.demo
    python -m experiments.demo --weights runs/mine/weights.safetensors

needs what is in experiments/demo-requirements.txt. The page is served to this machine alone, takes
photos of up to 50 MB, reads them as ``helpers.prediction`` does, and has forgotten them when it
ends, or after a quarter of an hour. Weights are named here; the page takes none.
"""

import argparse
import functools
import html
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from helpers import cutout, overlays, prediction, weights

SIDE = 2048  # of what is shown; `python -m helpers.prediction` works at the photo's own size
LIMIT = "50mb"  # an upload
KEPT = 15 * 60  # seconds, that files of the page's are kept
REMEDY = "python -m pip install -r experiments/demo-requirements.txt"
TITLE = "What each pixel shows"
WORDS = (
    f"Drop a photo, or take one with the camera. Pictures are at most {SIDE:,} pixels a side; "
    "`python -m helpers.prediction` writes them at the photo's own size. Photos stay on the "
    f"machine that serves this page, and are deleted after {KEPT // 60} minutes."
)
HEADINGS = ("Overlay", "Mask", "Cut-out", "Certainty: white sure, black a guess")


@functools.lru_cache(maxsize=2)
def opened(source):
    """A network, see ``weights.open_network``; the last ones stay in memory."""
    return weights.open_network(source)


def answer(path, source):
    """What the page shows of a photo.

    Args:
        path: of the photo.
        source: of the network, for ``weights.open_network``.

    Returns:
        overlay (H, W, 3) uint8; mask, PIL image, the class ids with the classes' colours; cut-out
        (H, W, 4) uint8, None where the labelling does not say what is background; certainty (H, W)
        uint8; and the classes' shares, name -> 0..1. At most ``SIDE`` pixels a side.

    Raises:
        OSError, ValueError: as ``prediction.read_photo``.
    """
    network, photo = opened(source), prediction.read_photo(path)
    shrink = SIDE / max(photo.shape)
    if shrink < 1:
        size = [max(1, round(side * shrink)) for side in photo.shape[1::-1]]
        photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    labelling, size = network.labelling, photo.shape[:2]
    chances = prediction.probabilities(network, photo)  # of the whole, also where tiles decide
    if prediction.is_whole(network):
        ids, found = prediction.decided(network, chances, size), chances
    else:
        ids = found = prediction.predict_photo(network, photo)
    mask = prediction.mask_picture(ids, labelling)
    guess = 1 / chances.shape[-1]
    sure = cv2.resize(np.float32((chances.max(axis=-1) - guess) / (1 - guess)), size[::-1])
    try:
        cut = cutout.cut_out(photo, found, cutout.roles(labelling))
    except (ModuleNotFoundError, ValueError):  # no PyMatting; or what the docstring says
        cut = None
    counts = np.bincount(ids.ravel(), minlength=len(labelling))
    shares = {name: float(n / ids.size) for name, n in zip(labelling.names, counts)}
    overlay = overlays.overlay(photo, ids, labelling)
    return overlay, mask, cut, np.rint(255 * sure).astype(np.uint8), shares


def page(sources):
    """The page, a ``gradio.Blocks``.

    Args:
        sources: what can be chosen, each for ``weights.open_network``; the first is chosen.
    """
    import gradio

    def respond(path, source):
        if path is None:
            return [None] * (len(HEADINGS) + 1)
        try:
            return answer(path, source)
        except (OSError, ValueError) as error:
            words = html.escape(str(error).replace(str(path), Path(path).name))
            raise gradio.Error(words, print_exception=False) from error

    with gradio.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(KEPT // 10, KEPT)
    ) as blocks:
        gradio.Markdown(f"# {TITLE}\n\n{WORDS}")
        with gradio.Row():
            with gradio.Column():
                # Compressed nowhere on its way, and not opened by Gradio: ``read_photo`` is.
                photo = gradio.Image(label="Photo", type="filepath", sources=["upload", "webcam"])
                photo.preprocess = lambda sent: sent and sent.path
                names = [(Path(source).name, str(source)) for source in sources]
                network = gradio.Dropdown(names, value=names[0][1], label="Network")
                shares = gradio.Label(label="Share of the picture", show_heading=False)
            with gradio.Column(scale=2):
                pictures = []
                for pair in (HEADINGS[:2], HEADINGS[2:]):
                    with gradio.Row():
                        for heading in pair:
                            options = {"format": "png", "buttons": ["download", "fullscreen"]}
                            options |= {"label": heading, "alt_text": heading}
                            pictures.append(gradio.Image(interactive=False, **options))
        gradio.on(
            [photo.input, network.input],
            respond,
            [photo, network],
            [*pictures, shares],
            concurrency_limit=1,
            api_visibility="private",
        )
    return blocks


def serve(sources=(prediction.WEIGHTS,), **options):
    """Serves the page, to this machine alone.

    Args:
        sources: see ``page``.
        options: more of ``gradio.Blocks.launch``.

    Raises:
        ImportError: there is no Gradio, or one that is too old; says how to install it.
    """
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise ImportError(f"Gradio is not installed: {REMEDY}") from error
    if int(gradio.__version__.split(".")[0]) < 6:  # Colab's
        raise ImportError(f"Gradio {gradio.__version__} is too old for this page: {REMEDY}")
    # Fonts of the system: the usual ones are fetched from elsewhere.
    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    safe = {"server_name": "127.0.0.1", "share": False, "max_file_size": LIMIT}
    look = {"theme": theme, "footer_links": []}
    return page(sources).launch(**{**safe, **look, **options})


def main():
    parser = argparse.ArgumentParser(prog="python -m experiments.demo")
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="FILE",
        help="more networks to choose from: .safetensors or .keras files, or folders of them",
    )
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    options = parser.parse_args()
    # Gradio keeps photos where temporary files are; it asks when it is imported.
    with tempfile.TemporaryDirectory(prefix="demo_") as folder:
        tempfile.tempdir = folder
        try:
            sources = _sources(options.weights)
            opened(sources[0])
            serve(sources, server_port=options.port)
        except (ImportError, OSError, ValueError) as error:
            sys.exit(str(error))
        finally:
            tempfile.tempdir = None


def _sources(given):
    own = []
    for path in map(Path, given):
        own += sorted(path.rglob("*" + weights.SUFFIX)) if path.is_dir() else [path]
    for path in own:
        weights.open_network(path)  # a file that is none is said now, not on the page
    published = sorted(path.stem for path in weights.FOLDER.glob("*" + weights.SUFFIX))
    exported = Path(prediction.WEIGHTS).stem
    return [*own, prediction.WEIGHTS, *(name for name in published if name != exported)]


if __name__ == "__main__":
    main()
