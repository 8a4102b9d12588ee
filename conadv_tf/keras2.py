"""Makes `tf.keras` Keras 2, for all supported versions of TensorFlow.

Up to TensorFlow 2.15 `tf.keras` is Keras 2. From 2.16 on it is Keras 3, unless
`TF_USE_LEGACY_KERAS` is set before `tf.keras` is first used; then it is Keras 2
from the package tf_keras. conadv_tf imports this module before its others.
"""

import importlib.metadata
import importlib.util
import os
import pathlib
import sys
from typing import Optional

VARIABLE = "TF_USE_LEGACY_KERAS"
_TRUE = ("1", "true", "True")  # The values that TensorFlow accepts.
_FIRST_WITH_KERAS_3 = (2, 16)


def keras_version() -> str:
    """Returns the version of the Keras that `tf.keras` is."""
    import tensorflow as tf

    return importlib.metadata.version(_package_of(tf.keras.Model))


def remedy(
    tensorflow: str, tf_keras: Optional[str], variable: Optional[str]
) -> Optional[str]:
    """Returns an error message if `tf.keras` cannot be Keras 2, else None.

    Args:
      tensorflow: version of TensorFlow.
      tf_keras: version of tf_keras; None if it is not installed.
      variable: value of `TF_USE_LEGACY_KERAS`; None if it is not set.
    """
    number = "{}.{}".format(*_number(tensorflow))
    install = f'pip install "tf_keras=={number}.*"'
    wanted = variable in _TRUE
    if _number(tensorflow) < _FIRST_WITH_KERAS_3:
        if not wanted:
            return None
        if not tf_keras:
            return (
                f"Expected {VARIABLE} to be unset with TensorFlow "
                f"{tensorflow}, whose tf.keras is Keras 2 already; received "
                f"{variable!r}. Unset it."
            )
    if not tf_keras:
        return (
            f"Expected Keras 2; received TensorFlow {tensorflow}, whose "
            f"tf.keras is Keras 3, without tf_keras. Run {install}"
        )
    if _number(tf_keras) != _number(tensorflow):
        return (
            f"Expected tf_keras {number} with TensorFlow {tensorflow}; "
            f"received tf_keras {tf_keras}. Run {install}"
        )
    if not wanted:
        return (
            f"Expected {VARIABLE} to be unset or 1, because Keras 3 is not "
            f"supported as tf.keras; received {variable!r}. Unset it."
        )
    return None


def _number(version: str) -> tuple[int, int]:
    """Returns the major and minor version."""
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
    """Makes `tf.keras` Keras 2, or raises an ImportError with a remedy."""
    tf_keras = _version_of("tf_keras")
    early = "tensorflow" not in sys.modules
    # tf_keras has the version of its TensorFlow, so the variable can be set
    # before TensorFlow is imported, which then does not load Keras 3.
    if tf_keras and _number(tf_keras) >= _FIRST_WITH_KERAS_3:
        os.environ.setdefault(VARIABLE, "1")
    import tensorflow as tf

    problem = remedy(tf.__version__, tf_keras, os.environ.get(VARIABLE))
    if problem:
        raise ImportError(problem)
    if _number(tf.__version__) < _FIRST_WITH_KERAS_3:
        return
    if not early:
        _find_submodules(tf.__path__)
    if _package_of(tf.keras.Model) != "tf_keras":
        raise ImportError(
            "Expected tf.keras to be Keras 2; received Keras 3, because it was "
            "used before conadv_tf was imported. Import conadv_tf first, or "
            f"set {VARIABLE}=1 in the environment."
        )


def _find_submodules(path: list[str]) -> None:
    """Makes `from tensorflow.keras import layers` find tf_keras.

    TensorFlow chooses the search path when it is imported. Otherwise it would
    find Keras 3 and replace `tf.keras` by it.
    """
    spec = importlib.util.find_spec("tf_keras")
    folders = (spec and spec.submodule_search_locations) or ()
    for folder in folders:
        submodules = str(pathlib.Path(folder, "api", "_v2"))
        if submodules not in path:
            path.insert(0, submodules)


_choose()
