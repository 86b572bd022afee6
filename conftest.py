"""Settings for every test, in tests/ and in the notebooks, which nbval runs cell by cell."""

import os
import time
from queue import Empty

from nbval.kernel import RunningKernel

# A test run is short and needs no network; a test that is about these sets them itself.
os.environ["PETS_PROFILE"] = "smoke"
os.environ["PETS_DATA"] = "synthetic"

_get_message = RunningKernel.get_message


def get_message(kernel, stream, timeout=None):
    """As nbval's, but gives up within a second when the kernel has died, which nbval itself
    notices only after the cell's whole time-out."""
    end = time.monotonic() + (float("inf") if timeout is None else float(timeout))
    while True:
        try:
            return _get_message(kernel, stream, timeout=1)
        except Empty:
            if not kernel.is_alive():
                raise RuntimeError("The notebook's kernel died: out of memory?") from None
            if time.monotonic() > end:
                raise


RunningKernel.get_message = get_message
