"""Marks of tests and of parameters of tests."""

import functools
import importlib.util

import pytest

from conadv_tf.keras2 import keras_version

# Parameters that only the slow job tests, `pytest -m slow`.
slow = functools.partial(pytest.param, marks=pytest.mark.slow)
in_stack_a = pytest.mark.skipif(
    not importlib.util.find_spec("tensorflow_addons"),
    reason="tensorflow-addons is not installed",
)
_WITHOUT_KERAS_3 = "Keras 3 cannot be installed beside TensorFlow 2.15"
in_stack_b = pytest.mark.skipif(
    keras_version() < "2.16", reason=_WITHOUT_KERAS_3
)


def all_slow_but(default, values):
    """Marks all values of one parameter as slow except the default ones."""
    return [value if value in default else slow(value) for value in values]


def import_keras_3():
    """Returns the module of Keras 3, or skips all tests of the file."""
    if keras_version() < "2.16":
        pytest.skip(_WITHOUT_KERAS_3, allow_module_level=True)
    return pytest.importorskip("keras")
