"""Variables with a separate copy for each replica.

A replica's step cannot assign a mirrored variable. It can assign a variable
with `synchronization=ON_READ` and `aggregation=ONLY_FIRST_REPLICA`, at no cost.
"""

from collections.abc import Sequence
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.types import TensorLike

# Arguments of tf.Variable for a replica-local variable.
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
    """Creates a replica-local variable; call it in the strategy's scope.

    Args:
      initial_value: value of every copy.
      name: name of the variable.
      shape: static shape; None is the shape of `initial_value`.
      aggregation: how a read across replicas combines the copies; None reads
        the first replica's copy.
    """
    arguments = dict(LOCAL)
    if aggregation is not None:
        arguments["aggregation"] = aggregation
    return tf.Variable(initial_value, name=name, shape=shape, **arguments)


def local_values(
    strategy: tf.distribute.Strategy, variable: tf.Variable
) -> list[np.ndarray]:
    """Reads the copy of each replica of this process, without reducing them.

    Args:
      strategy: the strategy of the variable.
      variable: a local variable, or any other variable.

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
    """Assigns the copy of each replica of this process.

    Args:
      strategy: the strategy of the variable.
      variable: a local variable, or any other variable.
      values: one value for each replica, the result of `local_values`.

    Raises:
      ValueError: if this process has another number of replicas.
    """
    copies = strategy.experimental_local_results(variable)
    if len(copies) != len(values):
        raise ValueError(
            f"Expected values of {len(copies)} replicas for {variable.name!r}; "
            f"received {len(values)} values. Continue with as many replicas in "
            "each process as before."
        )
    for copy, value in zip(copies, values):
        copy.assign(np.asarray(value))
