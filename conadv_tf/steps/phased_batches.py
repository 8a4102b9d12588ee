"""What a replica holds in phased placement; see `phased` for the schedule."""

from collections.abc import Iterable
import functools

import tensorflow as tf

from conadv_tf.distribution import local_variable
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch_spec import BatchSpec

_FIELDS = ("images", "labels", "sample_weight")
_SHARES = ("first", "second")


class PhasedBatches:
    """The batch a replica works on, and the next one while it is collected.

    A replica receives one share of a global batch at each step and works for
    as many steps on as many shares as there are turns. Those received in its
    turns are its next batch: all but the last wait in buffers of their own,
    the last goes with them straight into the working batch, which is done
    with by then.

    Create it under the strategy scope and before the training step is traced.
    Like `PendingBatch`, it has an age, which is 0 where it holds nothing.

    Args:
      spec: of a share, of static shape.
      num_turns: what a replica does in turn, 2 or 3 things.
      attacked: shares of a working batch that are attacked.
      keeps_labels: whether what was crafted keeps its labels and weights,
        because it is trained on after its working batch is gone.
    """

    def __init__(
        self, spec: BatchSpec, num_turns: int, attacked: int, keeps_labels: bool
    ) -> None:
        images = tf.TensorSpec(spec.images.shape, tf.float32)
        self.static_batch_size = images.shape[0]
        self._num_turns = num_turns
        specs = dict(zip(_FIELDS, (images, spec.labels, spec.sample_weight)))
        specs = {name: each for name, each in specs.items() if each is not None}

        def buffer(name: str, spec: tf.TensorSpec, shares: int) -> tf.Variable:
            shape = [shares * spec.shape[0], *spec.shape[1:]]
            return local_variable(tf.zeros(shape, spec.dtype), name)

        def buffers(
            kind: str, shares: int, names: Iterable[str] = tuple(specs)
        ) -> dict[str, tf.Variable]:
            return {
                name: buffer(f"{kind}_{name}", specs[name], shares)
                for name in names
            }

        self.age = local_variable(tf.constant(0, tf.int64), "phased_age")
        names = _SHARES[: num_turns - 1]
        self._shares = {name: buffers(name, 1) for name in names}
        self._working = buffers("working", num_turns)
        kept = [name for name in specs if keeps_labels and name != "images"]
        self._crafted = {
            "adversarial": buffer("working_adversarial", images, attacked),
            **buffers("adversarial", attacked, kept),
        }

    def reset(self) -> None:
        """Forgets everything (in the cross-replica context)."""
        self.age.assign(tf.constant(0, tf.int64))

    def variables(self) -> dict[str, tf.Variable]:
        """The variables this keeps, by name."""
        found = {"age": self.age}
        for name, variable in self._crafted.items():
            is_image = name == "adversarial"
            found[name if is_image else f"adversarial_{name}"] = variable
        for kind, buffers in self._groups().items():
            for name, variable in buffers.items():
                found[f"{kind}_{name}"] = variable
        return found

    def _groups(self) -> dict[str, dict[str, tf.Variable]]:
        return {**self._shares, "working": self._working}

    def clock(self, received: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """(age, turn) of this step, once the received share is there.

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
        return age, tf.cast((age + replica) % self._num_turns, tf.int32)

    def working(self) -> Batch:
        """The `Batch` to work on; zeros before the first is complete."""
        return Batch(**_values(self._working))

    def crafted(self) -> dict[str, tf.Tensor]:
        """What was crafted last, by field of `Batch`; zeros before.

        Adversarial images, and where they are kept their labels and weights.
        """
        return _values(self._crafted)

    def advance(
        self,
        age: tf.Tensor,
        turn: tf.Tensor,
        received: Batch,
        crafted: dict[str, tf.Tensor],
    ) -> None:
        """Keeps what was received and crafted, for the next step.

        Args:
          age: what `clock` returned.
          turn: likewise.
          received: the `Batch` of this step, a share.
          crafted: what `crafted` is to return next.
        """
        new = {name: getattr(received, name) for name in self._working}
        *shares, working = [_values(each) for each in self._groups().values()]

        def complete() -> dict[str, tf.Tensor]:
            return {
                name: tf.concat(
                    [*(share[name] for share in shares), new[name]], axis=0
                )
                for name in new
            }

        def waiting(index: int) -> list[dict[str, tf.Tensor]]:
            return [*shares[:index], new, *shares[index + 1 :], working]

        # Values, not assignments, in the branches: what is written depends on
        # what was read.
        values = tf.switch_case(
            turn,
            [
                *(functools.partial(waiting, i) for i in range(len(shares))),
                lambda: [*shares, complete()],
            ],
        )
        for buffers, value in zip(self._groups().values(), values):
            for name, variable in buffers.items():
                variable.assign(value[name])
        for name, variable in self._crafted.items():
            variable.assign(crafted[name])
        self.age.assign(age + 1)


def _values(variables: dict[str, tf.Variable]) -> dict[str, tf.Tensor]:
    return {
        name: tf.convert_to_tensor(variable)
        for name, variable in variables.items()
    }
