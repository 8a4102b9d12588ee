"""Which Keras `tf.keras` is: Keras 2, whatever TensorFlow comes with.

Up to TensorFlow 2.15 that is Keras itself. From 2.16 on `tf.keras` is Keras 3,
or Keras 2 as the package tf_keras has it, where `TF_USE_LEGACY_KERAS` says so
before `tf.keras` is first used. The package imports this module before all
else of its own.
"""

import importlib.metadata
import importlib.util
import os
import pathlib
import sys
from typing import Optional

VARIABLE = "TF_USE_LEGACY_KERAS"
_YES = ("1", "true", "True")  # As TensorFlow has it.
_FIRST_WITH_KERAS_3 = (2, 16)


def keras_version() -> str:
    """The version of the Keras that `tf.keras` is."""
    import tensorflow as tf

    return importlib.metadata.version(_package_of(tf.keras.Model))


def remedy(
    tensorflow: str, tf_keras: Optional[str], variable: Optional[str]
) -> Optional[str]:
    """What to do where `tf.keras` cannot be Keras 2; None where it can.

    Args:
      tensorflow: its version.
      tf_keras: its version; None if it is not installed.
      variable: the value of `TF_USE_LEGACY_KERAS`; None if it is not set.
    """
    number = "{}.{}".format(*_number(tensorflow))
    install = f'pip install "tf_keras=={number}.*"'
    wanted = variable in _YES
    if _number(tensorflow) < _FIRST_WITH_KERAS_3:
        if not wanted:
            return None
        if not tf_keras:
            return (
                f"Expected {VARIABLE} to be unset with TensorFlow "
                f"{tensorflow}, whose Keras is 2 by itself; received "
                f"{variable!r}. Unset it."
            )
    if not tf_keras:
        return (
            f"Expected Keras 2; received TensorFlow {tensorflow}, whose "
            f"tf.keras is Keras 3, without tf_keras: {install}"
        )
    if _number(tf_keras) != _number(tensorflow):
        return (
            f"Expected tf_keras {number} with TensorFlow {tensorflow}; "
            f"received tf_keras {tf_keras}: {install}"
        )
    if not wanted:
        return (
            f"Expected {VARIABLE} to be unset or 1, since Keras 3 is not "
            f"supported; received {variable!r}. Unset it."
        )
    return None


def _number(version: str) -> tuple[int, int]:
    """Major and minor version."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _version_of(package: str) -> Optional[str]:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package_of(cls: type) -> str:
    return cls.__module__.split(".")[0]


def _choose() -> None:
    """Makes `tf.keras` Keras 2, or raises an ImportError that says how to."""
    tf_keras = _version_of("tf_keras")
    early = "tensorflow" not in sys.modules
    # The number of tf_keras is that of its TensorFlow: the variable can be set
    # before TensorFlow is imported, which then does not load Keras 3 besides.
    if tf_keras and _number(tf_keras) >= _FIRST_WITH_KERAS_3:
        os.environ.setdefault(VARIABLE, "1")
    import tensorflow as tf

    found = remedy(tf.__version__, tf_keras, os.environ.get(VARIABLE))
    if found:
        raise ImportError(found)
    if _number(tf.__version__) < _FIRST_WITH_KERAS_3:
        return
    if not early:
        _find_submodules(tf.__path__)
    if _package_of(tf.keras.Model) != "tf_keras":
        raise ImportError(
            "Expected tf.keras to be Keras 2; received Keras 3, since it was "
            "used before conadv_tf was imported. Import conadv_tf first, or "
            f"set {VARIABLE}=1 in the environment."
        )


def _find_submodules(path: list[str]) -> None:
    """Lets `from tensorflow.keras import layers` find tf_keras.

    TensorFlow decides at its import where that looks. It would find Keras 3,
    and put it in the place of `tf.keras`.
    """
    spec = importlib.util.find_spec("tf_keras")
    folders = (spec and spec.submodule_search_locations) or ()
    for folder in folders:
        submodules = str(pathlib.Path(folder, "api", "_v2"))
        if submodules not in path:
            path.insert(0, submodules)


_choose()
