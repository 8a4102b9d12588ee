"""Checks that a copied network shares no variables and computes the same.

A copy is made from the layers' configs. If a config holds a live layer, the
copy trains the original's weights, or weights that were tied no longer are. If
a config omits an argument, the copy computes something else.
"""

from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf import keras_graph
from conadv_tf import keras_layers
from conadv_tf.network_checks import are_close
from conadv_tf.network_checks import name_and_class
from conadv_tf.network_checks import OPEN_SIZES
from conadv_tf.networks import overrides
from conadv_tf.networks.layer_graph import graph_layers
from conadv_tf.networks.layer_graph import is_custom

# (layer of the original network, layer of the copy).
_Pairs = list[tuple[tf.keras.layers.Layer, tf.keras.layers.Layer]]
# Repetitions that tell a random network from a wrong copy.
_REPEATS = 4
# Largest difference of equal outputs, relative to the largest output.
_TOLERANCES = {"float16": 0.02, "bfloat16": 0.1}


def check_copy(network: tf.keras.Model, copy: tf.keras.Model) -> None:
    """Checks a copy for shared or untied variables and equal outputs.

    Outputs are compared only if the network has a custom or `Lambda` layer,
    in inference mode on one random example.

    Args:
      network: functional Keras model.
      copy: its copy, layer by layer, with the same weights.

    Raises:
      ValueError: if the two share a variable, if layers share weights in only
        one of them, if a `call` was assigned to a layer, or if their outputs
        differ. The error names the layers.
    """
    pairs = [
        (old, new)
        for old, new in zip(graph_layers(network), graph_layers(copy))
        if new is not old
    ]
    overrides.check_calls(pairs)
    tied = _sharing_layers(network, pairs) or _untied_layers(pairs)
    custom = [name_and_class(old) for old, _ in pairs if is_custom(old)]
    if not tied and custom and _reads_original(network, copy):
        tied = custom
    _refuse(network, tied)


def check_call_arguments(network: tf.keras.Model) -> None:
    """Raises a ValueError if a layer is called with a variable.

    Keras cannot copy such a call.

    Args:
      network: functional Keras model.
    """
    tied = [
        name_and_class(layer)
        for layer in graph_layers(network)
        if any(
            isinstance(argument, tf.Variable)
            for call in keras_graph.calls_of(layer)
            for argument in call.arguments()
        )
    ]
    _refuse(network, tied)


def _refuse(network: tf.keras.Model, layers: list[str]) -> None:
    if layers:
        raise ValueError(
            "Expected layers that can be copied from their configs; received "
            f"network {network.name!r}, in which these layers use variables of "
            f"other layers: {', '.join(layers)}. The copy would train the "
            "original network's variables, or not tie them. Share a layer by "
            "calling it twice in the functional graph, or give each layer "
            "separate weights."
        )


def _sharing_layers(network: tf.keras.Model, pairs: _Pairs) -> list[str]:
    """Returns the layers of the copy that hold variables of the original."""
    originals = _ids(network.variables)
    return [
        name_and_class(new)
        for _, new in pairs
        if originals & _ids(new.variables)
    ]


def _untied_layers(pairs: _Pairs) -> list[str]:
    """Returns layers that share a variable where their copies do not."""
    copies: dict[int, int] = {}
    untied = []
    for old, new in pairs:
        if len(old.variables) != len(new.variables):
            continue  # A batch norm that was split or merged.
        for variable, copy in zip(old.variables, new.variables):
            if copies.setdefault(id(variable), id(copy)) != id(copy):
                untied.append(name_and_class(old))
                break
    return untied


def _reads_original(network: tf.keras.Model, copy: tf.keras.Model) -> bool:
    """Compares outputs; whether the copy reads variables of the original.

    Raises:
      ValueError: if the outputs differ.
    """
    example = _example(network)
    if example is None:
        return False
    inputs, expected = example
    with tf.GradientTape() as tape:
        received = _outputs(copy, inputs)
    if _ids(tape.watched_variables()) & _ids(network.variables):
        return True
    if not are_close(expected, received, _TOLERANCES) and all(
        # The outputs of a network that is random in inference mode too are
        # not comparable.
        are_close(expected, _outputs(network, inputs), _TOLERANCES)
        for _ in range(_REPEATS)
    ):
        try:
            where = _first_difference(network, copy, inputs)
        except ValueError:  # Layers that other networks called before.
            where = "One of its layers"
        raise ValueError(
            f"Expected a copy of network {network.name!r} to compute the same "
            "outputs; received different ones for a random example. "
            f"{where} differs from its copy. Return every argument of the "
            "layer's constructor from its get_config."
        )
    return False


def _example(
    network: tf.keras.Model,
) -> Optional[tuple[list[Any], list[Any]]]:
    """Returns inputs of one example and the network's outputs for them.

    Tries several sizes if the network leaves the size of its inputs open, and
    returns None if the network accepts none of them.
    """
    draws = np.random.default_rng(0)
    is_fixed = all(each.shape[1:].is_fully_defined() for each in network.inputs)
    for size in OPEN_SIZES[:1] if is_fixed else OPEN_SIZES:
        inputs = []
        for each in network.inputs:
            shape = [1, *(n or size for n in each.shape[1:])]
            high = 1 if each.dtype.is_floating else 2
            values = tf.constant(draws.uniform(0, high, shape))
            inputs.append(tf.cast(values, each.dtype))
        try:
            return inputs, _outputs(network, inputs)
        except (ValueError, tf.errors.OpError):
            continue  # The network does not accept this size.
    return None


def _first_difference(
    network: tf.keras.Model, copy: tf.keras.Model, inputs: list[Any]
) -> str:
    """Returns the first layer whose outputs differ, also in nested models."""
    pairs = list(zip(network.layers, copy.layers))
    expected, received = (
        tf.keras.Model(model.inputs, [x.get_output_at(0) for x in layers])
        for model, layers in zip((network, copy), zip(*pairs))
    )
    for (old, new), ours, theirs in zip(
        pairs,
        expected(inputs, training=False),
        received(inputs, training=False),
    ):
        ours, theirs = tf.nest.flatten(ours), tf.nest.flatten(theirs)
        if are_close(ours, theirs, _TOLERANCES):
            continue
        if isinstance(old, tf.keras.Model):
            outer = tf.keras.Model(network.inputs, keras_graph.inputs_of(old))
            inner = tf.nest.flatten(outer(inputs, training=False))
            return _first_difference(old, new, inner)
        return f"Layer {name_and_class(old)}"
    return f"One of {[name_and_class(old) for old, _ in pairs]}"


def _outputs(network: tf.keras.Model, inputs: list[Any]) -> list[Any]:
    structure: Any = inputs if len(inputs) > 1 else inputs[0]
    return tf.nest.flatten(network(structure, training=False))


def _ids(variables: Any) -> set[int]:
    """Returns the ids of the handles of variables on all replicas."""
    return {
        id(handle)
        for variable in variables
        for handle in keras_layers.handles(variable)
    }
