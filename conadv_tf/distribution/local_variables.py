"""Variables of which each replica owns and assigns its own copy.

A mirrored variable cannot be assigned in a replica's step; one with
`synchronization=ON_READ` and `aggregation=ONLY_FIRST_REPLICA` can, at no cost.
"""

from collections.abc import Sequence
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.types import TensorLike

# Arguments of tf.Variable.
LOCAL = {
    "trainable": False,
    "synchronization": tf.VariableSynchronization.ON_READ,
    "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
}


def local_variable(
    initial_value: TensorLike,
    name: str,
    shape: Optional[tf.TensorShape] = None,
    aggregation: Optional[tf.VariableAggregation] = None,
) -> tf.Variable:
    """A variable of each replica's own; create it under the strategy scope."""
    arguments = dict(LOCAL)
    if aggregation is not None:
        arguments["aggregation"] = aggregation
    return tf.Variable(initial_value, name=name, shape=shape, **arguments)


def local_values(
    strategy: tf.distribute.Strategy, variable: tf.Variable
) -> list[np.ndarray]:
    """The copies that the replicas of this process hold; nothing is reduced.

    Args:
      strategy: the strategy of the variable.
      variable: a local variable, or any other.

    Returns:
      List of NumPy arrays, one for each replica.
    """
    copies = strategy.experimental_local_results(variable)
    return [copy.numpy() for copy in copies]


def assign_local(
    strategy: tf.distribute.Strategy,
    variable: tf.Variable,
    values: Sequence[np.ndarray],
) -> None:
    """Gives each replica of this process its own copy again.

    Args:
      strategy: the strategy of the variable.
      variable: a local variable, or any other.
      values: what `local_values` returned.

    Raises:
      ValueError: if this process has another number of replicas.
    """
    copies = strategy.experimental_local_results(variable)
    if len(copies) != len(values):
        raise ValueError(
            f"Expected values of {len(copies)} replicas for {variable.name!r}; "
            f"received those of {len(values)}. Continue with as many replicas "
            "in each process as before."
        )
    for copy, value in zip(copies, values):
        copy.assign(np.asarray(value))
