"""Finds batch norms that are not layers of a network's graph themselves.

A wrapper or a custom layer holds layers that Keras tracks. A `Lambda` layer
calls a function, and Keras neither tracks nor copies the layers that this
function takes from its surroundings.
"""

from collections.abc import Iterable
import functools
import inspect
import types
from typing import Any

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.batch_norm import SplitBatchNormalization
from conadv_tf.networks.layer_graph import graph_layers

# The classes that are split. A subclass may compute anything, so it is refused.
SPLITTABLE = (
    tf.keras.layers.BatchNormalization,
    keras_internals.SyncBatchNormalization,
)
# None of these is a subclass of another.
_BATCH_NORMS = (*SPLITTABLE, keras_internals.BatchNormalizationV1)
# Functions of these packages are not searched.
LIBRARIES = ("keras", "numpy", "tensorflow", "tf_keras")


def hidden_batch_norms(network: tf.keras.Model) -> list[str]:
    """Returns the names of the batch norms that cannot be split.

    Args:
      network: functional Keras model.
    """
    hidden = {}
    for layer in graph_layers(network):
        if isinstance(layer, SplitBatchNormalization):
            continue
        if type(layer) in SPLITTABLE:
            continue
        inside = list(keras_internals.flatten_layers(layer))
        if isinstance(layer, tf.keras.layers.Lambda):
            inside += closure_layers([layer.function, layer.arguments])
        branches = {
            id(branch)
            for split in inside
            if isinstance(split, SplitBatchNormalization)
            for branch in split.branch_layers
        }
        for each in inside:
            if isinstance(each, _BATCH_NORMS) and id(each) not in branches:
                holder = "" if each is layer else f" (held by {layer.name!r})"
                hidden[id(each)] = f"{each.name!r}{holder}"
    return list(hidden.values())


def closure_layers(function: Any) -> list[tf.keras.layers.Layer]:
    """Returns the Keras layers that a function may call.

    Searches closures, default arguments, bound objects, `functools.partial`
    and containers, and the global names and attributes that the code mentions.
    Functions found in this way are searched too.

    Args:
      function: Python callable, or a container of callables.

    Returns:
      List of layers, including the layers inside them.
    """
    found: list[tf.keras.layers.Layer] = []
    seen: dict[tuple[int, frozenset[str]], Any] = {}
    # Objects to search, with the attributes of them that code may read.
    pending: list[tuple[Any, frozenset[str]]] = [(function, frozenset())]
    while pending:
        value, names = pending.pop()
        if (id(value), names) in seen:
            continue
        seen[id(value), names] = value  # Kept alive: its id stays unique.
        if isinstance(value, tf.keras.layers.Layer):
            found.extend(keras_internals.flatten_layers(value))
            continue
        names_in_code = names | code_names(value)
        pending += [(each, names_in_code) for each in _references(value, names)]
    return found


def _references(value: Any, names: frozenset[str]) -> Iterable[Any]:
    """Returns the objects that code may reach from an object.

    Args:
      value: any Python object.
      names: attributes that code may read.
    """
    if isinstance(value, (types.ModuleType, type)):
        return []
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, (list, tuple, set)):
        return value
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, types.FunctionType):
        return _surroundings(value)
    # Any other object: the attributes that may be read, and its __call__.
    attributes = [
        inspect.getattr_static(value, name, None)
        for name in sorted(names | {"__call__"})
    ]
    return [
        types.MethodType(each, value)
        if isinstance(each, types.FunctionType)
        else each
        for each in attributes
    ]


def _surroundings(function: types.FunctionType) -> list[Any]:
    """Returns a function's closure, default arguments and global names."""
    if (function.__module__ or "").split(".")[0] in LIBRARIES:
        return []
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # A name that is not assigned yet.
            continue
    return [
        *cells,
        function.__defaults__,
        function.__kwdefaults__,
        *(
            function.__globals__.get(name)
            for name in sorted(code_names(function))
        ),
    ]


def code_names(value: Any) -> frozenset[str]:
    """Returns the global names and attributes in the code of a callable."""
    if isinstance(value, functools.partial):
        return code_names(value.func)
    code = getattr(value, "__func__", value)
    code = getattr(code, "__code__", code)
    if not isinstance(code, types.CodeType):
        return frozenset()
    # Constants include the code of the functions inside the function.
    return frozenset(code.co_names).union(*map(code_names, code.co_consts))
