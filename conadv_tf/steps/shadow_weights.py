"""The state of a ConAdv step: stale weights and the pending batch.

Both live in local variables: each replica assigns its own copy inside a step.
"""

import dataclasses
from typing import Any
from typing import Optional

import tensorflow as tf

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

    def __init__(self, network, staleness):
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
    def pairs(self):
        """(weight, shadow copy) variables."""
        return list(self._pairs)

    @property
    def variables(self):
        """The variables this costs: shadow copies, then rings."""
        return [shadow for _, shadow in self._pairs] + self._rings

    @property
    def rings(self):
        """The variables that hold older snapshots, for tau > 1."""
        return list(self._rings)

    def refresh(self, age):
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


@dataclasses.dataclass
class Batch:
    """One local batch.

    images: float32 [batch, height, width, channels].
    labels: as the dataset gives them.
    sample_weight: float [batch], or None.
    augmented: float32, shape of images; None with one view.
    adversarial: float32, shape of images; None before it is crafted.
    """

    images: Any
    labels: Any
    sample_weight: Optional[Any] = None
    augmented: Optional[Any] = None
    adversarial: Optional[Any] = None

    def parts(self):
        """The images to train on, by name, in the order of the branches."""
        parts = {
            "clean": self.images,
            "augmented": self.augmented,
            "adversarial": self.adversarial,
        }
        return {
            name: images for name, images in parts.items() if images is not None
        }


class PendingBatch:
    """The batch that was received and attacked, to be trained on next.

    Create it under the strategy scope and before the training step is traced.

    Args:
      images: TensorSpec of a local batch of images.
      labels: TensorSpec of its labels.
      sample_weight: TensorSpec of its sample weights, or None.
      augmented: TensorSpec of a second view of the images, or None.
      static: whether buffers have the static batch size of the specs (XLA
        needs it) or take any batch size.
    """

    def __init__(self, images, labels, sample_weight, augmented, static):
        images = tf.TensorSpec(images.shape, tf.float32)
        self.static_batch_size = images.shape[0] if static else None

        def buffer(spec, name):
            if spec is None:
                return None
            tail = spec.shape[1:]
            return local_variable(
                tf.zeros(
                    [self.static_batch_size or 0, *(n or 0 for n in tail)],
                    spec.dtype,
                ),
                name=f"pending_{name}",
                shape=tf.TensorShape([self.static_batch_size, *tail]),
            )

        # Age 0 means that nothing is pending; else steps since it was 0.
        self.age = local_variable(tf.constant(0, tf.int64), "pending_age")
        self._buffers = Batch(
            buffer(images, "images"),
            buffer(labels, "labels"),
            buffer(sample_weight, "sample_weight"),
            buffer(None if augmented is None else images, "augmented"),
            buffer(images, "adversarial"),
        )

    def reset(self):
        """Forgets the pending batch (in the cross-replica context)."""
        self.age.assign(tf.constant(0, tf.int64))

    @property
    def variables(self):
        """The variables this costs, by name."""
        buffers = {
            name: getattr(self._buffers, name)
            for name in _FIELDS
            if _has(self._buffers, name)
        }
        return {**buffers, "age": self.age}

    def age_after(self, received):
        """The age, int64 scalar, once the received batch is there.

        At the end of a dataset of unknown length Keras calls the step once
        more without data. Everything that would train on the pending batch
        then must wait for data that never come.

        Args:
          received: the `Batch` of this step.
        """
        with tf.control_dependencies([received.images]):
            return tf.identity(self.age)

    def take(self, age, received):
        """The batch to train on in this step.

        `tf.cond` rather than `tf.where`: sizes may differ, and one trace
        serves the first step and all others.

        Args:
          age: the result of `age_after`.
          received: the `Batch` of this step.

        Returns:
          The pending batch, or, where nothing is pending, the received one
          with a zero perturbation.
        """
        unperturbed = dataclasses.replace(received, adversarial=received.images)
        names = [name for name in _FIELDS if _has(received, name)]
        stored = [
            tf.convert_to_tensor(getattr(self._buffers, name)) for name in names
        ]
        chosen = tf.cond(
            age > 0,
            lambda: stored,
            lambda: [getattr(unperturbed, name) for name in names],
        )
        return Batch(**dict(zip(names, chosen)))

    def put(self, batch):
        """Keeps an attacked batch for the next step."""
        for name in _FIELDS:
            if _has(batch, name):
                getattr(self._buffers, name).assign(getattr(batch, name))
        self.age.assign(tf.convert_to_tensor(self.age) + 1)


_FIELDS = tuple(field.name for field in dataclasses.fields(Batch))


def _has(batch, name):
    return name == "adversarial" or getattr(batch, name) is not None


def _shadow_network(network):
    def create_local(next_creator, **arguments):
        return next_creator(**{**arguments, **LOCAL})

    with tf.variable_creator_scope(create_local):
        # No weights yet: every step begins with a refresh.
        return conversion.rebuild(
            network, conversion.copy_layer, with_weights=False
        )


def _share_untrained(network, shadow):
    """Makes the shadow use the network's variables that are not trained.

    Returns:
      (weight, shadow variable) pairs of all that the shadow has of its own.
    """
    trained = {id(weight) for weight in network.trainable_variables}
    pairs = []
    for source, copy in zip(
        network._flatten_layers(), shadow._flatten_layers()
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


def _unpaired(network, shadow, pairs):
    """Weights that layers hold in lists or dicts rather than attributes."""
    known = {id(variable) for pair in pairs for variable in pair}
    shared = {id(variable) for variable in network.variables}
    weights = [w for w in network.trainable_variables if id(w) not in known]
    # By identity: Keras lists a variable twice that it did not expect to be
    # untrainable.
    copies = {id(w): w for w in shadow.variables}
    copies = [
        w for key, w in copies.items() if key not in known and key not in shared
    ]
    if [w.shape for w in weights] != [w.shape for w in copies]:
        raise ValueError(
            "Expected every trainable weight to have a copy of the same shape "
            f"in the rebuilt network; {[w.name for w in weights]} have "
            f"{[w.name for w in copies]}. A layer creates other weights from "
            "its config than it has: fix its get_config."
        )
    return list(zip(weights, copies))
