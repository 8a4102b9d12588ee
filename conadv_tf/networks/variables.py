"""Selects the variables of a network by their role."""

from typing import Any

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.batch_norm import SplitBatchNormalization
from conadv_tf.networks import layer_state

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


def statistics(network: tf.keras.Model) -> list[tf.Variable]:
    """Returns all variables of floats that layers update in training mode."""
    state = layer_state.writable_in_replica(
        layer_state.state_variables(network)
    )
    floats = [each for each in state if each.dtype.is_floating]
    return [*moving_statistics(network), *floats]


def normalization_and_biases(
    network: tf.keras.Model,
) -> tuple[list[tf.Variable], list[tf.Variable]]:
    """Returns trainable variables of normalization layers, and all biases.

    Variables are found by the type of their layer, not by their names.
    """
    normalization: list[tf.Variable] = []
    biases: list[tf.Variable] = []
    for layer in keras_internals.flatten_layers(network):
        if isinstance(layer, _NORMALIZATION_LAYERS):
            normalization.extend(layer.trainable_weights)
        if hasattr(layer, "normalization_and_biases"):
            # Runs a layer of Keras 3.
            for found, part in zip(
                (normalization, biases), layer.normalization_and_biases()
            ):
                found.extend(part)
        bias = getattr(layer, "bias", None)
        if isinstance(bias, tf.Variable):
            biases.append(bias)
    return normalization, biases


def branch_pairs(
    network: tf.keras.Model,
) -> list[tuple[tf.Variable, tf.Variable]]:
    """Returns (variable of a main batch norm, that of another branch)."""
    return [
        pair
        for layer in keras_internals.flatten_layers(network)
        if isinstance(layer, SplitBatchNormalization)
        for branch in layer.branch_layers[1:]
        for pair in zip(layer.branch_layers[0].variables, branch.variables)
    ]


def set_lars_kinds(optimizer: Any, network: tf.keras.Model) -> None:
    """Tells `ca.LARS` which weights are normalization and which are biases.

    Args:
      optimizer: Keras optimizer, possibly in a `LossScaleOptimizer`; others
        than `ca.LARS` are left alone.
      network: functional network that it trains.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    set_kind = getattr(optimizer, "set_kind", None)
    if set_kind is not None:
        normalization, biases = normalization_and_biases(network)
        set_kind(normalization, kind="normalization")
        set_kind(biases, kind="bias")
