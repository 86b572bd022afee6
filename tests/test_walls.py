"""Who may know what: the walls between the folders, read from the code."""

import ast
from pathlib import Path

import pytest

from helpers.classes import PETS

ROOT = Path(__file__).parents[1]
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
    for folder in ("helpers", "experiments", "tools")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
NETWORKS = ("helpers/models", "helpers/dice", "helpers/labels", "helpers/losses")
DATA = ("helpers.datasets", "helpers.pipeline", "tensorflow_datasets")
FILES = ("helpers.files", "io", "json", "os", "pathlib", "shutil", "tempfile", "safetensors")
MODELS = ("helpers.models", "helpers.training", "helpers.losses", "helpers.weights", "keras")
PLOTS = ("helpers.visualization", "matplotlib", "PIL", "cv2")
WALLS = {  # where: what is not imported there
    ("helpers/",): ("experiments", "tools"),
    ("experiments/",): ("tools",),
    ("helpers/datasets",): MODELS + PLOTS[:2],
    ("helpers/visualization",): MODELS + DATA,
    NETWORKS: DATA + FILES + PLOTS,
}
OF_CLASSES = ("helpers/classes.py", "helpers/datasets/")
NAMES_ITS_BORDER_RULE = (  # that of pets, as these are about them
    "experiments/binary_unet.py",
    "experiments/benchmarks/time_to_accuracy.py",
    "tools/readme.py",
)


def code(*places):
    """(file, node) for each node of the code in these places, docstrings left out."""
    for path, tree in TREES.items():
        if path.startswith(places or ""):
            nodes = list(ast.walk(tree))
            texts = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
            yield from ((path, node) for node in nodes if id(node) not in texts)


def imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "an import that begins with a dot is not read here"
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


@pytest.mark.parametrize("places", WALLS, ids=str)
def test_nothing_is_imported_through_a_wall(places):
    assert list(code(*places))
    for path, node in code(*places):
        for name in imported(node):
            assert not [w for w in WALLS[places] if f"{name}.".startswith(f"{w}.")], (path, name)


# Handed on as a whole to another process; or given a value where it has none.
UNREAD = [
    {id(value) for _, node in code() if isinstance(node, ast.Dict) for value in node.values},
    {id(node.value) for _, node in code() if getattr(node, "attr", "") == "setdefault"},
]


def test_only_run_mode_reads_the_environment():
    set_only = (
        "helpers/__init__.py",
        "helpers/albumentations_augmentation.py",
    )  # before an import
    for path, node in code():
        if getattr(node, "attr", getattr(node, "id", None)) in ("environ", "getenv"):
            assert id(node) in UNREAD[path in set_only] or path == "helpers/run_mode.py", path


def is_color(node):
    values = [getattr(part, "value", None) for part in getattr(node, "elts", [])]
    return len(values) == 3 and all(type(v) is int and 0 <= v < 256 for v in values)


def test_names_and_colours_of_classes_are_written_where_they_belong():
    for path, node in code():
        if path.startswith(OF_CLASSES):
            continue
        if path not in NAMES_ITS_BORDER_RULE:
            assert getattr(node, "value", None) not in PETS.names, (path, node.lineno)
        if is_color(node):
            assert ast.literal_eval(node) not in PETS.colors, (path, node.lineno)
        palette = [is_color(part) for part in getattr(node, "elts", [])]
        assert len(palette) < 2 or not all(palette), (path, node.lineno)


def test_no_function_has_more_than_eight_arguments():
    for path, node in code():
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            names = [a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)]
            assert len([n for n in names if n not in ("self", "cls")]) <= 8, (path, node.lineno)
