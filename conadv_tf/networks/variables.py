"""Selects the variables of a network by their role."""

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.batch_norm import SplitBatchNormalization

_NORMALIZATION_LAYERS = (
    tf.keras.layers.BatchNormalization,
    keras_internals.SyncBatchNormalization,
    tf.keras.layers.LayerNormalization,
    tf.keras.layers.GroupNormalization,
    SplitBatchNormalization,
)


def moving_statistics(network: tf.keras.Model) -> list[tf.Variable]:
    """Returns the variables that batch norms update in training mode."""
    return [
        variable
        for layer in keras_internals.flatten_layers(network)
        if isinstance(layer, tf.keras.layers.BatchNormalization)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]


def normalization_and_biases(
    network: tf.keras.Model,
) -> tuple[list[tf.Variable], list[tf.Variable]]:
    """Returns trainable variables of normalization layers, and all biases.

    Variables are found by the type of their layer, not by their names.
    """
    normalization, biases = [], []
    for layer in keras_internals.flatten_layers(network):
        if isinstance(layer, _NORMALIZATION_LAYERS):
            normalization.extend(layer.trainable_weights)
        bias = getattr(layer, "bias", None)
        if isinstance(bias, tf.Variable):
            biases.append(bias)
    return normalization, biases
