"""Variables of which each replica owns and assigns its own copy.

A mirrored variable cannot be assigned in a replica's step; one with
`synchronization=ON_READ` and `aggregation=ONLY_FIRST_REPLICA` can, at no cost.
"""

import tensorflow as tf

# Arguments of tf.Variable.
LOCAL = {
    "trainable": False,
    "synchronization": tf.VariableSynchronization.ON_READ,
    "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
}


def local_variable(initial_value, name, shape=None, aggregation=None):
    """A variable of each replica's own; create it under the strategy scope."""
    arguments = dict(LOCAL)
    if aggregation is not None:
        arguments["aggregation"] = aggregation
    return tf.Variable(initial_value, name=name, shape=shape, **arguments)
