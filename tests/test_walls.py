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
# About pets, these name the border rule that they go by:
OF_PETS = ("experiments/binary_unet", "experiments/benchmarks/time_to_accuracy", "tools/readme")


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


def test_only_run_mode_reads_the_environment():
    nodes = [node for _, node in code()]
    # handed on as a whole to another process; or, before an import, given a value if it has none
    unread = {id(v) for node in nodes if isinstance(node, ast.Dict) for v in node.values}
    default = {id(node.value) for node in nodes if getattr(node, "attr", "") == "setdefault"}
    before_import = ("helpers/__init__.py", "helpers/albumentations_augmentation.py")
    for path, node in code():
        if getattr(node, "attr", getattr(node, "id", None)) in ("environ", "getenv"):
            allowed = default if path in before_import else unread
            assert id(node) in allowed or path == "helpers/run_mode.py", (path, node.lineno)


def is_color(node):
    values = [getattr(part, "value", None) for part in getattr(node, "elts", [])]
    return len(values) == 3 and all(type(v) is int and 0 <= v < 256 for v in values)


def test_names_and_colours_of_classes_are_written_where_they_belong():
    for path, node in code():
        if path.startswith(OF_CLASSES):
            continue
        if not path.startswith(OF_PETS):
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
