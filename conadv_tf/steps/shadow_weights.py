"""A stale copy of the weights, which attacks read.

It consists of local variables: each replica assigns its copy inside a step.
"""

from typing import Any

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.distribution import LOCAL
from conadv_tf.distribution import local_variable
from conadv_tf.networks import conversion
from conadv_tf.networks import state_variables

_Pair = tuple[tf.Variable, tf.Variable]


class ShadowWeights:
    """A second network with stale trainable weights, for attacks to run.

    The attack on the next batch reads this copy while the optimizer overwrites
    the weights, so that in the graph neither waits for the other. The second
    network shares variables that are not trained with the original. It has
    copies of the current values where layers hold such variables in lists or
    objects, or may write them.

    With `staleness` 1 the copy holds theta_t, the weights at the start of
    step t. With tau > 1 it holds theta_max(0, t + 1 - tau), because step t + 1
    trains on the batch that step t attacks. A ring holds the tau - 1 newer
    snapshots.

    Create it under the strategy scope of the network.

    Attributes:
      staleness: tau.
      network: the second network.

    Args:
      network: functional network with split batch norms.
      staleness: tau >= 1.
    """

    def __init__(self, network: tf.keras.Model, staleness: int) -> None:
        self.staleness = staleness
        self.network = _shadow_network(network)
        _share_untrained(network, self.network)
        self._pairs, self._untrained = _pairs(network, self.network)
        # Slot t mod (tau - 1) holds theta_t.
        self._rings = [
            local_variable(
                tf.zeros([staleness - 1, *shadow.shape], shadow.dtype),
                name="ring",
            )
            for _, shadow in self._pairs
            if staleness > 1
        ]

    @property
    def pairs(self) -> list[tuple[tf.Variable, tf.Variable]]:
        """(weight, shadow copy) variables."""
        return list(self._pairs)

    def variables(self) -> dict[str, tf.Variable]:
        """Returns the variables by name: the copies and the rings."""
        copies = [shadow for _, shadow in (*self._pairs, *self._untrained)]
        return {
            f"{group}/{index}": variable
            for group, variables in (("shadow", copies), ("ring", self._rings))
            for index, variable in enumerate(variables)
        }

    def finalize(self) -> None:
        """Updates preprocessing layers that were adapted between two steps."""
        for layer in keras_internals.flatten_layers(self.network):
            layer.finalize_state()

    def refresh(self, steps: tf.Tensor) -> None:
        """Writes the weights that the attack of this step reads.

        Args:
          steps: int64 scalar, number of steps since the reset; 0 drops all
            older snapshots.
        """
        for variable, shadow in self._untrained:
            shadow.assign(tf.convert_to_tensor(variable))
        if self.staleness == 1:
            for weight, shadow in self._pairs:
                shadow.assign(tf.convert_to_tensor(weight))
            return
        slots = self.staleness - 1
        slot = tf.cast(steps % slots, tf.int32)
        # Before tau - 1 steps have passed, the oldest known is theta_0.
        oldest = tf.where(steps >= slots, slot, 0)
        for (weight, shadow), ring in zip(self._pairs, self._rings):
            current = tf.convert_to_tensor(weight)
            snapshots = tf.convert_to_tensor(ring)
            stale = tf.gather(snapshots, oldest)
            shadow.assign(tf.where(steps > 0, stale, current))
            ring.assign(
                tf.tensor_scatter_nd_update(
                    snapshots, tf.reshape(slot, [1, 1]), current[tf.newaxis]
                )
            )


def _shadow_network(network: tf.keras.Model) -> tf.keras.Model:
    def create_local(next_creator: Any, **arguments: Any) -> tf.Variable:
        return next_creator(**{**arguments, **LOCAL})

    with tf.variable_creator_scope(create_local):
        # Without weights, because each step begins with a refresh.
        return conversion.rebuild(network, with_weights=False)


def _share_untrained(network: tf.keras.Model, shadow: tf.keras.Model) -> None:
    """Replaces untrained variables of the shadow's layers by the network's.

    Variables that layers may write stay copies, for the attack to write.
    """
    copied = {
        id(each)
        for each in (*network.trainable_variables, *state_variables(network))
    }
    for source, copy in zip(
        keras_internals.flatten_layers(network),
        keras_internals.flatten_layers(shadow),
    ):
        if isinstance(source, tf.keras.Model):
            continue  # It has step counters only; its layers follow.
        for name, value in list(vars(source).items()):
            if not isinstance(value, tf.Variable) or id(value) in copied:
                continue
            if vars(copy).get(name) is not None:
                delattr(copy, name)
                setattr(copy, name, value)
        # An adapted preprocessing layer derives values from its variables.
        copy.finalize_state()


def _pairs(
    network: tf.keras.Model, shadow: tf.keras.Model
) -> tuple[list[_Pair], list[_Pair]]:
    """Returns (weight, shadow variable) pairs, trained and untrained.

    A variable is found by the attributes, lists, dicts and modules that lead to
    it from a layer, as in a checkpoint.

    Raises:
      ValueError: if a weight has no copy of the same shape.
    """
    shared = {id(variable) for variable in shadow.variables}
    weights = [
        weight
        for weight in network.variables
        # Lookup layers list their tables too.
        if isinstance(weight, tf.Variable) and id(weight) not in shared
    ]
    found = _copies(network, shadow, {})
    pairs = [found.get(id(weight), (weight, None)) for weight in weights]
    missing = [
        weight.name
        for weight, copy in pairs
        if getattr(copy, "shape", None) != weight.shape
    ]
    if missing:
        raise ValueError(
            "Expected a rebuilt layer to have weights of the same shapes at "
            f"the same attributes; received other ones for {missing}. The "
            "attack "
            "reads copies of the weights. Create them in the layer's `build` "
            "method from the arguments in its config, and keep them in "
            "attributes, or use step=ca.Sequential(), which needs no copy."
        )
    trained = {id(weight) for weight in network.trainable_variables}
    return (
        [pair for pair in pairs if id(pair[0]) in trained],
        [pair for pair in pairs if id(pair[0]) not in trained],
    )


def _copies(
    source: Any, copy: Any, found: dict[int, tuple[Any, Any]]
) -> dict[int, tuple[Any, Any]]:
    """Returns {id: (object, its counterpart)} for all objects below another."""
    if id(source) not in found:
        found[id(source)] = source, copy
        others = tf.train.TrackableView.children(copy)
        for name, child in tf.train.TrackableView.children(source).items():
            if name in others:
                _copies(child, others[name], found)
    return found
