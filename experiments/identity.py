"""Which training this is: a short name for what defines the function that is learnt.

Code counts by what it says: a function of this project or of a notebook is its source, without
comments and docstrings, with the values that it uses, in turn; where there is no source, what
Python made of it. A library's function is its name; a Keras object is what it is set to. Releases
of Python and Keras, precision and the names that Keras gives to layers do not count.
"""

import ast
import collections
import copyreg
import dis
import functools
import hashlib
import importlib
import inspect
import json
import linecache
import random
import sys
import sysconfig
import threading
import types
from pathlib import Path

import keras
import numpy as np

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
PLAIN = (str, int, float, bool, type(None))
STANDARD = {Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")}
# What Python puts into a class, and Keras into an object, beside what was written or set.
OF_CLASSES = set(
    """__module__ __qualname__ __doc__ __dict__ __weakref__ __annotations__
    __firstlineno__ __static_attributes__ __dataclass_params__ __slotnames__""".split()
)
OF_KERAS = set("name dtype _dtype _dtype_policy autocast".split())
OF_CALLBACKS = {"_model", "params"}
RANDOM = (random.Random, np.random.Generator, np.random.RandomState)


class Unidentified(Exception):
    """There is no telling whether this is the same another time; the message says what."""


def of(value):
    """A short name, 16 hexadecimal digits: the same for what does the same, in any process.

    Args:
        value: numbers, arrays, functions, classes, objects, Keras objects; and lists, tuples, sets
            and dicts of these.

    Raises:
        Unidentified: there is no telling, as of a lock or of a random generator.
    """
    return _named(_of, value)


def of_graph(network):
    """As ``of``, of a Keras model without its weights."""
    return _named(_layer, network)


def _named(find, value):
    try:
        found = json.dumps(find(value, {}))
    except Unidentified:
        raise
    except Exception as error:  # of any kind: much of what is asked here is others' code
        kinds = type(value).__qualname__, type(error).__name__
        raise Unidentified("an object of {} (which gives a {})".format(*kinds)) from error
    return hashlib.sha256(found.encode()).hexdigest()[:16]


def _of(value, seen):
    """JSON values; ``seen`` numbers the code and objects that came before: each is told once."""
    if type(value) in PLAIN:
        return value + 0.0 if type(value) is float else value  # -0.0 is 0.0
    if type(value) in (list, tuple):
        return [_of(part, seen) for part in value]
    if type(value) in (set, frozenset):
        return sorted((_of(part, seen) for part in value), key=json.dumps)
    if type(value) in (dict, types.MappingProxyType):
        return [_of(pair, seen) for pair in sorted(value.items(), key=lambda pair: str(pair[0]))]
    if type(value) is bytes:
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, types.ModuleType):
        return value.__name__
    if hasattr(value, "__array__") and not isinstance(value, type):
        if not (array := np.asarray(value)).dtype.hasobject:
            return [str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).hexdigest()]
    if id(value) in seen:
        return ["again", seen[id(value)][0]]
    seen[id(value)] = len(seen), value  # kept alive, or another one might get its id
    if isinstance(value, type):
        return _of_class(value, seen)
    if isinstance(value, types.FunctionType):
        return _of_function(value, seen)
    return [_of(type(value), seen), _of_object(value, seen)]


def _of_object(value, seen):
    if isinstance(value, keras.Layer):
        return [_layer(value, seen), _of(value.get_weights(), seen)]
    if isinstance(value, keras.callbacks.Callback) or hasattr(value, "get_config"):
        return _settings(value, seen)
    if hasattr(value, "__wrapped__"):  # tf.function, functools.cache, staticmethod
        return _of(value.__wrapped__, seen)
    if isinstance(value, property):
        return _of([value.fget, value.fset], seen)
    if isinstance(value, threading.local):  # what a thread keeps for itself
        return None
    if isinstance(value, RANDOM):
        raise Unidentified(f"a random {type(value).__qualname__}, which changes with its use,")
    try:  # what it is made of, as for pickle
        reduce = copyreg.dispatch_table.get(type(value))
        made_of = reduce(value) if reduce else value.__reduce_ex__(2)
    except Exception as error:
        raise Unidentified(f"an object of {type(value).__qualname__}") from error
    if isinstance(made_of, str):  # a global name
        return f"{getattr(value, '__module__', '')}.{made_of}"
    return _of([list(part) if hasattr(part, "__next__") else part for part in made_of], seen)


def _of_class(cls, seen):
    if _is_of_library(cls):
        return _name(cls.__module__, cls.__qualname__)
    members = {name: part for name, part in vars(cls).items() if name not in OF_CLASSES}
    return _of([cls.__bases__, members], seen)


def _of_function(function, seen):
    code = function.__code__
    cells = zip(code.co_freevars, function.__closure__ or ())
    held = {name: cell.cell_contents for name, cell in cells}
    if _is_library(code.co_filename):  # by its own name: wrappers take their functions'
        return [_name(function.__globals__["__name__"], code.co_qualname), _of(held, seen)]
    held |= _used(function)
    defaults = [function.__defaults__, function.__kwdefaults__]
    return _of([_source(code), held, defaults], seen)


def _used(function):
    """The global values that a function names, and what it names of the project's modules."""
    codes = list(_codes(function.__code__))
    names = {name for code in codes for name in code.co_names}
    used = {}
    for instruction in (part for code in codes for part in dis.get_instructions(code)):
        name = instruction.argval
        if instruction.opname == "IMPORT_NAME":
            used[name] = importlib.import_module(name)
        elif instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") and name in function.__globals__:
            used[name] = function.__globals__[name]
    modules = [value for value in used.values() if isinstance(value, types.ModuleType)]
    for module in modules:  # which grows
        if _is_library(module):
            continue
        for name in sorted(names & vars(module).keys()):
            value = used[f"{module.__name__}.{name}"] = vars(module)[name]
            if isinstance(value, types.ModuleType) and value not in modules:
                modules.append(value)
    return used


def _codes(code):
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _codes(part)


def _source(code):
    """What a function says, without comments and docstrings."""
    linecache.checkcache(code.co_filename)
    functions, codes = _parsed("".join(linecache.getlines(code.co_filename)))
    found = functions[code.co_name, code.co_firstlineno]
    if code in codes and len(found) == 1:
        return found[0]
    # There is none, or it was changed since, or lambdas share a line: what is run then, which
    # another release of Python writes otherwise.
    constants = [_source(c) if isinstance(c, types.CodeType) else c for c in code.co_consts]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_argcount)
    return [code.co_code, constants, names]


@functools.lru_cache(64)
def _parsed(source):
    """What the functions in a file say, by name and line, and the code they compile to."""
    codes = set(_codes(compile(source, "", "exec", dont_inherit=True)))
    functions, nodes = collections.defaultdict(list), list(ast.walk(ast.parse(source)))
    for node in nodes:
        if isinstance(node, FUNCTIONS) and ast.get_docstring(node) is not None:
            node.body[:1] = [] if node.body[1:] else [ast.Pass()]
    for node in nodes:
        if isinstance(node, (*FUNCTIONS, ast.Lambda)):
            line = min(part.lineno for part in [node, *getattr(node, "decorator_list", [])])
            functions[getattr(node, "name", "<lambda>"), line].append(_tree(node))
    return functions, codes


def _tree(node):
    """A syntax tree as JSON, without what releases of Python added."""
    if isinstance(node, list):
        return [_tree(part) for part in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = [getattr(node, name, None) for name in node._fields if name != "type_params"]
    return [type(node).__name__, *map(_tree, parts)]


def _layer(layer, seen):
    """A layer, or a network of them, without weights: what it is set to, and what it reads."""
    settings, wires = [], None
    config = layer.get_config()
    if isinstance(layer, keras.Model) and "layers" in config:
        parts = getattr(layer, "operations", layer.layers)
        numbers = {part.name: number for number, part in enumerate(parts)}
        settings = [_layer(part, seen) for part in parts]
        wires = [_wired(part.get("inbound_nodes"), numbers) for part in config["layers"]]
    else:
        settings = _settings(layer, seen)
    return [_of(type(layer), seen), getattr(layer, "trainable", None), settings, wires]


def _wired(node, numbers):
    """Keras's JSON of what a layer reads, with numbers for the names of layers."""
    if isinstance(node, (list, tuple)):
        return [_wired(part, numbers) for part in node]
    if not isinstance(node, dict):
        return node
    if node.get("class_name") == "__keras_tensor__":
        name, *place = node["config"]["keras_history"]
        return [numbers[name], *place]
    return {key: _wired(part, numbers) for key, part in node.items() if part is not None}


def _settings(value, seen):
    """What a Keras object is set to, where that is not the default: each release adds some."""
    config = value.get_config() if hasattr(value, "get_config") else {}
    _, *parameters = inspect.signature(type(value).__init__).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    defaults = {part.name: part.default for part in parameters if part.kind in named}
    settings = {name: _set(value, name, part) for name, part in config.items()}
    if isinstance(value, keras.Operation):  # its attributes, and Layer's config, hold more
        settings = {name: part for name, part in settings.items() if name in defaults}
    elif not config or not _is_of_library(type(value)):
        settings = {**vars(value), **settings}
        if _is_of_library(type(value)) and defaults.keys() <= settings.keys():
            settings = {name: settings[name] for name in defaults}  # without what it remembers
    hidden = OF_KERAS | (OF_CALLBACKS if isinstance(value, keras.callbacks.Callback) else set())
    own = {
        name: part
        for name, part in settings.items()
        if name not in hidden and (name not in defaults or not _same(part, defaults[name]))
    }
    return _of(own, seen)


def _same(one, other):
    return _of(one, {}) == _of(other, {})


def _set(value, name, part):
    """The object that a part of Keras's JSON stands for, where there is one."""
    if not isinstance(part, dict) or "class_name" not in part:
        return part
    for held in (getattr(value, name, None), getattr(value, f"_{name}", None)):
        if isinstance(held, types.FunctionType) or type(held).__name__ == part["class_name"]:
            return held
    return [part["class_name"], part["config"]]


def _is_of_library(cls):
    return cls.__module__ != "__main__" and _is_library(sys.modules.get(cls.__module__))


def _is_library(place):
    """Whether a module, or the file of a function, is not of this project or a notebook."""
    if isinstance(place, types.ModuleType):
        place = getattr(place, "__file__", None) or [*getattr(place, "__path__", ()), None][0]
    if place is None or place.startswith("<frozen"):
        return True
    folders = set(Path(place).parents)
    named = {folder.name for folder in folders}
    return not (
        named.isdisjoint({"site-packages", "dist-packages"}) and STANDARD.isdisjoint(folders)
    )


def _name(module, name):  # without inner modules, which releases rename
    return f"{module.partition('.')[0]}.{name}"
