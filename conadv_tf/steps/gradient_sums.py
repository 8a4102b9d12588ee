"""Means of the gradients and moving statistics of several micro-batches."""

from typing import Optional

import tensorflow as tf

from conadv_tf.distribution import local_variable


class GradientSums:
    """Sums of gradients and of changes of the moving statistics.

    A real machine averages both over its replicas. Create it under the
    strategy scope.

    Args:
      weights: the trainable variables.
      statistics: the moving statistics.
      count: number of micro-batches per update, >= 2.
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
        # Micro-batches since the last update; updates since the reset.
        self._index = local_variable(tf.constant(0, tf.int64), "index")
        self._updates = local_variable(tf.constant(0, tf.int64), "updates")

    def variables(self) -> dict[str, tf.Variable]:
        """Returns the variables by name."""
        kept = [
            *self._gradients,
            *self._statistics,
            self._index,
            self._updates,
        ]
        return {str(index): variable for index, variable in enumerate(kept)}

    def reset(self) -> None:
        """Clears the sums (call in cross-replica context)."""
        for variable in self.variables().values():
            variable.assign(tf.zeros(variable.shape, variable.dtype))

    @property
    def next_index(self) -> int:
        """Index of the next micro-batch of an update; read on the host."""
        return int(self._index.read_value().numpy())

    def updates(self) -> tf.Tensor:
        """Returns the number of updates since the reset; int64 scalar."""
        return tf.convert_to_tensor(self._updates)

    def first_position(self, batch_size: tf.Tensor) -> tf.Tensor:
        """Returns the global position of the micro-batch's first example.

        Args:
          batch_size: number of examples of the micro-batch on this replica.

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
        """Adds the share of one micro-batch.

        Args:
          gradients: one tensor per weight, or None.
          before: moving statistics before the forward pass.
          after: moving statistics after the forward pass.

        Returns:
          (gradients, statistics): sums over the micro-batches so far, divided
          by the number of all. They are means after the last one.
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
        """Clears the sums for the next update (call in replica context)."""
        for variable in (*self._gradients, *self._statistics, self._index):
            variable.assign(tf.zeros(variable.shape, variable.dtype))
        self._updates.assign_add(1)


def _accumulate(total: tf.Variable, value: tf.Tensor) -> tf.Tensor:
    value = tf.convert_to_tensor(total) + value
    total.assign(value)
    return value
