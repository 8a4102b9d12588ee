"""Split batch norms with random weights, and a training step for them."""

import numpy as np
import tensorflow as tf

import conadv_tf as ca

SHAPES = [(8, 3), (8, 4, 4, 3)]


def layer(shape, branches=2, **arguments):
    """Returns a built layer with different positive weights."""
    made = ca.SplitBatchNormalization(branches, **arguments)
    made.build(shape)
    for index, branch in enumerate(made.branch_layers):
        rng = np.random.default_rng(index)
        branch.set_weights(
            [rng.uniform(0.5, 1.5, w.shape) for w in branch.get_weights()]
        )
    return made


def inputs(shape, seed=0):
    rng = np.random.default_rng(seed)
    return tf.constant(rng.normal(1.0, 2.0, size=shape), tf.float32)


def loss(outputs):
    """Sums the cubes of the outputs.

    Unlike the sum or the sum of squares, batch norm does not make this sum
    constant. The gradient of each output has the same bits in any batch.
    """
    return tf.reduce_sum(outputs * outputs * outputs)


def train(trained, images, rate=0.01):
    """Takes an SGD step; returns outputs and gradients (inputs, weights)."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = trained(images, training=True)
        total = loss(outputs)
    weights = trained.trainable_weights
    gradients = tape.gradient(
        total, [images, *weights], unconnected_gradients="zero"
    )
    for weight, gradient in zip(weights, gradients[1:]):
        weight.assign_sub(rate * gradient)
    return outputs, gradients


def assert_equal(ours, theirs):
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs)):
        np.testing.assert_array_equal(a, b)
