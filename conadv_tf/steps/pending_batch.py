"""The batch between two steps: attacked in one, trained on in the next."""

import dataclasses
from typing import Optional

import tensorflow as tf

from conadv_tf.distribution import local_variable
from conadv_tf.steps.batch import Batch


class PendingBatch:
    """The batch that was received and attacked, to be trained on next.

    Create it under the strategy scope and before the training step is traced.

    Args:
      specs: {field of `Batch`: TensorSpec} of what is kept; names without one
        are left out.
      static_batch_size: images of a received batch where sizes are static, as
        XLA needs them; None: buffers take any size.
    """

    def __init__(
        self,
        specs: dict[str, Optional[tf.TensorSpec]],
        static_batch_size: Optional[int],
    ) -> None:
        self.static_batch_size = static_batch_size
        # Age 0 means that nothing is pending; else steps since it was 0.
        self.age = local_variable(tf.constant(0, tf.int64), "pending_age")
        self._buffers = {
            name: self._buffer(name, spec)
            for name, spec in specs.items()
            if spec is not None
        }

    def _buffer(self, name: str, spec: tf.TensorSpec) -> tf.Variable:
        size = None if self.static_batch_size is None else spec.shape[0]
        tail = spec.shape[1:]
        return local_variable(
            tf.zeros([size or 0, *(n or 0 for n in tail)], spec.dtype),
            name=f"pending_{name}",
            shape=tf.TensorShape([size, *tail]),
        )

    def reset(self) -> None:
        """Forgets the pending batch (in the cross-replica context)."""
        self.age.assign(tf.constant(0, tf.int64))

    def variables(self) -> dict[str, tf.Variable]:
        """The variables this keeps, by name."""
        return {**self._buffers, "age": self.age}

    def age_after(self, received: Batch) -> tf.Tensor:
        """The age, int64 scalar, once the received batch is there.

        At the end of a dataset of unknown length Keras calls the step once
        more without data. Everything that would train on the pending batch
        then must wait for data that never come.

        Args:
          received: the `Batch` of this step.
        """
        with tf.control_dependencies([received.images]):
            return tf.identity(self.age)

    def take(self, age: tf.Tensor, received: Batch) -> Batch:
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
        unperturbed = received.unperturbed()
        stored = [tf.convert_to_tensor(each) for each in self._buffers.values()]
        chosen = tf.cond(
            age > 0,
            lambda: stored,
            lambda: [getattr(unperturbed, name) for name in self._buffers],
        )
        return dataclasses.replace(
            unperturbed, **dict(zip(self._buffers, chosen))
        )

    def put(self, batch: Batch) -> None:
        """Keeps an attacked batch for the next step."""
        for name, buffer in self._buffers.items():
            buffer.assign(getattr(batch, name))
        self.age.assign(tf.convert_to_tensor(self.age) + 1)
