"""An update over several micro-batches: a large batch on few devices.

Each micro-batch stands for the batch of one replica of an emulated machine:
batch statistics and attacks are its own. Gradients add up, and so do the
changes of the moving statistics, which a real machine averages over replicas.
"""

import tensorflow as tf

from conadv_tf.distribution import local_variable


class MicroBatches:
    """What has been summed since the last update.

    Create it under the strategy scope.

    Args:
      variables: the trainable variables.
      statistics: the moving statistics.
      count: micro-batches per update, >= 2.
    """

    def __init__(self, variables, statistics, count):
        self.count = count
        # Known on the host: the step is traced once with and once without
        # an update at its end.
        self.is_last = False
        self._next = 0
        self._gradients = [
            local_variable(tf.zeros(v.shape, v.dtype), "gradient_sum")
            for v in variables
        ]
        self._statistics = [
            local_variable(tf.zeros(v.shape, v.dtype), "statistics_sum")
            for v in statistics
        ]
        # Micro-batches since the last update, and updates since the start.
        self._index = local_variable(tf.constant(0, tf.int64), "index")
        self._updates = local_variable(tf.constant(0, tf.int64), "updates")

    @property
    def variables(self):
        """The variables this costs."""
        return [
            *self._gradients,
            *self._statistics,
            self._index,
            self._updates,
        ]

    def reset(self):
        """Forgets what was summed (in the cross-replica context)."""
        self._next = 0
        for variable in self.variables:
            variable.assign(tf.zeros(variable.shape, variable.dtype))

    def resume(self):
        """Goes on where the variables, just restored, say."""
        self._next = int(self._index.read_value().numpy())

    def step_function(self, make):
        """A function that trains on the next micro-batch.

        Args:
          make: function without arguments that returns a new training
            function of an iterator, not traced yet.

        Returns:
          Function of an iterator.
        """
        functions = {is_last: make() for is_last in (False, True)}

        def run(iterator):
            self.is_last = self._next == self.count - 1
            result = functions[self.is_last](iterator)
            self._next = (self._next + 1) % self.count
            return result

        return run

    def updates(self):
        """Updates since the start; int64 scalar."""
        return tf.convert_to_tensor(self._updates)

    def first_position(self, batch_size):
        """Position in the global batch of the micro-batch's first example.

        Args:
          batch_size: examples of the micro-batch on this replica.

        Returns:
          int64 scalar.
        """
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        index = tf.convert_to_tensor(self._index)
        return index * tf.cast(batch_size * replicas, tf.int64)

    def add(self, gradients, before, after):
        """Adds one micro-batch's share.

        Args:
          gradients: list, one tensor per variable, None where there is none.
          before: moving statistics before the forward pass.
          after: moving statistics after it.

        Returns:
          (gradients, statistics): the means over the micro-batches so far,
          divided by the number of all; complete after the last.
        """
        share = 1.0 / self.count
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

    def finish(self):
        """Starts the next update's sums (in a replica's step)."""
        for variable in (*self._gradients, *self._statistics, self._index):
            variable.assign(tf.zeros(variable.shape, variable.dtype))
        self._updates.assign_add(1)


def _accumulate(total, value):
    value = tf.convert_to_tensor(total) + value
    total.assign(value)
    return value
