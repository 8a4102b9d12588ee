"""Keras callbacks that a user adds to a run with --callback.

`check` reads the user's module without importing it, because that usually
imports TensorFlow.
"""

import importlib
import importlib.machinery
import inspect
import os
import pathlib
import symtable
import sys
import traceback

from absl import flags

from experiments import config_fields
from experiments import spelling

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "callback",
    [],
    "package.module:function, which returns a Keras callback for the run; may "
    "be repeated. The module is searched in the current folder first.",
)
_REMEDY = (
    "Write --callback=package.module:function, where the function or class "
    "returns a Keras callback (docs/tracking.md)."
)


def check():
    """Checks the values of --callback as far as TensorFlow is not needed.

    Raises:
      ValueError: if a value is malformed, or its module or function is
        missing.
    """
    if FLAGS.callback:
        sys.path.insert(0, os.getcwd())  # As `python -m` does.
    for text in FLAGS.callback:
        module, function = _parse(text)
        names = _top_level_names(text, module)
        if names is not None and function.split(".")[0] not in names:
            raise ValueError(
                f"Expected a function {function!r} in the module {module!r}; "
                f"received --callback={text}, and the module has none of this "
                f"name.{spelling.did_you_mean(function, names)} {_REMEDY}"
            )


def _parse(text):
    """Returns (name of the module, name of the function in it)."""
    module, _, function = text.partition(":")
    for name in (*module.split("."), *function.split(".")):
        if not name.isidentifier():
            raise ValueError(
                "Expected --callback=package.module:function; received "
                f"--callback={text}. {_REMEDY}"
            )
    return module, function


def _top_level_names(text, module):
    """Returns the names that a module defines; None if they are unknown.

    The module is found and parsed, but not imported.
    """
    parts, folders = module.split("."), None
    for number in range(len(parts)):
        name = ".".join(parts[: number + 1])
        spec = importlib.machinery.PathFinder.find_spec(name, folders)
        if spec is None and not number:
            raise ValueError(
                f"Expected a module {module!r}; received --callback={text}, "
                f"and {name!r} is neither in the current folder, "
                f"{os.getcwd()}, nor an installed package. Start the command "
                "in the folder of the module, or add this folder to PYTHONPATH."
            )
        # A folder without an __init__.py, or a module that only an import
        # finds.
        if spec is None or spec.origin is None:
            return None
        folders = spec.submodule_search_locations or ()
    path = pathlib.Path(spec.origin)
    if path.suffix != ".py":
        return None
    source = path.read_text(encoding="utf-8")
    try:
        table = symtable.symtable(source, str(path), "exec")
    except SyntaxError as error:
        raise ValueError(
            f"Expected Python code in {path}, line {error.lineno}, for "
            f"--callback={text}; received {(error.text or '').strip()!r}: "
            f"{error.msg}. Correct it."
        ) from error
    if "import *" in source or "__getattr__" in source:
        return None
    return [
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_imported()
    ]


def create(config, model_dir, is_chief):
    """Returns the callbacks of --callback for one run.

    Args:
      config: the `RunConfig` of the run.
      model_dir: path of the folder of the run.
      is_chief: whether this process writes the files of the run.

    Raises:
      ValueError: if a module cannot be imported, or if a function fails, needs
        other arguments, or does not return a Keras callback or None.
    """
    arguments = {
        "config": {
            name: config_fields.value(config, name)
            for name in config_fields.names(type(config))
        },
        "model_dir": str(model_dir),
        "is_chief": is_chief,
    }
    found = [_create(text, arguments) for text in FLAGS.callback]
    return [callback for callback in found if callback is not None]


def _create(text, arguments):
    import tensorflow as tf

    from conadv_tf.keras_3 import is_keras_3

    module, name = _parse(text)
    try:
        function = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"Cannot import the module of --callback={text}: {error}. Install "
            "the package that is missing, or correct the name."
        ) from error
    for part in name.split("."):
        function = getattr(function, part, None)
    if not callable(function):
        raise ValueError(
            f"Expected --callback={text} to name a function; received "
            f"{function!r}. {_REMEDY}"
        )
    callback = _call(text, function, arguments)
    known = isinstance(callback, tf.keras.callbacks.Callback)
    if callback is not None and not known and not is_keras_3(callback):
        raise ValueError(
            f"Expected --callback={text} to return a Keras callback, or None "
            f"for no callback; received {callback!r}. {_REMEDY}"
        )
    return callback


def _call(text, function, arguments):
    """Calls a function with the arguments that its signature names."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # Some callables written in C have none.
        signature = inspect.Signature()
    given = {n: v for n, v in arguments.items() if n in signature.parameters}
    try:
        signature.bind(**given)
    except TypeError as error:
        raise ValueError(
            f"Expected the function of --callback={text} to need no arguments "
            f"but {', '.join(arguments)}; received the signature {signature}: "
            f"{error}. Give the other parameters defaults."
        ) from error
    try:
        return function(**given)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[:2][-1]
        raise ValueError(
            f"--callback={text} failed in {frame.filename}, line "
            f"{frame.lineno}: {type(error).__name__}: {error}"
        ) from error
