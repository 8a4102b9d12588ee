"""Variables of each kind that LARS treats differently, and their gradients."""

import numpy as np
import tensorflow as tf


def make():
    """Creates the variables, by name."""
    rng = np.random.default_rng(0)
    return {
        name: tf.Variable(value.astype(np.float32), name=name)
        for name, value in {
            "a/kernel": rng.normal(size=(3, 4)),
            "zero/kernel": np.zeros([2, 3]),
            "dead/kernel": rng.normal(size=(5,)),  # Its gradient is always 0.
            "a/bias": rng.normal(size=(4,)),
            "norm/gamma": rng.normal(size=(2, 4)),  # Rank 2, as if stacked.
        }.items()
    }


def gradients(variables, step):
    rng = np.random.default_rng([1, step])
    return {
        name: (0.0 if name.startswith("dead") else 1.0)
        * rng.normal(size=variable.shape)
        for name, variable in variables.items()
    }


def apply(optimizer, variables, gradients):
    optimizer.apply_gradients(
        (tf.cast(gradients[name], tf.float32), variable)
        for name, variable in variables.items()
    )


def excluded(optimizer, variables=None):
    variables = make() if variables is None else variables
    return {name for name, v in variables.items() if optimizer.is_excluded(v)}
