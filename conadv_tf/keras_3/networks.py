"""Converts functional networks of Keras 3 to tf_keras, and back.

Both directions create the layers from their configs, repeat the calls of the
functional graph, copy weights and `trainable` flags, and compare the outputs.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from conadv_tf.keras_3 import comparison
from conadv_tf.keras_3 import to_keras_2
from conadv_tf.keras_3 import to_keras_3 as to_3
from conadv_tf.keras_3.detection import keras_3
from conadv_tf.keras_3.layer_configs import refusal
from conadv_tf.keras_3.to_keras_2 import check_graph

__all__ = ["check_graph", "from_keras_3", "to_keras_3"]


def from_keras_3(network: Any) -> tf.keras.Model:
    """Converts a network of Keras 3; see `ca.networks.from_keras_3`."""
    keras = keras_3()
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            "Expected Keras 3 with the backend tensorflow; received "
            f"{keras.config.backend()!r}. Set KERAS_BACKEND=tensorflow in the "
            "environment."
        )
    with _strategy_of(network).scope():
        return _finished(network, to_keras_2.Conversion())


def _strategy_of(network: Any) -> tf.distribute.Strategy:
    """Returns the strategy in whose scope a network of Keras 3 was created.

    Raises:
      ValueError: if the current scope is of another strategy.
    """
    own, current = network.distribute_strategy, tf.distribute.get_strategy()
    for weight in network.weights:  # The network may be created later.
        own = getattr(weight.value, "distribute_strategy", None) or own
    if own is not current and tf.distribute.has_strategy():
        raise ValueError(
            f"Network {network.name!r} of Keras 3 was created in the scope of "
            f"a {type(own).__name__} with {own.num_replicas_in_sync} "
            f"replica(s), and is converted in that of another "
            f"{type(current).__name__} with {current.num_replicas_in_sync}. "
            "Create the network and ConAdvModel in the scope of one strategy."
        )
    return own


def to_keras_3(network: tf.keras.Model) -> Any:
    """Converts a network to Keras 3; see `ca.networks.to_keras_3`."""
    return _finished(network, to_3.Conversion())


def _finished(network: Any, conversion: Any) -> Any:
    """Converts a network with its weights and checks the outputs."""
    converted = conversion.model(network)
    for old, new in conversion.pairs:
        if not isinstance(old, (tf.keras.Model, keras_3().Model)):
            _copy_weights(old, new)
    # The flag of a model sets the flags of its layers, so models come first.
    for old, new in [(network, converted), *reversed(conversion.pairs)]:
        new.trainable = old.trainable
    comparison.check_outputs(network, converted)
    return converted


def _copy_weights(old: Any, new: Any) -> None:
    values = [np.asarray(value) for value in old.get_weights()]
    try:
        new.set_weights(values)
    except ValueError as error:
        raise refusal(old, f"its weights do not fit: {error}") from error
    if hasattr(new, "finalize_state"):
        new.finalize_state()  # Normalization computes with constants.
