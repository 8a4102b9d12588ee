"""Functional networks, whose layers can be seen."""

from collections.abc import Iterator

import tensorflow as tf

from conadv_tf import keras_internals


def check_functional(network: tf.keras.Model) -> None:
    """Raises a ValueError unless `network` is a built functional model."""
    if not isinstance(network, tf.keras.Model):
        raise ValueError(
            "Expected a functional Keras model; received "
            f"{type(network).__name__}."
        )
    if not keras_internals.is_functional(network):
        raise ValueError(
            f"Expected a built functional or Sequential Keras model; received "
            f"{network.name!r} of class {type(network).__name__}, whose "
            "layers cannot be seen. Write the network with the functional "
            "API: tf.keras.Model(inputs, outputs); give a Sequential an "
            "Input layer."
        )


def graph_layers(network: tf.keras.Model) -> Iterator[tf.keras.layers.Layer]:
    """The layers of a network and of the models nested in it, not these."""
    check_functional(network)
    for layer in network.layers:
        if isinstance(layer, tf.keras.Model):
            yield from graph_layers(layer)
        else:
            yield layer
