"""Runs each notebook as Colab does, with Colab's packages: make colab

A notebook starts alone in an empty folder. Its Setup cell clones this repository, as it is
committed, and installs what Colab lacks; nothing that is installed may change but these.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINS = ROOT / "tools/colab-requirements.txt"
DELTA = {"importlib-resources", "tensorflow-metadata"}  # all that Setup may add or change
LATER = {"pymatting"}  # what another cell may add

# Colab's kernel has loaded this module before the first cell runs; Setup looks for it.
STARTUP = "import sys, types\nsys.modules['google.colab'] = types.ModuleType('google.colab')\n"


def python(*arguments, **settings):
    return subprocess.run([sys.executable, *map(str, arguments)], **settings).returncode


def installed():
    """All packages of this environment: dict, name -> version."""
    return {dist.name.lower().replace("_", "-"): dist.version for dist in metadata.distributions()}


def run(path):
    """Runs a notebook; returns what went wrong as a list of sentences, empty if nothing did."""
    python("-m", "pip", "uninstall", "-qq", "--yes", *DELTA, *LATER, check=True)
    python("-m", "pip", "install", "-qq", "-r", PINS, check=True)
    before = installed()
    with tempfile.TemporaryDirectory() as folder:
        startup, content = Path(folder, "ipython/profile_default/startup"), Path(folder, "content")
        startup.mkdir(parents=True)
        (startup / "colab.py").write_text(STARTUP)
        content.mkdir()
        environment = {
            "IPYTHONDIR": f"{folder}/ipython",
            "TFDS_DATA_DIR": f"{folder}/data",
            "UNET_PETS_REPO": ROOT.as_uri(),
            "PETS_DATA": "synthetic",
            "PETS_PROFILE": "smoke",
        }
        status = python(
            *("-m", "tools.run_notebook", shutil.copy(path, content)),
            cwd=ROOT,
            env={**os.environ, **environment},
        )
    faults = [f"{path.name} stopped at an error, see above."] if status else []
    after = installed()
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    if changed - LATER != DELTA:
        faults.append(f"{path.name}: it changed {sorted(changed)}, expected {sorted(DELTA)}.")
    if python("-c", "import helpers, tensorflow, tensorflow_datasets", cwd=ROOT):
        faults.append(f"After {path.name}, TensorFlow or TensorFlow Datasets cannot be imported.")
    return faults


def main():
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    faults = [fault for path in notebooks for fault in run(path)]
    print(f"Colab: {len(notebooks)} notebooks, {len(faults)} faults", *faults, sep="\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
