"""Networks of Keras 3, converted to tf_keras and back."""

from typing import Any

import tensorflow as tf

from conadv_tf.keras_3 import is_keras_3
from conadv_tf.networks.conversion import merge_batch_norm
from conadv_tf.networks.overrides import check_methods


def from_keras_3(network: Any) -> tf.keras.Model:
    """Converts a network of Keras 3 (`import keras`) to tf_keras.

    Each layer is created from its config, with its weights, name, `trainable`
    flag, dtype policy, initializers, regularizers and constraints. Nested
    models and shared layers are kept. Layers and operations that tf_keras does
    not have run the code of Keras 3, with weights of tf_keras. The outputs of
    both networks are compared for random images.

    `ca.ConAdvModel` calls this function if it receives a network of Keras 3.

    Args:
      network: functional network, or Sequential network with an input layer, of
        Keras 3 with the backend tensorflow. It does not change.

    Returns:
      A new network of tf_keras with equal outputs in inference mode.

    Raises:
      ValueError: if the network is subclassed or replaces methods of Keras; if
        a layer's class is not registered with Keras 3; if a layer that tf_keras
        does not have changes variables in its calls; or if the outputs differ.
        The error names the layer.
    """
    if not is_keras_3(network):
        raise ValueError(
            "Expected a network of Keras 3, a keras.Model; received "
            f"{type(network).__module__}.{type(network).__name__}."
        )
    # Imported here, because few programs need it.
    from conadv_tf.keras_3 import networks

    networks.check_graph(network)
    check_methods(network)
    return networks.from_keras_3(network)


def to_keras_3(network: tf.keras.Model) -> Any:
    """Converts a network of tf_keras to Keras 3 (`import keras`).

    Split batch norms become plain ones with the weights of the main branch, as
    in `ca.merge_batch_norm`.

    Args:
      network: functional or Sequential network of tf_keras, for example
        `model.network` of a `ca.ConAdvModel`. It does not change.

    Returns:
      A new network of Keras 3 with equal outputs in inference mode.

    Raises:
      ValueError: if the program has not imported Keras 3; if Keras 3 does not
        have a layer; or if the outputs differ. The error names the layer.
    """
    from conadv_tf.keras_3 import networks

    return networks.to_keras_3(merge_batch_norm(network))
