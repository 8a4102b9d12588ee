"""Sums over the micro-batches of an update.

Gradients add up, and so do the changes of the moving statistics, which a real
machine averages over its replicas.
"""

from typing import Optional

import tensorflow as tf

from conadv_tf.distribution import local_variable


class GradientSums:
    """What has been summed since the last update.

    Create it under the strategy scope.

    Args:
      weights: the trainable variables.
      statistics: the moving statistics.
      count: micro-batches per update, >= 2.
    """

    def __init__(
        self,
        weights: list[tf.Variable],
        statistics: list[tf.Variable],
        count: int,
    ) -> None:
        self._count = count
        self._gradients = [
            local_variable(tf.zeros(v.shape, v.dtype), "gradient_sum")
            for v in weights
        ]
        self._statistics = [
            local_variable(tf.zeros(v.shape, v.dtype), "statistics_sum")
            for v in statistics
        ]
        # Micro-batches since the last update, and updates since the start.
        self._index = local_variable(tf.constant(0, tf.int64), "index")
        self._updates = local_variable(tf.constant(0, tf.int64), "updates")

    def variables(self) -> dict[str, tf.Variable]:
        """The variables this keeps, by name."""
        kept = [
            *self._gradients,
            *self._statistics,
            self._index,
            self._updates,
        ]
        return {str(index): variable for index, variable in enumerate(kept)}

    def reset(self) -> None:
        """Forgets what was summed (in the cross-replica context)."""
        for variable in self.variables().values():
            variable.assign(tf.zeros(variable.shape, variable.dtype))

    @property
    def next_index(self) -> int:
        """Which micro-batch of an update comes next, from 0; on the host."""
        return int(self._index.read_value().numpy())

    def updates(self) -> tf.Tensor:
        """Updates since the start; int64 scalar."""
        return tf.convert_to_tensor(self._updates)

    def first_position(self, batch_size: tf.Tensor) -> tf.Tensor:
        """Position in the global batch of the micro-batch's first example.

        Args:
          batch_size: examples of the micro-batch on this replica.

        Returns:
          int64 scalar.
        """
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        index = tf.convert_to_tensor(self._index)
        return index * tf.cast(batch_size * replicas, tf.int64)

    def add(
        self,
        gradients: list[Optional[tf.Tensor]],
        before: list[tf.Tensor],
        after: list[tf.Tensor],
    ) -> tuple[list[Optional[tf.Tensor]], list[tf.Tensor]]:
        """Adds one micro-batch's share.

        Args:
          gradients: list, one tensor per variable, None where there is none.
          before: moving statistics before the forward pass.
          after: moving statistics after it.

        Returns:
          (gradients, statistics): the means over the micro-batches so far,
          divided by the number of all; complete after the last.
        """
        share = 1.0 / self._count
        gradients = [
            None
            if gradient is None
            else _accumulate(
                total,
                tf.cast(share, total.dtype) * tf.convert_to_tensor(gradient),
            )
            for total, gradient in zip(self._gradients, gradients)
        ]
        statistics = [
            old + _accumulate(total, tf.cast(share, total.dtype) * (new - old))
            for total, old, new in zip(self._statistics, before, after)
        ]
        self._index.assign_add(1)
        return gradients, statistics

    def finish(self) -> None:
        """Starts the next update's sums (in a replica's step)."""
        for variable in (*self._gradients, *self._statistics, self._index):
            variable.assign(tf.zeros(variable.shape, variable.dtype))
        self._updates.assign_add(1)


def _accumulate(total: tf.Variable, value: tf.Tensor) -> tf.Tensor:
    value = tf.convert_to_tensor(total) + value
    total.assign(value)
    return value
