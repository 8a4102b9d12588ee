"""Keras layers that a Python function uses without being given them.

A `Lambda` layer calls a function, and Keras neither tracks nor copies the
layers that this function takes from its surroundings.
"""

from collections.abc import Iterable
import functools
import inspect
import types
from typing import Any

import tensorflow as tf

from conadv_tf import keras_internals

# What these packages' functions use is their own affair.
_LIBRARIES = ("keras", "numpy", "tensorflow", "tf_keras")


def closure_layers(function: Any) -> list[tf.keras.layers.Layer]:
    """Finds the Keras layers that a function may call.

    Looked at are closures, default arguments, bound objects,
    `functools.partial` and containers, and the global names and attributes
    that the code mentions; likewise in the functions among these.

    Args:
      function: any Python callable, or a container of such.

    Returns:
      List of layers, the layers inside them included.
    """
    found: list[tf.keras.layers.Layer] = []
    _search(function, frozenset(), {}, found)
    return found


def _search(
    value: Any,
    names: frozenset[str],
    seen: dict[tuple[int, frozenset[str]], Any],
    found: list[tf.keras.layers.Layer],
) -> None:
    """Adds to `found` what `value` reaches by attributes called `names`."""
    if (id(value), names) in seen:
        return
    seen[id(value), names] = value  # Kept, so that no other gets its id.
    for each in _reached(value, names, found):
        _search(each, names | _names(value), seen, found)


def _reached(
    value: Any, names: frozenset[str], found: list[tf.keras.layers.Layer]
) -> Iterable[Any]:
    if isinstance(value, tf.keras.layers.Layer):
        found.extend(keras_internals.flatten_layers(value))
        return []
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
    # An object: the attributes in question, and what calling it would do.
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
    if (function.__module__ or "").split(".")[0] in _LIBRARIES:
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
        *(function.__globals__.get(name) for name in sorted(_names(function))),
    ]


def _names(value: Any) -> frozenset[str]:
    """Global names and attributes in the code of a callable."""
    if isinstance(value, functools.partial):
        return _names(value.func)
    code = getattr(getattr(value, "__func__", value), "__code__", None)
    return frozenset() if code is None else _names_in(code)


def _names_in(code: types.CodeType) -> frozenset[str]:
    names = frozenset(code.co_names)
    for constant in code.co_consts:  # Functions inside the function.
        if isinstance(constant, types.CodeType):
            names |= _names_in(constant)
    return names
