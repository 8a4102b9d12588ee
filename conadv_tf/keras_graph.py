"""The graph of calls in a functional network, like `keras_internals`.

A functional network consists of calls of layers. No other module knows how
Keras stores them, except for the public `inputs`, `outputs` and `layers`.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class Call:
    """One call of a layer with symbolic tensors.

    Attributes:
      layer: the layer.
      inputs: list of the symbolic tensors among the arguments, in order; []
        for an input layer.
      outputs: list of the symbolic tensors that the call returns.

    Args:
      node: Keras's object for a call.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self.layer = node.layer
        self.inputs = list(node.keras_inputs)
        self.outputs = tf.nest.flatten(node.outputs)

    def arguments(self) -> list[Any]:
        """Returns all arguments as a flat list."""
        return tf.nest.flatten((self._node.call_args, self._node.call_kwargs))

    def arguments_with(
        self, tensors: Sequence[Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Returns the arguments with other tensors in place of `inputs`.

        Args:
          tensors: one tensor for each of `inputs`.

        Returns:
          Positional arguments and keyword arguments.
        """
        # Keras takes one element from a list for each use of a tensor.
        by_id = {
            str(id(symbol)): [tensor] * len(self.inputs)
            for symbol, tensor in zip(self.inputs, tensors)
        }
        return self._node.map_arguments(by_id)


def is_functional(network: tf.keras.Model) -> bool:
    """Returns whether Keras has the graph of a network's calls.

    It is true for functional models and built Sequential models. The class does
    not show it, because an instance of a subclass of `tf.keras.Model` that is
    created from (inputs, outputs) has the graph too.
    """
    return bool(getattr(network, "_is_graph_network", False))


def calls(network: tf.keras.Model) -> Iterator[Call]:
    """Yields the calls of layers in a functional network, in order.

    `calls_of` each layer would include the calls in other networks.
    """
    for depth in sorted(network._nodes_by_depth, reverse=True):
        for node in network._nodes_by_depth[depth]:
            if not node.is_input:
                yield Call(node)


def calls_of(layer: tf.keras.layers.Layer) -> list[Call]:
    """Returns the calls of a layer in all networks, in order.

    The first call of an input layer has no inputs.
    """
    return [Call(node) for node in layer.inbound_nodes]


def call_of(tensor: Any) -> Call:
    """Returns the call that returned a symbolic tensor."""
    return Call(tensor.node)


def inputs_of(layer: tf.keras.layers.Layer) -> list[Any]:
    """Returns the inputs of a layer's first call; [] for an input layer."""
    found = calls_of(layer)
    return found[0].inputs if found else []


def ends(network: tf.keras.Model) -> tuple[Any, Any]:
    """Returns the symbolic inputs and outputs of a functional network.

    They are single tensors, lists or dicts. `network.input` does not exist if
    several networks contain the network.
    """
    return network._nested_inputs, network._nested_outputs
