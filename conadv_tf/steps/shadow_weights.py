"""A second copy of the weights, stale, for attacks to read.

It lives in local variables: each replica assigns its own copy inside a step.
"""

from typing import Any

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.distribution import LOCAL
from conadv_tf.distribution import local_variable
from conadv_tf.networks import conversion


class ShadowWeights:
    """A second copy of the trainable weights, for attacks to read.

    The attack on the next batch reads this copy while the optimizer overwrites
    the weights, so that in the graph neither waits for the other. The copy is
    a network of its own that shares every variable that is not trained with
    the original; its branch-by-branch batch norms are copies too.

    With `staleness` 1 the copy holds theta_t, the weights at the start of
    step t. With tau > 1 it holds theta_max(0, t + 1 - tau): the batch that is
    attacked at step t is trained on at step t + 1. The tau - 1 older
    snapshots wait in a ring.

    Create it under the strategy scope of the network.

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
        """The variables this keeps, by name: the copies, and the rings."""
        copies = [shadow for _, shadow in self._pairs]
        return {
            f"{group}/{index}": variable
            for group, variables in (("shadow", copies), ("ring", self._rings))
            for index, variable in enumerate(variables)
        }

    def finalize(self) -> None:
        """Takes what layers were adapted to since, between two steps."""
        for layer in keras_internals.flatten_layers(self.network):
            layer.finalize_state()

    def refresh(self, age: tf.Tensor) -> None:
        """Writes the weights that the attack of this step reads.

        Args:
          age: int64 scalar, steps since the pipeline started; 0 forgets all
            older snapshots.
        """
        if self.staleness == 1:
            for weight, shadow in self._pairs:
                shadow.assign(tf.convert_to_tensor(weight))
            return
        slots = self.staleness - 1
        slot = tf.cast(age % slots, tf.int32)
        # Before tau - 1 steps have passed, the oldest known is theta_0.
        oldest = tf.where(age >= slots, slot, 0)
        for (weight, shadow), ring in zip(self._pairs, self._rings):
            current = tf.convert_to_tensor(weight)
            snapshots = tf.convert_to_tensor(ring)
            stale = tf.gather(snapshots, oldest)
            shadow.assign(tf.where(age > 0, stale, current))
            ring.assign(
                tf.tensor_scatter_nd_update(
                    snapshots, tf.reshape(slot, [1, 1]), current[tf.newaxis]
                )
            )


def _shadow_network(network: tf.keras.Model) -> tf.keras.Model:
    def create_local(next_creator: Any, **arguments: Any) -> tf.Variable:
        return next_creator(**{**arguments, **LOCAL})

    with tf.variable_creator_scope(create_local):
        # No weights yet: every step begins with a refresh.
        return conversion.rebuild(
            network, conversion.copy_layer, with_weights=False
        )


def _share_untrained(
    network: tf.keras.Model, shadow: tf.keras.Model
) -> list[tuple[tf.Variable, tf.Variable]]:
    """Makes the shadow use the network's variables that are not trained.

    Returns:
      (weight, shadow variable) pairs of all that the shadow has of its own.
    """
    trained = {id(weight) for weight in network.trainable_variables}
    pairs = []
    for source, copy in zip(
        keras_internals.flatten_layers(network),
        keras_internals.flatten_layers(shadow),
    ):
        if isinstance(source, tf.keras.Model):
            continue  # Only step counters; its layers come by themselves.
        for name, value in list(vars(source).items()):
            own = vars(copy).get(name)
            if not isinstance(value, tf.Variable) or own is None:
                continue
            if id(value) in trained:
                pairs.append((value, own))
            else:
                delattr(copy, name)
                setattr(copy, name, value)
        # What an adapted preprocessing layer derives from its variables.
        copy.finalize_state()
    return pairs + _unpaired(network, shadow, pairs)


def _unpaired(
    network: tf.keras.Model,
    shadow: tf.keras.Model,
    pairs: list[tuple[tf.Variable, tf.Variable]],
) -> list[tuple[tf.Variable, tf.Variable]]:
    """Weights that layers hold in lists or dicts rather than attributes."""
    known = {id(variable) for pair in pairs for variable in pair}
    shared = {id(variable) for variable in network.variables}
    weights = [w for w in network.trainable_variables if id(w) not in known]
    # By identity: Keras lists a variable twice that it did not expect to be
    # untrainable.
    by_id = {id(w): w for w in shadow.variables}
    copies = [
        w for key, w in by_id.items() if key not in known and key not in shared
    ]
    if [w.shape for w in weights] != [w.shape for w in copies]:
        raise ValueError(
            "Expected every trainable weight to have a copy of the same shape "
            f"in the rebuilt network; {[w.name for w in weights]} have "
            f"{[w.name for w in copies]}. A layer creates other weights from "
            "its config than it has: fix its get_config."
        )
    return list(zip(weights, copies))
