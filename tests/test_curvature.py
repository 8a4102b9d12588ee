"""Eigenvalues of Hessians against dense ones, and norms of filters."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import analysis
from conadv_tf.analysis import curvature
from conadv_tf.analysis import filters
from conadv_tf.analysis import lanczos
from conadv_tf.analysis import objective as objective_lib
from tests import networks


@pytest.fixture
def float64():
    tf.keras.backend.set_floatx("float64")
    yield
    tf.keras.backend.set_floatx("float32")


def scrambled(network):
    """The network with random weights and statistics, variances positive."""
    rng = np.random.default_rng(3)
    for variable in network.variables:
        values = rng.normal(size=variable.shape)
        variable.assign(
            np.abs(values) + 0.5 if "variance" in variable.name else values
        )
    return network


def uneven_batches():
    """Two batches of different sizes."""
    (images, labels), (other, more) = networks.batches(2)
    return [(images, labels), (other[:3], more[:3])]


def dense_hessian(network, batches):
    """The Hessian of the mean over all examples, by tape.jacobian."""
    images, labels = (np.concatenate(part) for part in zip(*batches))
    variables = network.trainable_variables

    @tf.function
    def rows_of_hessian():
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = networks.LOSS(labels, network(images, training=False))
            gradients = inner.gradient(loss, variables)
            flat = tf.concat([tf.reshape(g, [-1]) for g in gradients], axis=0)
        return outer.jacobian(flat, variables, experimental_use_pfor=False)

    rows = rows_of_hessian()
    return np.concatenate([np.reshape(r, [r.shape[0], -1]) for r in rows], 1)


def test_products_and_eigenvalues_of_a_dense_hessian(float64):
    network = scrambled(networks.convolutional())
    batches = uneven_batches()
    hessian = dense_hessian(network, batches)
    product = curvature.hessian_product(
        objective_lib.network_objective(network),
        objective_lib.load_batches(batches),
    )
    vector = np.random.default_rng(0).normal(size=len(hessian))
    np.testing.assert_allclose(product(vector), hessian @ vector, rtol=1e-9)

    expected = np.linalg.eigvalsh(hessian)[::-1]
    found = analysis.top_eigenvalues(network, batches, k=4, tolerance=1e-9)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected[:4], rtol=1e-6)

    tf.keras.backend.set_floatx("float32")
    single = networks.convolutional()
    single.set_weights(network.get_weights())
    found = analysis.top_eigenvalues(single, batches, k=2)
    np.testing.assert_allclose(found, expected[:2], rtol=2e-3)

    scale = np.concatenate(
        [filters.filter_norms(v).ravel() for v in network.trainable_variables]
    )
    expected = np.linalg.eigvalsh(scale[:, None] * hessian * scale)[::-1]
    found = analysis.top_eigenvalues(
        network, batches, k=2, filter_normalized=True, tolerance=1e-9
    )
    np.testing.assert_allclose(found, expected[:2], rtol=1e-6)


def test_split_batch_norm_has_the_eigenvalues_of_its_main_branch():
    network = scrambled(networks.convolutional())
    batches = networks.batches(1)
    expected = analysis.top_eigenvalues(network, batches)
    model = ca.ConAdvModel(network, ca.PGD(epsilon=0.1))
    for variable in model.variables:
        if "auxiliary" in variable.name:
            variable.assign(tf.random.uniform(variable.shape))
    before = model.get_weights()
    for tested in (model, model.export_network()):
        found = analysis.top_eigenvalues(tested, batches)
        np.testing.assert_allclose(found, expected, rtol=2e-3)
    for weight, unchanged in zip(model.get_weights(), before):
        np.testing.assert_array_equal(weight, unchanged)


# Batch norm cancels the scale of each filter.
def test_filter_normalized_eigenvalues_do_not_depend_on_scales():
    network = scrambled(networks.convolutional())
    data = networks.batches(1)

    def measure(normalized):
        return analysis.top_eigenvalues(
            network, data, filter_normalized=normalized, tolerance=1e-6
        )[0]

    logits = network(data[0][0])
    before = measure(True), measure(False)
    convolution, batch_norm = network.layers[1], network.layers[2]
    factors = np.array([10.0, 1.0, 0.1, 3.0])
    convolution.kernel.assign(convolution.kernel * factors)
    batch_norm.moving_mean.assign(batch_norm.moving_mean * factors)
    epsilon = batch_norm.epsilon
    batch_norm.moving_variance.assign(
        (batch_norm.moving_variance + epsilon) * factors**2 - epsilon
    )
    np.testing.assert_allclose(network(data[0][0]), logits, rtol=1e-3)
    after = measure(True), measure(False)
    np.testing.assert_allclose(after[0], before[0], rtol=1e-3)
    assert abs(after[1] / before[1] - 1) > 0.1


def test_norms_are_per_filter():
    inputs = tf.keras.Input((5, 5, 2))
    x = tf.keras.layers.DepthwiseConv2D(3, depth_multiplier=2)(inputs)
    # Axes do not depend on the names of layers.
    x = tf.keras.layers.Conv2D(
        3, 2, bias_initializer="ones", name="depthwise_reduce"
    )(x)
    x = tf.keras.layers.Flatten()(x)
    network = tf.keras.Model(inputs, tf.keras.layers.Dense(4)(x))
    variables = network.trainable_variables
    axes = [(0, 1), None, (0, 1, 2), None, (0,), None]
    direction = analysis.filter_normalized_direction(variables, seed=1)
    for variable, axis, part in zip(variables, axes, direction):
        assert part.shape == variable.shape
        assert part.dtype == np.float32
        if axis is None:
            assert not part.any() and not filters.filter_norms(variable).any()
            continue
        norms = np.linalg.norm(
            variable.numpy().reshape(-1, *np.delete(variable.shape, axis)),
            axis=0,
        )
        np.testing.assert_allclose(
            np.sqrt(np.sum(part**2, axis=axis)), norms, rtol=1e-5
        )
        np.testing.assert_allclose(
            filters.filter_norms(variable),
            np.broadcast_to(norms, variable.shape),
            rtol=1e-5,
        )
    again = analysis.filter_normalized_direction(variables, seed=1)
    other = analysis.filter_normalized_direction(variables, seed=2)
    np.testing.assert_array_equal(again[0], direction[0])
    assert not np.allclose(other[0], direction[0])


def symmetric(eigenvalues, rng):
    rotation, _ = np.linalg.qr(rng.normal(size=[len(eigenvalues)] * 2))
    return rotation * eigenvalues @ rotation.T


# All matrices are in one batch, in which their Krylov spaces end at different
# steps. A space that ends early must not add eigenvalues of 0, which the second
# matrix does not have.
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_eigenvalues_of_many_matrices(dtype):
    spectra = [
        [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0],
        [-2.0] * 7 + [-1.0],
        [0.0] * 7 + [4.0],
        [1.0] * 8,
        [0.0] * 8,
        [-1e-3, *np.linspace(1e-4, 9e-4, 6), 1e-3],
    ]
    rng = np.random.default_rng(0)
    matrices = np.stack([symmetric(s, rng) for s in spectra]).astype(dtype)
    start = rng.normal(size=[len(spectra), 8]).astype(dtype)

    @tf.function
    def run(num_steps):
        return lanczos.extreme_eigenvalues(
            lambda vectors: tf.linalg.matvec(matrices, vectors),
            tf.constant(start),
            num_steps,
        )

    tolerance = 1e-5 if dtype == "float32" else 1e-12
    expected = [[bound(s) for s in spectra] for bound in (min, max)]
    np.testing.assert_allclose(run(20), expected, tolerance, tolerance)
    smallest, largest = run(3)  # Inside the true range.
    assert -3 < smallest[0] < largest[0] < 5


def test_invalid_arguments():
    network, data = networks.linear(), networks.batches(1, shape=(2, 2, 1))
    with pytest.raises(ValueError, match="from 1 to 14.*received 15"):
        analysis.top_eigenvalues(network, data, k=15)
    with pytest.raises(ValueError, match="at least one batch"):
        analysis.top_eigenvalues(network, [])
    with pytest.raises(ValueError, match="length 3.*Sample weights"):
        analysis.top_eigenvalues(network, [(*data[0], np.ones(8))])
