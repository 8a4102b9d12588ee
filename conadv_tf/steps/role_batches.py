"""The batches of one replica with rotating roles."""

import tensorflow as tf

from conadv_tf.distribution import local_variable
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch_spec import BatchSpec
from conadv_tf.steps.pending import BatchBuffers

NUM_ROLES = 3
_FIELDS = ("images", "labels", "sample_weight")
_SHARES = ("first", "second")


class RoleBatches(BatchBuffers):
    """The current batch of a replica, and the next one while it is collected.

    A replica receives one share of a global batch at each step, and works for
    three steps on a batch of three shares. The three shares that it receives
    meanwhile are its next batch. Two of them wait in buffers; the third goes
    with them directly into the current batch, which is finished by then.

    Create it under the strategy scope and before the training step is traced.

    Args:
      spec: the `BatchSpec` of a share, of static shape.
    """

    def __init__(self, spec: BatchSpec) -> None:
        images = tf.TensorSpec(spec.images.shape, tf.float32)
        super().__init__(images.shape[0])
        specs = dict(zip(_FIELDS, (images, spec.labels, spec.sample_weight)))

        def buffer(name: str, spec: tf.TensorSpec, shares: int) -> tf.Variable:
            shape = [shares * spec.shape[0], *spec.shape[1:]]
            return local_variable(tf.zeros(shape, spec.dtype), name)

        def buffers(kind: str, shares: int) -> dict[str, tf.Variable]:
            return {
                name: buffer(f"{kind}_{name}", each, shares)
                for name, each in specs.items()
                if each is not None
            }

        self._groups = {name: buffers(name, 1) for name in _SHARES}
        self._groups["current"] = buffers("current", NUM_ROLES)
        self._adversarial = buffer("current_adversarial", images, NUM_ROLES)

    def variables(self) -> dict[str, tf.Variable]:
        """Returns the variables by name."""
        return {
            **super().variables(),
            "adversarial": self._adversarial,
            **{
                f"{group}_{name}": variable
                for group, buffers in self._groups.items()
                for name, variable in buffers.items()
            },
        }

    def step_and_role(self, received: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns (steps since the reset, role) of this replica.

        Args:
          received: the `Batch` of this step, a share.

        Returns:
          int64 and int32 scalars, available once the received share is.
        """
        context = tf.distribute.get_replica_context()
        replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
        steps = self.read_steps(received)
        return steps, tf.cast((steps + replica) % NUM_ROLES, tf.int32)

    def current_batch(self) -> Batch:
        """Returns the current `Batch`; zeros before the first is complete."""
        return Batch(**_values(self._groups["current"]))

    def generated(self) -> tf.Tensor:
        """Returns the adversarial images generated last; zeros before."""
        return tf.convert_to_tensor(self._adversarial)

    def rotate(
        self,
        steps: tf.Tensor,
        role: tf.Tensor,
        received: Batch,
        adversarial: tf.Tensor,
    ) -> None:
        """Stores the received share and the adversarial images.

        Args:
          steps: int64 scalar of `step_and_role`.
          role: int32 scalar of `step_and_role`.
          received: the `Batch` of this step, a share.
          adversarial: images that `generated` returns in the next step.
        """
        first, second, current = map(_values, self._groups.values())
        new = {name: getattr(received, name) for name in current}

        def complete() -> dict[str, tf.Tensor]:
            return {
                name: tf.concat([first[name], second[name], new[name]], axis=0)
                for name in new
            }

        # The branches return values and assign nothing, because the values to
        # write depend on values that were read.
        values = tf.switch_case(
            role,
            [
                lambda: [new, second, current],
                lambda: [first, new, current],
                lambda: [first, second, complete()],
            ],
        )
        for buffers, value in zip(self._groups.values(), values):
            for name, variable in buffers.items():
                variable.assign(value[name])
        self._adversarial.assign(adversarial)
        self.steps_since_reset.assign(steps + 1)


def _values(variables: dict[str, tf.Variable]) -> dict[str, tf.Tensor]:
    return {
        name: tf.convert_to_tensor(variable)
        for name, variable in variables.items()
    }
