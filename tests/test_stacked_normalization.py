"""Split batch norm in one piece against one Keras batch norm per branch."""

import contextlib
import re
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import keras_internals
from conadv_tf.batch_norm import stacked as stacked_normalization
from tests import networks


def _layer(shape, branches=2, dtype="float32", **arguments):
    layer = ca.SplitBatchNormalization(branches, dtype=dtype, **arguments)
    layer.build(shape)
    rng = np.random.default_rng(0)
    for branch in layer.branch_layers:
        branch.set_weights(
            [rng.uniform(0.5, 1.5, w.shape) for w in branch.get_weights()]
        )
    return layer


def _inputs(shape, dtype=np.float32):
    """Values about 1 +- 2, those of the last part about 4 +- 8."""
    values = np.random.default_rng(1).normal(1.0, 2.0, size=shape)
    values[-shape[0] // 2 :] *= 4.0
    return values.astype(dtype)


@contextlib.contextmanager
def _routed(compiled, branch="split", **arguments):
    """Routes calls, as if traced for XLA or not."""
    name = "is_compiled_by_xla"
    with mock.patch.object(keras_internals, name, lambda: compiled):
        with ca.batch_norm_branch(branch, **arguments):
            yield


def _train(layer, inputs, compiled, jit_compile=False, branch="split"):
    """Outputs, gradients of inputs and weights, and all weights after it."""
    cotangents = np.random.default_rng(2).normal(size=inputs.shape)

    @tf.function(jit_compile=jit_compile)
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            with _routed(compiled, branch):
                outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(tf.cast(outputs, inputs.dtype) * cotangents)
        weights = layer.trainable_weights
        return outputs, tape.gradient(
            loss, [inputs, *weights], unconnected_gradients="zero"
        )

    outputs, gradients = step(tf.constant(inputs))
    return outputs, gradients, [np.array(w) for w in layer.get_weights()]


def _close(ours, theirs, tolerance):
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs)):
        a, b = (np.array(tf.cast(each, tf.float64)) for each in (a, b))
        scale = max(1.0, np.abs(b).max(initial=0.0))
        np.testing.assert_allclose(a, b, atol=tolerance * scale)


# --- Values -----------------------------------------------------------------

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
    inputs = _inputs(shape)
    ours, theirs = (
        _train(_layer(shape, branches, **arguments), inputs, compiled)
        for compiled in (True, False)
    )
    _close(ours, theirs, 1e-5)


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
    inputs = _inputs(shape, np.float64 if is_double else np.float32)
    ours, theirs = (
        _train(_layer(shape, dtype=policy), inputs, compiled)
        for compiled in (True, False)
    )
    assert ours[0].dtype == theirs[0].dtype == policy.compute_dtype
    _close(ours, theirs, tolerance)


@pytest.mark.parametrize("shape", [(12, 5, 4, 3), (12, 3)], ids=str)
def test_equals_under_xla(shape):
    inputs = _inputs(shape)
    ours = _train(_layer(shape), inputs, compiled=True, jit_compile=True)
    _close(ours, _train(_layer(shape), inputs, compiled=False), 1e-5)


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
    inputs = _inputs(shape)
    cotangents = np.random.default_rng(2).normal(size=shape)
    layer = _layer(shape)
    weights = [branch.get_weights() for branch in layer.branch_layers]
    outputs, gradients, _ = _train(layer, inputs, compiled=True)
    for index, branch in enumerate(layer.branch_layers):
        part = slice(4 * index, 4 * index + 4)
        wanted = _oracle(inputs[part], cotangents[part], *weights[index])
        found = (
            outputs[part],
            gradients[0][part],
            *gradients[1 + 2 * index : 3 + 2 * index],
            *branch.get_weights()[2:],
        )
        _close(found, wanted, 1e-5)


# A sum of ones in bfloat16 stops at 256.
def test_sums_of_bfloat16_are_float32():
    layer = _layer((4, 32, 32, 1), dtype="mixed_bfloat16")
    inputs = tf.cast(_inputs((4, 32, 32, 1)), tf.bfloat16)
    with tf.GradientTape() as tape:
        with _routed(True):
            outputs = layer(inputs, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32))
    betas = [branch.beta for branch in layer.branch_layers]
    for gradient in tape.gradient(loss, betas):
        np.testing.assert_array_equal(gradient, [2 * 32 * 32])


def test_one_part_with_nan_leaves_the_others():
    layer = _layer((4, 3))
    inputs = _inputs((4, 3))
    inputs[3] = np.nan
    outputs, (gradient, *_), _ = _train(layer, inputs, compiled=True)
    for values in (outputs, gradient, layer.branch_layers[0].moving_mean):
        assert np.isfinite(values[:2]).all()
    assert np.isnan(outputs[2:]).all()


def test_open_shapes_and_empty_batches():
    layer = _layer((None, None, None, 3))
    before = layer.get_weights()

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def forward(inputs):
        with _routed(True):
            return layer(inputs, training=True)

    assert forward(tf.zeros([0, 2, 2, 3])).shape == (0, 2, 2, 3)
    _close(layer.get_weights(), before, 0.0)
    inputs = _inputs((4, 2, 2, 3))
    expected = _train(_layer((4, 2, 2, 3)), inputs, compiled=False)
    _close(forward(inputs), expected[0], 1e-5)
    _close(layer.get_weights(), expected[2], 1e-5)


def test_without_update_the_statistics_stay():
    layer, inputs = _layer((4, 3)), _inputs((4, 3))
    before = layer.get_weights()
    with _routed(True, update_statistics=False):
        outputs = layer(inputs, training=True)
    _close(layer.get_weights(), before, 0.0)
    _close(outputs, _train(layer, inputs, compiled=False)[0], 1e-5)


@pytest.mark.parametrize("shape", [(8, 3), (8, 4, 4, 3)], ids=str)
def test_synchronized_over_two_replicas(shape):
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    inputs = tf.split(_inputs(shape), 2)

    def results(compiled):
        with strategy.scope():
            layer = _layer(shape, synchronized=True)

        def forward():
            context = tf.distribute.get_replica_context()
            first = context.replica_id_in_sync_group == 0
            part = tf.where(first, *inputs)
            with ca.batch_norm_branch("split"):
                return layer(part, training=True)

        with _routed(compiled):  # Once for the threads of all replicas.
            outputs = tf.function(lambda: strategy.run(forward))()
        outputs = strategy.experimental_local_results(outputs)
        return outputs, [np.array(w) for w in layer.get_weights()]

    _close(results(True), results(False), 1e-5)


# --- Which form is chosen ---------------------------------------------------


@pytest.fixture
def stacked_calls(monkeypatch):
    """List of the branches that each call of the stacked form normalized."""
    calls = []
    normalize = stacked_normalization.normalize

    def spy(layers, inputs, update_statistics=True):
        calls.append([layer.name for layer in layers])
        return normalize(layers, inputs, update_statistics)

    monkeypatch.setattr(stacked_normalization, "normalize", spy)
    return calls


@pytest.mark.parametrize(
    "shape, arguments, frozen",
    [
        ((4, 4, 4, 3), {"axis": 1}, None),
        ((4, 4, 4, 3), {"axis": (2, 3)}, None),
        ((4, 3), {"renorm": True}, None),
        ((4, 3), {"trainable": False}, None),
        ((4, 3), {}, 1),
    ],
    ids=str,
)
def test_what_it_does_not_support(stacked_calls, shape, arguments, frozen):
    layers = [_layer(shape, **arguments) for _ in range(2)]
    for layer in layers:
        if frozen is not None:
            layer.branch_layers[frozen].trainable = False
    ours, theirs = (
        _train(layer, _inputs(shape), compiled)
        for layer, compiled in zip(layers, (True, False))
    )
    assert not stacked_calls
    _close(ours, theirs, 0.0)


@pytest.mark.parametrize("training", [None, False, 0])
def test_inference_uses_moving_statistics(stacked_calls, training):
    layer, inputs = _layer((4, 3)), _inputs((4, 3))
    with _routed(True):
        outputs = layer(inputs, training=training)
    with ca.batch_norm_branch("split"):
        _close(outputs, layer(inputs, training=training), 0.0)
    assert not stacked_calls


@pytest.mark.parametrize("compiled", [False, True])
def test_the_model_tells_its_layers(stacked_calls, compiled):
    network = networks.convolutional()
    model = ca.ConAdvModel(network, ca.FGSM(0.1), staleness=0)
    model.compile("sgd", networks.LOSS, jit_compile=compiled)
    images, labels = networks.batches(1, size=4)[0]
    tf.function(model.train_step, jit_compile=compiled).get_concrete_function(
        (images, labels)
    )
    # The attack needs one branch, for which Keras's kernel is as good.
    assert bool(stacked_calls) == compiled
    assert all(names == ["main", "auxiliary"] for names in stacked_calls)


# --- What XLA is given ------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, True])
def test_the_batch_is_in_one_piece(compiled):
    layer = _layer((8, 5, 7, 3))

    @tf.function(jit_compile=True)
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            with _routed(compiled):
                outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(outputs**3)
        return tape.gradient(loss, [inputs, *layer.trainable_weights])

    hlo = step.experimental_get_compiler_ir(
        tf.TensorSpec((8, 5, 7, 3), tf.float32)
    )(stage="hlo")
    parts = re.search(r"f32\[(4|2,4),5,7,3\]", hlo)
    moves = re.search(r"f32\[8,5,7,3\]\S* (concatenate|pad|slice)\(", hlo)
    assert bool(parts) == bool(moves) == (not compiled)
