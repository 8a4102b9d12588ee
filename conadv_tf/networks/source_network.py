"""The network that a user passed, of which a copy is trained."""

from typing import Any
import warnings
import weakref

import numpy as np
import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf import keras_layers
from conadv_tf.networks import optimizer_variables
from conadv_tf.networks.layer_graph import graph_layers


class SourceNetwork:
    """The network that a user passed, of which a copy is trained.

    Holds weak references, so that it does not keep the network alive.

    Args:
      network: functional Keras model.
      copy: its copy, layer by layer.
    """

    def __init__(self, network: tf.keras.Model, copy: tf.keras.Model) -> None:
        self._network = weakref.ref(network)
        self._copy = weakref.ref(copy)
        self._copied = optimizer_variables.copied_variables(network, copy)
        self._before = list(map(_state, [network, *graph_layers(network)]))

    def translate_variables(self, optimizer: Any) -> None:
        """Makes an optimizer treat the copies like the network's variables.

        Args:
          optimizer: Keras optimizer.

        Raises:
          ValueError: if it knows variables of the network in an unknown way.
        """
        optimizer_variables.translate(optimizer, self._copied)

    def warn_of_changes(self) -> None:
        """Warns once about each change that the copy does not have.

        Compares `trainable` flags, the state that `adapt` computes and the
        number of losses that `add_loss` added. Weights are not compared: they
        change whenever either network trains.
        """
        network, copy = self._network(), self._copy()
        if network is None or copy is None:
            return
        before, self._before = self._before, []
        changed: dict[str, list[str]] = {
            "the trainable flag": [],
            "the adapted state": [],
            "the added losses": [],
        }
        for old, new, was in zip(
            [network, *graph_layers(network)],
            [copy, *graph_layers(copy)],
            before,
        ):
            now = _state(old)
            self._before.append(now)
            for name, value in _state(new).items():
                if now[name] not in (was[name], value):
                    changed[name].append(old.name)
        changes = [f"{name} of {at}" for name, at in changed.items() if at]
        if changes:
            warnings.warn(
                f"The network {network.name!r} was passed to ConAdvModel and "
                f"has changed since: {' and '.join(changes)}. The model trains "
                "a copy, which does not have these changes. Apply them to "
                "model.network (`model.network.trainable = True`, "
                "`model.network.get_layer(name).adapt(data)`, "
                "`model.network.add_loss(function)`) and compile again, or "
                "create the model after the change."
            )


def _state(layer: tf.keras.layers.Layer) -> dict[str, Any]:
    """Returns the state of a layer that is compared, by description."""
    if isinstance(layer, tf.keras.Model):
        return {"the added losses": len(keras_layers.loss_functions(layer))}
    losses = [
        loss
        for each in keras_internals.flatten_layers(layer)
        for loss in keras_layers.loss_functions(each)
    ]
    adapted: list[Any] = []
    if hasattr(layer, "adapt"):
        # Some layers store the result in variables, some in their arguments.
        weights = [
            np.asarray(weight).tolist() for weight in layer.get_weights()
        ]
        adapted = [*weights, sorted(layer.get_config().items())]
    is_trainable = bool(layer.weights) and layer.trainable
    return {
        "the trainable flag": is_trainable,
        "the adapted state": adapted,
        "the added losses": len(losses),
    }
