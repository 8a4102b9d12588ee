"""Trains a split batch norm in its form for XLA or in its other form."""

import contextlib
from unittest import mock

import numpy as np
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import keras_internals


def inputs(shape, dtype=np.float32):
    """Values of about 1 +- 2 in the first half, 4 +- 8 in the second."""
    values = np.random.default_rng(1).normal(1.0, 2.0, size=shape)
    values[-shape[0] // 2 :] *= 4.0
    return values.astype(dtype)


@contextlib.contextmanager
def routed(compiled, branch="split", **arguments):
    """Routes calls, and sets whether layers see a trace for XLA."""
    name = "is_compiled_by_xla"
    with mock.patch.object(keras_internals, name, lambda: compiled):
        with ca.batch_norm_branch(branch, **arguments):
            yield


def train(layer, inputs, compiled, jit_compile=False, branch="split"):
    """Returns outputs, gradients of inputs and weights, and all weights."""
    cotangents = np.random.default_rng(2).normal(size=inputs.shape)

    @tf.function(jit_compile=jit_compile)
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            with routed(compiled, branch):
                outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(tf.cast(outputs, inputs.dtype) * cotangents)
        weights = layer.trainable_weights
        return outputs, tape.gradient(
            loss, [inputs, *weights], unconnected_gradients="zero"
        )

    outputs, gradients = step(tf.constant(inputs))
    return outputs, gradients, [np.array(w) for w in layer.get_weights()]


def assert_close(ours, theirs, tolerance):
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs)):
        a, b = (np.array(tf.cast(each, tf.float64)) for each in (a, b))
        scale = max(1.0, np.abs(b).max(initial=0.0))
        np.testing.assert_allclose(a, b, atol=tolerance * scale)
