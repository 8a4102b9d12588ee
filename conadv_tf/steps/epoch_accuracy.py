"""The training accuracy of an epoch, by which `Delayed` starts the attack."""

from typing import Any

import tensorflow as tf

from conadv_tf.distribution import local_variable
from conadv_tf.steps.batch import SubBatch


class EpochAccuracy:
    """The accuracy of the clean images of an epoch, over all replicas.

    Create it under the strategy scope.

    Args:
      accuracy: the `ExampleAccuracy` of the model, or None.

    Raises:
      ValueError: if there is none.
    """

    def __init__(self, accuracy: Any) -> None:
        if accuracy is None:
            raise ValueError(
                "Expected a compiled accuracy with ca.Delayed(accuracy=...), "
                "because labels with several ones can be compared with outputs "
                'in several ways; received none. Pass metrics=["accuracy"] to '
                "compile, or use ca.Delayed(epoch=...)."
            )
        self._accuracy = accuracy
        total = tf.VariableAggregation.SUM
        self._correct = local_variable(0.0, "correct", aggregation=total)
        self._count = local_variable(0.0, "count", aggregation=total)

    def add(self, clean: SubBatch, logits: tf.Tensor) -> None:
        """Counts the images of a local batch (call in replica context)."""
        if clean.labels.dtype == tf.string:
            raise ValueError(
                "Expected labels that are numbers with "
                "ca.Delayed(accuracy=...); received strings, which only the "
                "loss understands. Use ca.Delayed(epoch=...)."
            )
        correct = self._accuracy(clean.labels, logits)
        weight = tf.ones_like(correct)
        if self._accuracy.is_weighted and clean.sample_weight is not None:
            weight = tf.cast(clean.sample_weight, correct.dtype)
            weight = tf.reshape(weight, tf.shape(correct))  # May be [batch, 1].
        self._correct.assign_add(tf.reduce_sum(correct * weight))
        self._count.assign_add(tf.reduce_sum(weight))

    def result(self) -> float:
        """Returns the accuracy of all replicas and processes; 0 of nothing."""
        correct, count = (
            each.read_value().numpy().item()
            for each in (self._correct, self._count)
        )
        return correct / count if count else 0.0

    def reset(self) -> None:
        """Starts a new epoch (call in cross-replica context)."""
        for variable in self.variables().values():
            variable.assign(0.0)

    def variables(self) -> dict[str, tf.Variable]:
        """Returns the variables by name."""
        return {"correct": self._correct, "count": self._count}
