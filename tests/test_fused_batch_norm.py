"""The form of split batch norm for XLA, against a batch norm per branch.

The first tests compare numbers, the last ones tell which form is used and which
program XLA gets.
"""

import re

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.batch_norm import fused as fused_batch_norm
from tests import batch_norms
from tests import fused
from tests import networks

# Rank 4 uses Keras's fused kernel, whose moving variance is unbiased. Other
# ranks do not.
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


# The tolerances are a few units in the last place of the inputs' type.
@pytest.mark.parametrize(
    "dtype, tolerance",
    [
        ("float64", 1e-9),  # Keras computes the decay of averages in float32.
        ("mixed_bfloat16", 1e-2),
        ("mixed_float16", 2e-3),
    ],
)
@pytest.mark.parametrize("shape", [(12, 5, 4, 3), (12, 3)], ids=str)
def test_equals_a_batch_norm_per_branch_in_other_precisions(
    dtype, tolerance, shape
):
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
def test_equals_a_batch_norm_per_branch_under_xla(shape):
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
    """Returns one branch's outputs, gradients and moving statistics."""
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


# In bfloat16 a sum of ones would stop at 256.
def test_bfloat16_is_summed_in_float32():
    layer = batch_norms.layer((4, 32, 32, 1), dtype="mixed_bfloat16")
    inputs = tf.cast(fused.inputs((4, 32, 32, 1)), tf.bfloat16)
    with tf.GradientTape() as tape:
        with fused.routed(True):
            outputs = layer(inputs, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32))
    betas = [branch.beta for branch in layer.branch_layers]
    for gradient in tape.gradient(loss, betas):
        np.testing.assert_array_equal(gradient, [2 * 32 * 32])


def test_nan_in_one_part_does_not_reach_the_others():
    layer = batch_norms.layer((4, 3))
    inputs = fused.inputs((4, 3))
    inputs[3] = np.nan
    outputs, (gradient, *_), _ = fused.train(layer, inputs, compiled=True)
    for values in (outputs, gradient, layer.branch_layers[0].moving_mean):
        assert np.isfinite(values[:2]).all()
    assert np.isnan(outputs[2:]).all()


def test_dynamic_shapes_and_empty_batches():
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


def test_statistics_are_not_updated_with_update_statistics_false():
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

        with fused.routed(compiled):  # One context for all replicas' threads.
            outputs = tf.function(lambda: strategy.run(forward))()
        outputs = strategy.experimental_local_results(outputs)
        return outputs, [np.array(w) for w in layer.get_weights()]

    fused.assert_close(results(True), results(False), 1e-5)


@pytest.fixture
def fused_calls(monkeypatch):
    """Collects the branch names of each call of the form for XLA."""
    calls = []
    normalize = fused_batch_norm.normalize

    def spy(layers, *args):
        calls.append([layer.name for layer in layers])
        return normalize(layers, *args)

    monkeypatch.setattr(fused_batch_norm, "normalize", spy)
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
def test_unsupported_layers_use_one_batch_norm_per_branch(
    fused_calls, shape, arguments, frozen
):
    layers = [batch_norms.layer(shape, **arguments) for _ in range(2)]
    for layer in layers:
        if frozen is not None:
            layer.branch_layers[frozen].trainable = False
    ours, theirs = (
        fused.train(layer, fused.inputs(shape), compiled)
        for layer, compiled in zip(layers, (True, False))
    )
    assert not fused_calls
    fused.assert_close(ours, theirs, 0.0)


@pytest.mark.parametrize("training", [None, False, 0])
def test_inference_uses_moving_statistics(fused_calls, training):
    layer, inputs = batch_norms.layer((4, 3)), fused.inputs((4, 3))
    with fused.routed(True):
        outputs = layer(inputs, training=training)
    with ca.batch_norm_branch("split"):
        fused.assert_close(outputs, layer(inputs, training=training), 0.0)
    assert not fused_calls


@pytest.mark.parametrize("compiled", [False, True])
def test_form_for_xla_is_used_if_the_model_compiles_with_xla(
    fused_calls, compiled
):
    network = networks.convolutional()
    model = ca.ConAdvModel(network, ca.FGSM(0.1), step=ca.Sequential())
    model.compile("sgd", networks.LOSS, jit_compile=compiled)
    images, labels = networks.batches(1, size=4)[0]
    tf.function(model.train_step, jit_compile=compiled).get_concrete_function(
        (images, labels)
    )
    # The attack uses a single branch, for which Keras's kernel is as fast.
    assert bool(fused_calls) == compiled
    assert all(names == ["main", "auxiliary"] for names in fused_calls)


@pytest.mark.parametrize("compiled", [False, True])
def test_form_for_xla_neither_splits_nor_joins_the_batch(compiled):
    layer = batch_norms.layer((8, 5, 7, 3))

    @tf.function(jit_compile=True)
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            with fused.routed(compiled):
                outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(outputs**3)
        return tape.gradient(loss, [inputs, *layer.trainable_weights])

    hlo = step.experimental_get_compiler_ir(
        tf.TensorSpec((8, 5, 7, 3), tf.float32)
    )(stage="hlo")
    parts = re.search(r"f32\[(4|2,4),5,7,3\]", hlo)
    moves = re.search(r"f32\[8,5,7,3\]\S* (concatenate|pad|slice)\(", hlo)
    assert bool(parts) == bool(moves) == (not compiled)
