"""Detection of objects of Keras 3."""

import pytest
import tensorflow as tf

from conadv_tf import keras_3
from tests import processes
from tests.marks import in_stack_b

pytestmark = in_stack_b


def test_objects_of_keras_3_are_found():
    keras = pytest.importorskip("keras")

    class Mine(keras.layers.Layer):
        pass

    for value in (
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
        keras.optimizers.SGD(),
        keras.optimizers.SGD,
        keras.Variable(1.0),
        keras.losses.categorical_crossentropy,
        keras.callbacks.EarlyStopping(),
        Mine(),
        Mine,
    ):
        assert keras_3.is_keras_3(value), value
    assert keras_3.keras_3() is keras


def test_other_objects_are_not():
    pytest.importorskip("keras")
    for value in (
        tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3)]),
        tf.keras.optimizers.SGD(),
        tf.keras.optimizers.SGD,
        tf.keras.losses.categorical_crossentropy,
        tf.keras.callbacks.EarlyStopping(),
        tf.Variable(1.0),
        tf.ones([1]),
        "sgd",
        None,
        len,
        lambda: None,
        type,
        tf,
    ):
        assert not keras_3.is_keras_3(value), value


def test_nothing_imports_keras_3():
    code = (
        "import sys, conadv_tf\n"
        "from conadv_tf import keras_3\n"
        "assert not keras_3.is_keras_3('sgd')\n"
        "loaded = [name for name in sys.modules\n"
        "    if name.startswith(('keras.', 'conadv_tf.keras_3.'))]\n"
        "small = ['detection', 'errors', 'entry_points', 'wrapped']\n"
        "small = ['conadv_tf.keras_3.' + name for name in small]\n"
        "assert set(loaded) == set(small), loaded\n"
        "assert 'keras' not in sys.modules\n"
        "try:\n"
        "    keras_3.keras_3()\n"
        "except ValueError as error:\n"
        "    print(error)"
    )
    result = processes.run(code)
    assert "import keras" in result.stdout, result.stderr
