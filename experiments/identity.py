"""Which training this is: what defines the function that it learns, and nothing else.

Not the release of Keras, the precision or the machine: they change the last digits. A function is
what its code says, and the code and the constants of this project that it uses; a library's function
is its name.
"""

import ast
import functools
import hashlib
import inspect
import json
import site
import sys
import sysconfig
import textwrap
import types
from pathlib import Path

import keras
import numpy as np

LIBRARIES = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
LIBRARIES |= {*site.getsitepackages(), site.getusersitepackages()}
PLAIN = (str, int, float, bool, type(None))


class Unidentified(Exception):
    """There is no telling what this is, and so whether it is the same another time."""


def digest(identity):
    """A short name for an identity: 8 hexadecimal digits."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


def of_network(model):
    """A network: its layers in order, what they read, their settings that are not the default, and
    the weights that they start from.

    Keras's own JSON changes with its releases, which add settings, and holds the precision.

    Returns:
        list, ready for JSON.
    """
    numbers = {}
    layers = []
    for layer in model.layers:
        numbers[layer.name] = len(numbers)
        inputs = [
            numbers.get(getattr(tensor._keras_history.operation, "name", None))
            for node in layer._inbound_nodes[:1]
            for tensor in node.input_tensors
        ]
        inner = of_network(layer) if isinstance(layer, keras.Model) else _settings(layer)
        layers.append([type(layer).__name__, inputs, layer.trainable, inner])
    weights = hashlib.sha256()
    for weight in model.get_weights():
        weights.update(weight.tobytes())
    return [*layers, weights.hexdigest()]


def _settings(layer):
    parameters = inspect.signature(type(layer).__init__).parameters
    return {
        name: _plain_setting(value)
        for name, value in layer.get_config().items()
        if name in parameters
        and value != parameters[name].default
        # the start weights say what an initializer did; the rest is of names and precision
        and not name.endswith(("_initializer", "name", "dtype", "autocast"))
    }


def _plain_setting(value):
    if isinstance(value, dict) and "class_name" in value:  # a serialized object
        config = {k: v for k, v in value.get("config", {}).items() if "dtype" not in k}
        return [value["class_name"], config]
    return json.loads(json.dumps(value, default=str))


def of(value):
    """Anything that a training is told: numbers, functions, losses, callbacks.

    Returns:
        JSON.

    Raises:
        Unidentified: an object that keeps what it does in something else than plain values.
    """
    return _of(value, frozenset())


def _of(value, above):
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        found = [_of(part, above) for part in value]
        return sorted(found, key=str) if isinstance(value, (set, frozenset)) else found
    if isinstance(value, dict):
        return {str(name): _of(part, above) for name, part in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return [str(value.dtype), hashlib.sha256(np.ascontiguousarray(value)).hexdigest()]
    if isinstance(value, functools.partial):
        return ["partial", *(_of(p, above) for p in (value.func, value.args, value.keywords))]
    if isinstance(value, types.MethodType):
        return ["method", value.__name__, _of(value.__self__, above)]
    if isinstance(value, type) or inspect.isroutine(value):
        return _of_code(value, above)
    kind = _of_code(type(value), above)
    if hasattr(value, "get_config"):
        return [kind, _of(value.get_config(), above)]
    if not hasattr(value, "__dict__"):
        raise Unidentified(f"an object of {type(value).__qualname__}")
    return [kind, _of(_own(value), above)]


def _own(value):
    """An object's values, without those that Keras gives a callback when a training begins."""
    return {k: v for k, v in vars(value).items() if k not in ("_model", "model", "params")}


def _of_code(code, above):
    """A function or class: its name, and, where it is not a library's, its source and what the
    source names."""
    name = f"{code.__module__}.{code.__qualname__}"
    if code in above or _is_library(code):
        return name
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, TypeError, SyntaxError) as error:  # a lambda in the middle of a call, say
        if not hasattr(code, "__code__"):
            raise Unidentified(f"{name}, whose source is not to be found") from error
        tree = None
    used = {} if isinstance(code, type) else _closure(code)
    world = vars(sys.modules.get(code.__module__, types)) if isinstance(code, type) else {}
    names = _names(tree) if tree else set(code.__code__.co_names)
    world = world or code.__globals__
    for used_name in sorted(names & world.keys()):
        used[used_name] = world[used_name]
    above |= {code}
    found = {}
    for used_name, part in used.items():
        if isinstance(part, types.ModuleType):
            if not _is_library(part):
                found |= {
                    f"{used_name}.{attribute}": _of(getattr(part, attribute), above)
                    for attribute in sorted(_names(tree) if tree else names)
                    if hasattr(part, attribute) and not attribute.startswith("__")
                }
        elif part is not code:
            found[used_name] = _of(part, above)
    return [name, _text(tree) if tree else _of_bytecode(code.__code__), found]


def _closure(function):
    """What a function holds beside its arguments: defaults and variables of the functions around."""
    held = dict(zip(function.__code__.co_freevars, function.__closure__ or ()))
    values = {name: cell.cell_contents for name, cell in held.items()}
    return {**values, "(defaults)": function.__defaults__, "(keywords)": function.__kwdefaults__}


def _of_bytecode(code):
    constants = [c for c in code.co_consts if isinstance(c, PLAIN)]
    return hashlib.sha256(repr((code.co_code, constants, code.co_names)).encode()).hexdigest()


def _names(tree):
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def _text(tree):
    """The source without comments, layout and docstrings."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(getattr(body[0].value, "value", None), str):
                body[:1] = [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def _is_library(code):
    module = code if isinstance(code, types.ModuleType) else sys.modules.get(code.__module__)
    file = getattr(module, "__file__", None)
    if file is None:
        return module is not None and module.__name__ != "__main__"  # built in; not a notebook
    folders = Path(file).parents
    return any(Path(library) in folders for library in LIBRARIES)
