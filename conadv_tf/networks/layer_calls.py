"""Layers of a network called one by one, as the network calls them."""

from collections.abc import Sequence
import inspect
from typing import Any

import tensorflow as tf

from conadv_tf.batch_norm import batch_norm_branch
from conadv_tf.networks.functional import graph_layers


def described(layer: tf.keras.layers.Layer) -> str:
    """A layer's name and class, for an error."""
    return f"{layer.name!r} ({type(layer).__name__})"


def inputs_of(layer: tf.keras.layers.Layer) -> list[Any]:
    """The symbolic inputs of a layer's first call; [] of an input layer."""
    nodes = layer.inbound_nodes
    return list(nodes[0].keras_inputs) if nodes else []


def call_arguments(layer: tf.keras.layers.Layer) -> list[Any]:
    """What a layer's calls are given, symbolic inputs and others, flat."""
    calls = [(node.call_args, node.call_kwargs) for node in layer.inbound_nodes]
    return tf.nest.flatten(calls)


def call(layer: tf.keras.layers.Layer, inputs: Sequence[tf.Tensor]) -> Any:
    """What a layer's first call gives for other inputs, in training mode.

    Args:
      layer: of a functional network.
      inputs: one tensor for each of `inputs_of`.
    """
    given = {
        str(id(symbol)): [value] * len(inputs)
        for symbol, value in zip(inputs_of(layer), inputs)
    }
    args, kwargs = layer.inbound_nodes[0].map_arguments(given)
    if "training" in inspect.signature(layer.call).parameters:
        kwargs = {"training": True, **kwargs}
    with batch_norm_branch("auxiliary", update_statistics=False):
        return layer(*args, **kwargs)


def layers_without_gradient(network: tf.keras.Model) -> list[str]:
    """Names and classes of the layers that no gradient comes through.

    Each is traced for itself: TensorFlow says which operation has no gradient,
    if at all, and not in which layer.

    Args:
      network: a functional Keras model.
    """
    return [
        described(layer)
        for layer in graph_layers(network)
        if inputs_of(layer) and not _has_gradient(layer)
    ]


def _has_gradient(layer: tf.keras.layers.Layer) -> bool:
    found = False

    def differentiate(*inputs: tf.Tensor) -> None:
        nonlocal found
        with tf.GradientTape() as tape:
            tape.watch([each for each in inputs if each.dtype.is_floating])
            outputs = tf.nest.flatten(call(layer, inputs))
        gradients = tape.gradient(outputs, list(inputs))
        found = any(gradient is not None for gradient in gradients)

    specs = [tf.TensorSpec(each.shape, each.dtype) for each in inputs_of(layer)]
    try:
        tf.function(differentiate, autograph=False).get_concrete_function(
            *specs
        )
    except LookupError:
        return False
    except Exception:  # What cannot be tried alone is not accused.
        return True
    return found
