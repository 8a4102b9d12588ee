"""What a replica holds in phased placement; see `phased` for the schedule."""

from typing import Optional

import tensorflow as tf

from conadv_tf.distribution import local_variable
from conadv_tf.steps.batch import Batch

ATTACK, ADVERSARIAL, CLEAN, IDLE = range(4)
NUM_PHASES = 3
# Ages at which the first replica has a batch to attack, and at which all three
# groups have a batch for what they do.
FIRST_ATTACK, FIRST_UPDATE = 3, 5

_FIELDS = ("images", "labels", "sample_weight")


def check_replicas(count: int) -> None:
    """Raises a ValueError unless replicas come in threes."""
    if count % NUM_PHASES:
        raise ValueError(
            "Expected a multiple of 3 replicas to train in phased placement, "
            "where at every step a third attacks, a third trains on "
            "adversarial images and a third on clean ones; received "
            f'{count}. Use placement="local" or another number of replicas.'
        )


class PhasedBatches:
    """The batch a replica works on, and the next one while it is collected.

    A replica receives one share of a global batch at each step and works for
    three steps on three shares. Those received in its phases 0, 1 and 2 are
    its next batch: two wait in buffers of their own, the third goes with them
    straight into the working batch, which is done with by then.

    Create it under the strategy scope and before the training step is traced.
    Like `PendingBatch`, it has an age, which is 0 where it holds nothing.

    Args:
      images: TensorSpec of a share, of static shape.
      labels: TensorSpec of its labels.
      sample_weight: TensorSpec of its sample weights, or None.
    """

    def __init__(
        self,
        images: tf.TensorSpec,
        labels: tf.TensorSpec,
        sample_weight: Optional[tf.TensorSpec],
    ) -> None:
        images = tf.TensorSpec(images.shape, tf.float32)
        self.static_batch_size = images.shape[0]
        specs = dict(zip(_FIELDS, (images, labels, sample_weight)))
        specs = {name: spec for name, spec in specs.items() if spec is not None}

        def buffers(kind: str, shares: int) -> dict[str, tf.Variable]:
            return {
                name: local_variable(
                    tf.zeros(
                        [shares * spec.shape[0], *spec.shape[1:]], spec.dtype
                    ),
                    name=f"{kind}_{name}",
                )
                for name, spec in specs.items()
            }

        self.age = local_variable(tf.constant(0, tf.int64), "phased_age")
        self._shares = [buffers("first", 1), buffers("second", 1)]
        self._working = buffers("working", NUM_PHASES)
        self._adversarial = local_variable(
            tf.zeros_like(self._working["images"]), "working_adversarial"
        )

    def reset(self) -> None:
        """Forgets everything (in the cross-replica context)."""
        self.age.assign(tf.constant(0, tf.int64))

    def variables(self) -> dict[str, tf.Variable]:
        """The variables this keeps, by name."""
        found = {"age": self.age, "adversarial": self._adversarial}
        groups = zip(("first", "second", "working"), self._groups())
        for kind, buffers in groups:
            for name, variable in buffers.items():
                found[f"{kind}_{name}"] = variable
        return found

    def _groups(self) -> list[dict[str, tf.Variable]]:
        return [*self._shares, self._working]

    def clock(self, received: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """(age, phase) of this step, once the received share is there.

        At the end of a dataset of unknown length Keras calls the step once
        more without data; all that follows from these two waits for data.

        Args:
          received: the `Batch` of this step, a share.

        Returns:
          int64 and int32 scalars.
        """
        context = tf.distribute.get_replica_context()
        replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
        with tf.control_dependencies([received.images]):
            age = tf.identity(self.age)
        phase = tf.cast((age + replica) % NUM_PHASES, tf.int32)
        return age, phase

    def working(self) -> Batch:
        """The `Batch` to work on; zeros before the first is complete."""
        tensors = {
            name: tf.convert_to_tensor(variable)
            for name, variable in self._working.items()
        }
        adversarial = tf.convert_to_tensor(self._adversarial)
        return Batch(**tensors, adversarial=adversarial)

    def advance(
        self,
        age: tf.Tensor,
        phase: tf.Tensor,
        received: Batch,
        adversarial: tf.Tensor,
    ) -> None:
        """Keeps what was received and crafted, for the next step.

        Args:
          age: what `clock` returned.
          phase: likewise.
          received: the `Batch` of this step, a share.
          adversarial: float32, the working batch's adversarial images.
        """
        new = {name: getattr(received, name) for name in self._working}
        first, second, working = [
            {
                name: tf.convert_to_tensor(variable)
                for name, variable in buffers.items()
            }
            for buffers in self._groups()
        ]

        def complete() -> dict[str, tf.Tensor]:
            return {
                name: tf.concat([first[name], second[name], new[name]], axis=0)
                for name in new
            }

        # Values, not assignments, in the branches: what is written depends on
        # what was read.
        values = tf.switch_case(
            phase,
            [
                lambda: [new, second, working],
                lambda: [first, new, working],
                lambda: [first, second, complete()],
            ],
        )
        for buffers, value in zip(self._groups(), values):
            for name, variable in buffers.items():
                variable.assign(value[name])
        self._adversarial.assign(adversarial)
        self.age.assign(age + 1)
