"""The loss along directions, against closed forms and the Hessian."""

import numpy as np
import pytest
import tensorflow as tf

from conadv_tf import analysis
from conadv_tf.analysis import curvature
from conadv_tf.analysis import objective as objective_lib
from tests import networks


def squared_error(labels, outputs):
    return tf.reduce_sum(tf.square(tf.cast(labels, tf.float32) - outputs[:, 0]))


def test_surface_of_linear_regression():
    network = networks.linear(num_classes=1)
    data = networks.batches(2, shape=(2, 2, 1))
    data[1] = tuple(part[:3] for part in data[1])
    images, labels = (np.concatenate(part) for part in zip(*data))
    rng = np.random.default_rng(0)
    directions = [
        [rng.normal(size=v.shape) for v in network.trainable_variables]
        for _ in range(2)
    ]
    offsets = [-1.0, 0.0, 0.5]
    before = network.get_weights()
    surface = analysis.loss_surface(
        network, data, directions, offsets, squared_error
    )
    for i, first in enumerate(offsets):
        for j, second in enumerate(offsets):
            kernel, bias = (
                weight + first * one + second * two
                for weight, one, two in zip(before, *directions)
            )
            outputs = (images.reshape(-1, 4) @ kernel + bias)[:, 0]
            expected = np.mean((outputs - labels) ** 2)
            np.testing.assert_allclose(surface[i, j], expected, rtol=1e-5)
    line = analysis.loss_surface(
        network, data, directions[:1], offsets, squared_error
    )
    np.testing.assert_allclose(line, surface[:, 1], rtol=1e-6)
    for weight, unchanged in zip(network.get_weights(), before):
        np.testing.assert_array_equal(weight, unchanged)


def test_the_second_difference_along_a_line_is_the_hessian():
    tf.keras.backend.set_floatx("float64")
    try:
        network = networks.convolutional()
        data = networks.batches(1)
        direction = analysis.filter_normalized_direction(
            network.trainable_variables, seed=0
        )
        step = 1e-4
        below, centre, above = analysis.loss_surface(
            network, data, [direction], [-step, 0.0, step]
        )
        product = curvature.hessian_product(
            objective_lib.network_objective(network),
            objective_lib.load_batches(data),
        )
    finally:
        tf.keras.backend.set_floatx("float32")
    flat = np.concatenate([part.ravel() for part in direction])
    np.testing.assert_allclose(
        (below - 2 * centre + above) / step**2, flat @ product(flat), rtol=1e-4
    )
    assert centre == pytest.approx(
        float(networks.LOSS(data[0][1], network(data[0][0])))
    )


def test_weights_are_restored_after_an_error():
    network = networks.linear()
    before = network.get_weights()

    def failing(labels, logits):
        raise RuntimeError("no loss")

    direction = [np.ones(v.shape) for v in network.trainable_variables]
    with pytest.raises(RuntimeError, match="no loss"):
        data = networks.batches(1, shape=(2, 2, 1))
        analysis.loss_surface(network, data, [direction], [1.0], failing)
    for weight, unchanged in zip(network.get_weights(), before):
        np.testing.assert_array_equal(weight, unchanged)


def test_invalid_directions():
    network, data = networks.linear(), networks.batches(1, shape=(2, 2, 1))
    good = [np.ones(v.shape) for v in network.trainable_variables]
    with pytest.raises(ValueError, match="one or two directions.*received 3"):
        analysis.loss_surface(network, data, [good] * 3, [0.0])
    with pytest.raises(ValueError, match=r"received \[\(4, 3\)\]"):
        analysis.loss_surface(network, data, [good[:1]], [0.0])
