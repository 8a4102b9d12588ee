"""The network that a user passed, of which a copy is trained."""

from typing import Any
import warnings
import weakref

import numpy as np
import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf import keras_layers
from conadv_tf.keras_3 import is_keras_3
from conadv_tf.keras_3 import is_model_of_keras_3
from conadv_tf.networks import optimizer_variables

_Path = tuple[str, ...]


class SourceNetwork:
    """The network that a user passed, of which a copy is trained.

    Holds weak references, so that it does not keep the network alive.

    Args:
      network: functional Keras model, also of Keras 3.
      converted: the network itself, or its conversion from Keras 3.
      copy: the copy of `converted`, layer by layer.
    """

    def __init__(
        self, network: Any, converted: tf.keras.Model, copy: tf.keras.Model
    ) -> None:
        self._network = weakref.ref(network)
        self._copy = weakref.ref(copy)
        # The variables that an optimizer of tf.keras may know.
        self._copied = optimizer_variables.copied_variables(converted, copy)
        self._before = _states(network)

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
        before, self._before = self._before, _states(network)
        copied = _states(copy)
        changed: dict[str, list[str]] = {
            "the trainable flag": [],
            "the adapted state": [],
            "the added losses": [],
        }
        for path, now in self._before.items():
            for name, value in copied.get(path, {}).items():
                if now[name] not in (before[path][name], value):
                    changed[name].append([network.name, *path][-1])
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


def _states(network: Any) -> dict[_Path, dict[str, Any]]:
    """Returns the state of a network and of each layer, by nested names."""
    states: dict[_Path, dict[str, Any]] = {(): _state(network)}
    for layer in network.layers:
        if isinstance(layer, tf.keras.Model) or is_model_of_keras_3(layer):
            inside = _states(layer)
        else:
            inside = {(): _state(layer)}
        for path, state in inside.items():
            states[(layer.name,) + path] = state
    return states


def _state(layer: Any) -> dict[str, Any]:
    """Returns the state of a layer that is compared, by description."""
    losses = 0
    if not is_keras_3(layer):  # Keras 3 has no losses without inputs.
        inside = [layer]
        if not isinstance(layer, tf.keras.Model):
            inside = list(keras_internals.flatten_layers(layer))
        losses = sum(len(keras_layers.loss_functions(each)) for each in inside)
    if isinstance(layer, tf.keras.Model) or is_model_of_keras_3(layer):
        return {"the added losses": losses}
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
        "the added losses": losses,
    }
