"""Runs notebooks from top to bottom without a browser, printing what they print as they do.

    python -m tools.run_notebook notebooks/02_unet_from_scratch.ipynb
    python -m tools.run_notebook --save notebooks/*.ipynb
    python -m tools.run_notebook --scrub notebooks/*.ipynb

The kernel is this Python, its folder the notebook's. ``--save`` writes the outputs into the
notebook once it has run to its end; ``--memory 3`` fails where a notebook took more than 3 GB;
``--scrub`` runs nothing and tidies notebooks for a commit.
"""

import argparse
import base64
import io
import sys
import tempfile
from pathlib import Path

import nbformat
import PIL.Image
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from helpers import files

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


class PrintingClient(NotebookClient):
    """Prints a cell's text output while the cell still runs: nbclient itself stays silent."""

    def output(self, outputs, message, display_id, cell_index):
        content = message["content"]
        if message["msg_type"] == "stream" and content["name"] == "stdout":
            print(content["text"], end="", flush=True)
        return super().output(outputs, message, display_id, cell_index)


def run(path):
    """Runs a notebook and returns it with its outputs; the file is left as it is.

    Args:
        path: of an .ipynb file.

    Returns:
        nbformat.NotebookNode.

    Raises:
        CellExecutionError: a cell raised; its message holds the cell and the traceback.
        DeadKernelError: the kernel died, mostly for want of memory.
    """
    path = Path(path)
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.kernelspec = KERNEL
    client = PrintingClient(
        notebook,
        timeout=None,  # a training takes as long as it takes
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
    )
    # The kernel's own stderr holds TensorFlow's start-up log, and the reason if the kernel dies.
    with tempfile.TemporaryFile() as log:
        try:
            return client.execute(stderr=log)
        except DeadKernelError:
            log.seek(0)
            raise DeadKernelError(log.read().decode(errors="replace")[-2000:]) from None


def peak_memory():
    """The most memory that a kernel has held so far, GB; None on Windows, which does not tell."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e9


def scrub(notebook):
    """Takes out what is the machine's: stderr, and metadata of kernel and editor. Its figures get
    at most 256 colours, which makes the file a third as large."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = _joined([out for out in cell.outputs if out.get("name") != "stderr"])
            for out in cell.outputs:
                if "image/png" in out.get("data", {}):
                    out.data["image/png"] = _small_png(out.data["image/png"])
    return notebook


def _small_png(encoded):  # base64 -> base64
    image = PIL.Image.open(io.BytesIO(base64.b64decode(encoded)))
    if image.mode == "P":  # it was made small before
        return encoded
    small = io.BytesIO()
    palette = image.convert("RGB").quantize(256, dither=PIL.Image.Dither.NONE)
    palette.save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def _joined(outputs):
    """One text output for each run of them: a long training prints in many pieces."""
    joined = []
    for out in outputs:
        if joined and out.output_type == joined[-1].output_type == "stream":
            joined[-1].text += out.text
        else:
            joined.append(out)
    return joined


def _write(notebook, path):
    files.write(path, (nbformat.writes(notebook) + "\n").encode())


def main():
    parser = argparse.ArgumentParser(prog="python -m tools.run_notebook", description=__doc__)
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--save", action="store_true", help="keep the outputs in the notebook")
    parser.add_argument("--memory", type=float, metavar="GB", help="fail above that")
    parser.add_argument("--scrub", action="store_true", help="tidy for a commit; runs nothing")
    arguments = parser.parse_args()
    for path in arguments.notebooks:
        if not path.is_file():
            parser.error(f"{path} is no file: expected the path of an .ipynb notebook.")
        if arguments.scrub:
            _write(scrub(nbformat.read(path, as_version=4)), path)
            continue
        print(f"Running {path}", flush=True)
        try:
            notebook = run(path)
        except CellExecutionError as error:
            sys.exit(f"{path} stopped at an error:\n{error}")
        except DeadKernelError as error:
            sys.exit(
                f"{error}\n{path}: the kernel died. If nothing above says why, it was memory: "
                f"close other programs."
            )
        peak = peak_memory()
        if peak is not None:
            print(f"Peak memory: {peak:.1f} GB")
        if arguments.memory and peak and peak > arguments.memory:
            sys.exit(f"{path} took {peak:.1f} GB of memory: expected at most {arguments.memory}.")
        if arguments.save:
            _write(scrub(notebook), path)


if __name__ == "__main__":
    main()
