"""Compares the outputs of a network and of its conversion."""

from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf import network_checks
from conadv_tf.keras_3.detection import is_keras_3
from conadv_tf.keras_3.detection import keras_3

# Largest difference of equal outputs, relative to the largest output.
_TOLERANCES = {"float16": 0.1, "bfloat16": 0.1}


def check_outputs(network: Any, converted: Any) -> None:
    """Compares outputs in inference mode for three random examples.

    Args:
      network: functional network of Keras 3 or tf_keras.
      converted: its conversion to the other Keras.

    Raises:
      ValueError: if the outputs differ. The error names the first layer.
    """
    inputs = _examples(network)
    if inputs is None or _are_close(network, converted, inputs):
        return
    if not _are_close(network, network, inputs):
        return  # Random in inference mode too, so not comparable.
    where = _first_difference(network, converted, inputs)
    raise ValueError(
        f"Expected network {network.name!r} to compute the same in Keras 3 and "
        f"in tf_keras; received different outputs for random images. {where} "
        "computes something else. Replace it by a layer that computes the same "
        "in both, or write the network with tf.keras."
    )


def _are_close(network: Any, converted: Any, inputs: Any) -> bool:
    expected, received = (
        tf.nest.flatten(model(inputs, training=False))
        for model in (network, converted)
    )
    return network_checks.are_close(expected, received, _TOLERANCES)


def _examples(network: Any) -> Optional[Any]:
    """Returns random inputs, or None if the network accepts no size tried.

    Pixels are in [-1, 1], [0, 1] and [0, 255], because networks differ in the
    range that they expect.
    """
    draws = np.random.default_rng(0)
    for size in network_checks.OPEN_SIZES:
        inputs = []
        for each in network.inputs:
            count, *shape = (n or size for n in each.shape)
            count = each.shape[0] or 3
            low, high = np.resize([[-1, 0, 0], [1, 1, 255]], [2, count])
            pixels = draws.uniform(size=[*shape, count]) * (high - low) + low
            pixels = tf.constant(np.moveaxis(pixels, -1, 0))
            if not tf.as_dtype(each.dtype).is_floating:
                pixels = tf.round(tf.abs(pixels))
            inputs.append(tf.cast(pixels, each.dtype))
        structure = inputs if len(inputs) > 1 else inputs[0]
        try:
            network(structure, training=False)
            return structure
        except (ValueError, tf.errors.OpError):
            continue
    return None


def _first_difference(network: Any, converted: Any, inputs: Any) -> str:
    """Returns the first layer whose outputs differ, for an error message."""
    kinds = [
        keras_3().Model if is_keras_3(model) else tf.keras.Model
        for model in (network, converted)
    ]
    for layer in network.layers:
        try:
            parts = [
                kind(model.inputs, model.get_layer(layer.name).output)
                for kind, model in zip(kinds, (network, converted))
            ]
            if not _are_close(parts[0], parts[1], inputs):
                return f"Layer {network_checks.name_and_class(layer)}"
        except Exception:  # A layer that is called several times.
            continue
    return "One of its layers"
