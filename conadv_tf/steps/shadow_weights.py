"""A stale copy of the weights, which attacks read.

It consists of local variables: each replica assigns its copy inside a step.
"""

from typing import Any

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.distribution import LOCAL
from conadv_tf.distribution import local_variable
from conadv_tf.networks import conversion


class ShadowWeights:
    """A second network with stale trainable weights, for attacks to run.

    The attack on the next batch reads this copy while the optimizer overwrites
    the weights, so that in the graph neither waits for the other. The second
    network shares all variables that are not trained with the original.

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
        self._pairs = _share_untrained(network, self.network)
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
        copies = [shadow for _, shadow in self._pairs]
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


def _share_untrained(
    network: tf.keras.Model, shadow: tf.keras.Model
) -> list[tuple[tf.Variable, tf.Variable]]:
    """Replaces the shadow's untrained variables by the network's.

    Returns:
      (weight, shadow variable) pairs of the trained weights.
    """
    trained = {id(weight) for weight in network.trainable_variables}
    pairs = []
    for source, copy in zip(
        keras_internals.flatten_layers(network),
        keras_internals.flatten_layers(shadow),
    ):
        if isinstance(source, tf.keras.Model):
            continue  # It has step counters only; its layers follow.
        for name, value in list(vars(source).items()):
            own = vars(copy).get(name)
            if not isinstance(value, tf.Variable) or own is None:
                continue
            if id(value) in trained:
                pairs.append((value, own))
            else:
                delattr(copy, name)
                setattr(copy, name, value)
        # An adapted preprocessing layer derives values from its variables.
        copy.finalize_state()
    return pairs + _unpaired(network, shadow, pairs)


def _unpaired(
    network: tf.keras.Model,
    shadow: tf.keras.Model,
    pairs: list[tuple[tf.Variable, tf.Variable]],
) -> list[tuple[tf.Variable, tf.Variable]]:
    """Pairs the weights that layers hold in lists or dicts."""
    known = {id(variable) for pair in pairs for variable in pair}
    shared = {id(variable) for variable in network.variables}
    weights = [w for w in network.trainable_variables if id(w) not in known]
    # By identity, because Keras lists a variable twice if it did not expect it
    # to be untrainable.
    by_id = {id(w): w for w in shadow.variables}
    copies = [
        w for key, w in by_id.items() if key not in known and key not in shared
    ]
    if [w.shape for w in weights] != [w.shape for w in copies]:
        raise ValueError(
            "Expected each trainable weight to have a copy of the same shape "
            f"in the rebuilt network; received {[w.name for w in copies]} for "
            f"{[w.name for w in weights]}. The config of a layer does not "
            "describe its weights: correct its get_config."
        )
    return list(zip(weights, copies))
