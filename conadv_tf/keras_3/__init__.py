"""Objects of Keras 3, which is the package keras beside tf_keras.

This file and `detection` are small. The other modules are imported only when an
object of Keras 3 is met. No module imports keras: an object of Keras 3 exists
only if the user's program has imported it.
"""

from conadv_tf.keras_3.detection import is_keras_3
from conadv_tf.keras_3.detection import keras_3

__all__ = ["is_keras_3", "keras_3"]
