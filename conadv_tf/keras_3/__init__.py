"""Objects of Keras 3, which is the package keras beside tf_keras.

This file, `detection`, `entry_points`, `errors` and `wrapped` are small; saved
models refer to the class in `wrapped`. The other modules are imported only when
an object of Keras 3 is met. No module imports keras: an
object of Keras 3 exists only if the user's program has imported it.
"""

from conadv_tf.keras_3.detection import is_keras_3
from conadv_tf.keras_3.detection import is_model_of_keras_3
from conadv_tf.keras_3.detection import keras_3
from conadv_tf.keras_3.entry_points import adapted
from conadv_tf.keras_3.entry_points import adapted_callbacks
from conadv_tf.keras_3.entry_points import check_compile
from conadv_tf.keras_3.entry_points import check_data
from conadv_tf.keras_3.entry_points import warn_of_changes
from conadv_tf.keras_3.errors import refusal
from conadv_tf.keras_3.wrapped import Keras3Layer

__all__ = [
    "Keras3Layer",
    "adapted",
    "adapted_callbacks",
    "check_compile",
    "check_data",
    "is_keras_3",
    "is_model_of_keras_3",
    "keras_3",
    "networks",
    "refusal",
    "warn_of_changes",
]
