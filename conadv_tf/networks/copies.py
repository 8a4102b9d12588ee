"""Whether the copy of a network is one: nothing shared, the same outputs.

A copy is made from the layers' configs. A config that holds a live layer makes
a copy that trains the original's weights, or one whose tied weights are tied
no more; a config that leaves an argument out makes another layer.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.networks import layer_calls
from conadv_tf.networks.functional import graph_layers

# Packages whose layers' configs are complete.
_KNOWN = ("conadv_tf", "keras", "tensorflow", "tf_keras")
# Where a network leaves the size of its inputs open; the first that it takes.
_SIZES = (32, 64, 224)
_REPEATS = 4
_TOLERANCE = {"float16": 0.02, "bfloat16": 0.1}


def check_copy(network: tf.keras.Model, copy: tf.keras.Model) -> None:
    """Raises a ValueError, with the layers' names, for what is no true copy.

    Outputs are compared, at inference on one made example, where a layer is
    not one of Keras's own.

    Args:
      network: a functional Keras model.
      copy: what was made of it, layer by layer, with its weights.

    Raises:
      ValueError: if they share a variable, if weights are shared by layers in
        one of them only, or if their outputs differ.
    """
    pairs = [
        (old, new)
        for old, new in zip(graph_layers(network), graph_layers(copy))
        if new is not old
    ]
    shared = _sharing(network, pairs) or _untied(pairs)
    if not shared and any(_is_foreign(old) for old, _ in pairs):
        shared = _reading(network, copy, pairs)
    _refuse(network, shared)


def check_calls(network: tf.keras.Model) -> None:
    """Raises a ValueError for layers that are called with a variable.

    Keras cannot copy such a call.

    Args:
      network: a functional Keras model.
    """
    given_variables = [
        layer_calls.described(layer)
        for layer in graph_layers(network)
        if any(
            isinstance(value, tf.Variable)
            for value in layer_calls.call_arguments(layer)
        )
    ]
    _refuse(network, given_variables)


def _refuse(network: tf.keras.Model, layers: list[str]) -> None:
    if layers:
        raise ValueError(
            "Expected layers that can be copied from their configs; these of "
            f"network {network.name!r} use variables of other layers: "
            f"{', '.join(layers)}. The copy would train the given network's "
            "variables, or not tie them. Share a layer by calling it twice in "
            "the functional graph, or give the layer weights of its own."
        )


def _sharing(
    network: tf.keras.Model,
    pairs: list[tuple[tf.keras.layers.Layer, tf.keras.layers.Layer]],
) -> list[str]:
    """Layers whose copies hold original variables."""
    originals = _ids(network.variables)
    return [
        layer_calls.described(new)
        for _, new in pairs
        if originals & _ids(new.variables)
    ]


def _untied(
    pairs: list[tuple[tf.keras.layers.Layer, tf.keras.layers.Layer]],
) -> list[str]:
    """Layers that share a variable with another where copies do not."""
    counterparts: dict[int, int] = {}
    found = []
    for old, new in pairs:
        if len(old.variables) != len(new.variables):
            continue  # A batch norm that was split, or merged.
        for variable, copy in zip(old.variables, new.variables):
            if counterparts.setdefault(id(variable), id(copy)) != id(copy):
                found.append(layer_calls.described(old))
                break
    return found


def _reading(
    network: tf.keras.Model,
    copy: tf.keras.Model,
    pairs: list[tuple[tf.keras.layers.Layer, tf.keras.layers.Layer]],
) -> list[str]:
    """Foreign layers, if the copy's outputs need the original's variables.

    Raises:
      ValueError: if the outputs are others.
    """
    for inputs in _probes(network):
        try:
            wanted = _outputs(network, inputs)
        except (ValueError, tf.errors.OpError):
            continue  # Another size.
        with tf.GradientTape() as tape:
            found = _outputs(copy, inputs)
        if _ids(tape.watched_variables()) & _ids(network.variables):
            return [
                layer_calls.described(old)
                for old, _ in pairs
                if _is_foreign(old)
            ]
        if not _are_equal(wanted, found) and all(
            # A network that draws, in inference too, has outputs of any kind.
            _are_equal(wanted, _outputs(network, inputs))
            for _ in range(_REPEATS)
        ):
            try:
                where = _first_difference(network, copy, inputs)
            except ValueError:  # Layers that other networks called before.
                where = "One of its layers"
            raise ValueError(
                f"Expected a copy of network {network.name!r} with equal "
                "outputs; received others on a made example. "
                f"{where} is not what its "
                "get_config says: it must return every argument of the layer."
            )
        return []
    return []


def _first_difference(
    network: tf.keras.Model, copy: tf.keras.Model, inputs: list[Any]
) -> str:
    """The first layer, in a nested network too, whose outputs differ."""
    layers = list(zip(network.layers, copy.layers))
    both = [
        tf.keras.Model(each.inputs, [layer.get_output_at(0) for layer in side])
        for each, side in zip((network, copy), zip(*layers))
    ]
    wanted, found = (model(inputs, training=False) for model in both)
    for (old, new), one, other in zip(layers, wanted, found):
        if _are_equal(tf.nest.flatten(one), tf.nest.flatten(other)):
            continue
        if isinstance(old, tf.keras.Model):
            outer = tf.keras.Model(network.inputs, layer_calls.inputs_of(old))
            inner = tf.nest.flatten(outer(inputs, training=False))
            return _first_difference(old, new, inner)
        return f"Layer {layer_calls.described(old)}"
    return f"One of {[layer_calls.described(old) for old, _ in layers]}"


def _probes(network: tf.keras.Model) -> Iterator[list[Any]]:
    """Inputs of one example, of several sizes where these are open."""
    draws = np.random.default_rng(0)
    for size in _SIZES:
        inputs = []
        for each in network.inputs:
            shape = [1, *(n or size for n in each.shape[1:])]
            values = draws.uniform(0, 1 if each.dtype.is_floating else 2, shape)
            inputs.append(tf.cast(tf.constant(values), each.dtype))
        yield inputs
        if all(each.shape[1:].is_fully_defined() for each in network.inputs):
            return


def _outputs(network: tf.keras.Model, inputs: list[Any]) -> list[Any]:
    received: Any = inputs if len(inputs) > 1 else inputs[0]
    return tf.nest.flatten(network(received, training=False))


def _are_equal(wanted: list[Any], found: list[Any]) -> bool:
    for one, other in zip(wanted, found):
        tolerance = _TOLERANCE.get(one.dtype.name, 1e-3)
        one, other = (
            np.asarray(tf.cast(each, tf.float32)) for each in (one, other)
        )
        largest = np.max(np.abs(one), initial=0.0, where=np.isfinite(one))
        if not np.allclose(
            one, other, rtol=0, atol=tolerance * largest, equal_nan=True
        ):
            return False
    return len(wanted) == len(found)


def _is_foreign(layer: tf.keras.layers.Layer) -> bool:
    """Whether a layer, or one inside it, may do what its config omits."""
    return any(
        type(each).__module__.split(".")[0] not in _KNOWN
        or isinstance(each, tf.keras.layers.Lambda)
        for each in keras_internals.flatten_layers(layer)
    )


def _ids(variables: Any) -> set[int]:
    """Identities of variables, of each replica's parts too."""
    strategy = tf.distribute.get_strategy()
    return {
        id(part)
        for variable in variables
        for part in (variable, *strategy.experimental_local_results(variable))
    }
