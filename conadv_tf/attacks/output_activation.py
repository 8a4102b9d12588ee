"""Finds the last activation of a network."""

from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_graph

_OPERATIONS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
# Operations that keep the values of outputs.
_PASS_THROUGH = ("Cast", "Identity", "Reshape", "Squeeze")


def output_activation(network: Any) -> Optional[str]:
    """Returns the name of the last activation, or None if it is unknown.

    Args:
      network: network with one output, or a `ConAdvModel`.

    Returns:
      "softmax", "sigmoid", "linear" or None. It is None for a callable that is
      no functional model.
    """
    if not keras_graph.is_functional(network):
        network = getattr(network, "network", None)  # Of a ConAdvModel.
    if not keras_graph.is_functional(network):
        return None
    return _activation(network.outputs[0])


def _activation(tensor: Any) -> Optional[str]:
    """Returns the name of the activation that a symbolic tensor comes from."""
    call = keras_graph.call_of(tensor)
    layer = call.layer
    if isinstance(layer, tf.keras.Model):
        return _activation(layer.outputs[0])
    if isinstance(layer, tf.keras.layers.Softmax):
        return "softmax"
    name = getattr(getattr(layer, "activation", None), "__name__", None)
    if name in ("softmax", "sigmoid"):
        return name
    if name == "linear" and isinstance(layer, tf.keras.layers.Activation):
        return _activation(call.inputs[0])
    if name == "linear":
        return name if isinstance(layer, tf.keras.layers.Dense) else None
    if not call.inputs:
        return None
    try:
        operation = _last_operation(call)
    except Exception:  # A layer that cannot be traced alone.
        return None
    if operation.type == "Placeholder":
        # The layer changed nothing. A linear layer before it is not certain.
        before = _activation(call.inputs[0])
        return None if before == "linear" else before
    return _OPERATIONS.get(operation.type)


def _last_operation(call: keras_graph.Call) -> tf.Operation:
    """Returns the last operation of a layer's call that changes values.

    A `Lambda` layer, an operation such as `tf.nn.softmax(tensor)` and a custom
    layer do not name their activations.

    Args:
      call: the call of a layer in a functional network.
    """

    def repeat(*inputs: tf.Tensor) -> Any:
        args, kwargs = call.arguments_with(inputs)
        return call.layer(*args, **kwargs)

    specs = [tf.TensorSpec(each.shape, each.dtype) for each in call.inputs]
    function = tf.function(repeat, autograph=False).get_concrete_function(
        *specs
    )
    operation = function.outputs[0].op
    while operation.type in _PASS_THROUGH:
        operation = operation.inputs[0].op
    return operation
