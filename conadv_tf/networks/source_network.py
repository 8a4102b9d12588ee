"""What changes in a network after it was copied, and not in the copy."""

from typing import Any
import warnings
import weakref

import numpy as np
import tensorflow as tf

from conadv_tf.networks.functional import graph_layers


class SourceNetwork:
    """A network that users keep, and of which a copy is trained.

    It is not kept alive.

    Args:
      network: functional Keras model.
      copy: its copy, layer by layer.
    """

    def __init__(self, network: tf.keras.Model, copy: tf.keras.Model) -> None:
        self._network = weakref.ref(network)
        self._copy = weakref.ref(copy)
        self._before = list(map(_state, graph_layers(network)))

    def warn_of_changes(self) -> None:
        """Warns, once of each, of changes that the copy does not have.

        Of flags (`trainable`) and of what `adapt` finds; weights are the
        affair of those who train both.
        """
        network, copy = self._network(), self._copy()
        if network is None or copy is None:
            return
        before, self._before = self._before, []
        changed: dict[str, list[str]] = {"trainable": [], "adapt": []}
        for old, new, was in zip(
            graph_layers(network), graph_layers(copy), before
        ):
            now = _state(old)
            self._before.append(now)
            for name, value in _state(new).items():
                is_other = not _are_equal(now[name], was[name])
                if is_other and not _are_equal(now[name], value):
                    changed[name].append(old.name)
        if changed["trainable"] or changed["adapt"]:
            warnings.warn(
                f"The network {network.name!r} was given to ConAdvModel and "
                f"has changed since: {_described(changed)}. The model trains "
                "a copy, in which nothing of that changed. Do the same with "
                "model.network (`model.network.trainable = True`, "
                "`model.network.get_layer(name).adapt(data)`) and compile "
                "again, or make the model after the change."
            )


def _state(layer: tf.keras.layers.Layer) -> dict[str, Any]:
    adapted: list[Any] = []
    if hasattr(layer, "adapt"):
        # Some keep what they found in variables, some in their arguments.
        adapted = [*layer.get_weights(), sorted(layer.get_config().items())]
    has_flag = bool(layer.weights) and layer.trainable
    return {"trainable": has_flag, "adapt": adapted}


def _are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_are_equal, one, other))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)


def _described(changed: dict[str, list[str]]) -> str:
    words = {"trainable": "the trainable flag", "adapt": "what is adapted"}
    return " and ".join(
        f"{words[name]} of {layers}"
        for name, layers in changed.items()
        if layers
    )
