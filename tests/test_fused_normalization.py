"""Split batch norm in one piece against one Keras batch norm per branch."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import batch_norms
from tests import fused

# Rank 4 is Keras's fused kernel (unbiased moving variance), others are not.
CASES = [
    ((12, 5, 4, 3), 2, {}),
    ((12, 5, 4, 3), 3, {"momentum": 0.8, "epsilon": 0.1}),
    ((12, 5, 4, 3), 2, {"fused": False}),
    ((12, 5, 4, 3), 2, {"scale": False}),
    ((12, 5, 4, 3), 2, {"center": False}),
    ((12, 3), 3, {"momentum": 0.8}),
    ((12, 3), 2, {"scale": False, "center": False}),
    ((12, 5, 3), 2, {}),
    ((6, 2, 3, 2, 3), 2, {}),
    ((2, 1, 1, 3), 2, {}),  # One value per moment.
]


@pytest.mark.parametrize("shape, branches, arguments", CASES, ids=str)
def test_equals_a_batch_norm_per_branch(shape, branches, arguments):
    inputs = fused.inputs(shape)
    ours, theirs = (
        fused.train(
            batch_norms.layer(shape, branches, **arguments), inputs, compiled
        )
        for compiled in (True, False)
    )
    fused.assert_close(ours, theirs, 1e-5)


# The tolerances are a few units in the last place of the type of the inputs.
@pytest.mark.parametrize(
    "dtype, tolerance",
    [
        ("float64", 1e-9),  # Keras's decay of moving averages is a float32.
        ("mixed_bfloat16", 1e-2),
        ("mixed_float16", 2e-3),
    ],
)
@pytest.mark.parametrize("shape", [(12, 5, 4, 3), (12, 3)], ids=str)
def test_equals_in_other_precisions(dtype, tolerance, shape):
    policy = tf.keras.mixed_precision.Policy(dtype)
    is_double = dtype == "float64"
    inputs = fused.inputs(shape, np.float64 if is_double else np.float32)
    ours, theirs = (
        fused.train(batch_norms.layer(shape, dtype=policy), inputs, compiled)
        for compiled in (True, False)
    )
    assert ours[0].dtype == theirs[0].dtype == policy.compute_dtype
    fused.assert_close(ours, theirs, tolerance)


@pytest.mark.parametrize("shape", [(12, 5, 4, 3), (12, 3)], ids=str)
def test_equals_under_xla(shape):
    inputs = fused.inputs(shape)
    ours = fused.train(
        batch_norms.layer(shape), inputs, compiled=True, jit_compile=True
    )
    fused.assert_close(
        ours,
        fused.train(batch_norms.layer(shape), inputs, compiled=False),
        1e-5,
    )


def _oracle(inputs, cotangents, gamma, beta, mean, variance):
    """One branch: outputs, gradients, moving statistics."""
    axes = tuple(range(inputs.ndim - 1))
    count = inputs[..., 0].size
    centered = inputs - inputs.mean(axes)
    normalized = centered / np.sqrt(inputs.var(axes) + 1e-3)
    inner = cotangents - cotangents.mean(axes)
    inner -= normalized * (cotangents * normalized).mean(axes)
    unbiased = inputs.var(axes) * count / (count - 1)
    return (
        gamma * normalized + beta,
        gamma / np.sqrt(inputs.var(axes) + 1e-3) * inner,
        (cotangents * normalized).sum(axes),
        cotangents.sum(axes),
        0.99 * mean + 0.01 * inputs.mean(axes),
        0.99 * variance + 0.01 * unbiased,
    )


def test_equals_the_formulas():
    shape = (8, 3, 5, 4)
    inputs = fused.inputs(shape)
    cotangents = np.random.default_rng(2).normal(size=shape)
    layer = batch_norms.layer(shape)
    weights = [branch.get_weights() for branch in layer.branch_layers]
    outputs, gradients, _ = fused.train(layer, inputs, compiled=True)
    for index, branch in enumerate(layer.branch_layers):
        part = slice(4 * index, 4 * index + 4)
        wanted = _oracle(inputs[part], cotangents[part], *weights[index])
        found = (
            outputs[part],
            gradients[0][part],
            *gradients[1 + 2 * index : 3 + 2 * index],
            *branch.get_weights()[2:],
        )
        fused.assert_close(found, wanted, 1e-5)


# A sum of ones in bfloat16 stops at 256.
def test_sums_of_bfloat16_are_float32():
    layer = batch_norms.layer((4, 32, 32, 1), dtype="mixed_bfloat16")
    inputs = tf.cast(fused.inputs((4, 32, 32, 1)), tf.bfloat16)
    with tf.GradientTape() as tape:
        with fused.routed(True):
            outputs = layer(inputs, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32))
    betas = [branch.beta for branch in layer.branch_layers]
    for gradient in tape.gradient(loss, betas):
        np.testing.assert_array_equal(gradient, [2 * 32 * 32])


def test_one_part_with_nan_leaves_the_others():
    layer = batch_norms.layer((4, 3))
    inputs = fused.inputs((4, 3))
    inputs[3] = np.nan
    outputs, (gradient, *_), _ = fused.train(layer, inputs, compiled=True)
    for values in (outputs, gradient, layer.branch_layers[0].moving_mean):
        assert np.isfinite(values[:2]).all()
    assert np.isnan(outputs[2:]).all()


def test_open_shapes_and_empty_batches():
    layer = batch_norms.layer((None, None, None, 3))
    before = layer.get_weights()

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def forward(inputs):
        with fused.routed(True):
            return layer(inputs, training=True)

    assert forward(tf.zeros([0, 2, 2, 3])).shape == (0, 2, 2, 3)
    fused.assert_close(layer.get_weights(), before, 0.0)
    inputs = fused.inputs((4, 2, 2, 3))
    expected = fused.train(
        batch_norms.layer((4, 2, 2, 3)), inputs, compiled=False
    )
    fused.assert_close(forward(inputs), expected[0], 1e-5)
    fused.assert_close(layer.get_weights(), expected[2], 1e-5)


def test_without_update_the_statistics_stay():
    layer, inputs = batch_norms.layer((4, 3)), fused.inputs((4, 3))
    before = layer.get_weights()
    with fused.routed(True, update_statistics=False):
        outputs = layer(inputs, training=True)
    fused.assert_close(layer.get_weights(), before, 0.0)
    fused.assert_close(
        outputs, fused.train(layer, inputs, compiled=False)[0], 1e-5
    )


@pytest.mark.parametrize("shape", [(8, 3), (8, 4, 4, 3)], ids=str)
def test_synchronized_over_two_replicas(shape):
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    inputs = tf.split(fused.inputs(shape), 2)

    def results(compiled):
        with strategy.scope():
            layer = batch_norms.layer(shape, synchronized=True)

        def forward():
            context = tf.distribute.get_replica_context()
            first = context.replica_id_in_sync_group == 0
            part = tf.where(first, *inputs)
            with ca.batch_norm_branch("split"):
                return layer(part, training=True)

        with fused.routed(compiled):  # Once for the threads of all replicas.
            outputs = tf.function(lambda: strategy.run(forward))()
        outputs = strategy.experimental_local_results(outputs)
        return outputs, [np.array(w) for w in layer.get_weights()]

    fused.assert_close(results(True), results(False), 1e-5)
