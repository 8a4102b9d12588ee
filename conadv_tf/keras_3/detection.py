"""Detects objects of Keras 3 without importing it."""

import inspect
import sys
from typing import Any

_PACKAGE = "keras"


def is_keras_3(value: Any) -> bool:
    """Returns whether a value belongs to Keras 3.

    Args:
      value: any value. Instances of a class of Keras 3 or of its subclasses,
        the classes themselves and the functions of Keras 3 belong to it.
    """
    if not _is_loaded():
        return False
    classes = inspect.getmro(value if isinstance(value, type) else type(value))
    modules = [cls.__module__ for cls in classes]
    if inspect.isroutine(value):
        modules.append(value.__module__)
    return any(_is_in_package(module) for module in modules)


def is_model_of_keras_3(value: Any) -> bool:
    """Returns whether a value is a model of Keras 3."""
    return is_keras_3(value) and isinstance(value, keras_3().Model)


def keras_3() -> Any:
    """Returns the module keras of version 3, which must be loaded.

    Raises:
      ValueError: if no module has imported it.
    """
    if not _is_loaded():
        raise ValueError(
            "Expected Keras 3 to be imported; received no module keras of "
            "version 3. Write `import keras` with TensorFlow 2.16 or later."
        )
    return sys.modules[_PACKAGE]


def _is_loaded() -> bool:
    """Returns whether the module keras is loaded and is Keras 3 or later.

    With TensorFlow 2.15 the module keras is Keras 2.
    """
    version = getattr(sys.modules.get(_PACKAGE), "__version__", "0")
    return int(version.split(".")[0]) >= 3


def _is_in_package(module: Any) -> bool:
    # Some classes have a property `__module__` or None.
    return isinstance(module, str) and module.split(".")[0] == _PACKAGE
