"""Split batch norm in the modes that do not update moving statistics."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.batch_norm import batch_statistics
from tests import batch_norms


# Rank 4 uses the fused kernel; several axes, `fused=False` and rank 5 do not.
@pytest.mark.parametrize(
    "shape, arguments",
    [
        ((8, 3), {}),
        ((8, 3), {"scale": False}),
        ((8, 4, 4, 3), {}),
        ((8, 4, 4, 3), {"center": False, "epsilon": 1e-4}),
        ((8, 4, 4, 3), {"axis": (2, 3)}),
        ((8, 4, 4, 3), {"fused": False}),
        ((8, 2, 2, 2, 3), {}),
        ((8, 3), {"dtype": "float64"}),
        ((8, 4, 4, 3), {"dtype": "float64"}),
    ],
    ids=str,
)
def test_without_update_equals_the_training_forward(shape, arguments):
    layer = batch_norms.layer(shape, 2, **arguments)
    inputs = tf.cast(batch_norms.inputs(shape), layer.dtype)
    before = layer.get_weights()
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        with ca.batch_norm_branch("auxiliary", update_statistics=False):
            outputs = layer(inputs, training=True)
        loss = batch_norms.loss(outputs)
    gradient = tape.gradient(loss, inputs)
    batch_norms.assert_equal(layer.get_weights(), before)
    with ca.batch_norm_branch("auxiliary"):
        expected, (expected_gradient, *_) = batch_norms.train(
            layer, inputs, rate=0.0
        )
    assert outputs.dtype == expected.dtype
    # The same operations in another order, in float32 or float64.
    tolerance = 1e-12 if layer.dtype == "float64" else 2e-5
    np.testing.assert_allclose(outputs, expected, atol=tolerance)
    np.testing.assert_allclose(gradient, expected_gradient, atol=10 * tolerance)


@pytest.mark.parametrize("update_statistics", [False, True])
@pytest.mark.parametrize("shape", batch_norms.SHAPES, ids=str)
@pytest.mark.parametrize("branch", ["auxiliary", "split"])
def test_graph_touches_no_moving_statistics(shape, branch, update_statistics):
    layer = batch_norms.layer(shape)

    @tf.function
    def forward(inputs):
        with ca.batch_norm_branch(branch, update_statistics=update_statistics):
            return layer(inputs, training=True)

    graph = forward.get_concrete_function(tf.TensorSpec(shape)).graph
    # A graph captures the handle of each variable that it reads or writes.
    captured = {id(external) for external, _ in graph.captures}
    touched = [
        id(variable.handle) in captured
        for variable in layer.non_trainable_weights
        if branch == "split" or variable.name.startswith("auxiliary")
    ]
    assert touched and all(t == update_statistics for t in touched)
    writes = [op for op in graph.get_operations() if "Assign" in op.type]
    assert bool(writes) == update_statistics


@pytest.mark.parametrize("update_statistics", [False, True])
@pytest.mark.parametrize("branch", ["main", "auxiliary", "split"])
@pytest.mark.parametrize("set_by", ["constructor", "attribute", "branch"])
def test_frozen_layer_runs_in_inference_mode(branch, update_statistics, set_by):
    trainable = set_by != "constructor"
    layer = batch_norms.layer((None, 3), trainable=trainable)
    if set_by == "attribute":
        layer.trainable = False
    elif set_by == "branch":
        for each in layer.branch_layers:
            each.trainable = False
    before = layer.get_weights()
    inputs = batch_norms.inputs((8, 3))
    with ca.batch_norm_branch(branch, update_statistics=update_statistics):
        outputs = layer(inputs, training=True)
        expected = layer(inputs, training=False)
    batch_norms.assert_equal(outputs, expected)
    batch_norms.assert_equal(layer.get_weights(), before)
    assert not layer.trainable_weights


def test_inference_ignores_update_statistics():
    layer = batch_norms.layer((None, 3))
    inputs = batch_norms.inputs((8, 3))
    with ca.batch_norm_branch("main", update_statistics=False):
        outputs = layer(inputs, training=False)
    batch_norms.assert_equal(outputs, layer(inputs, training=False))


def test_normalize_with_batch_statistics_takes_a_keras_layer():
    layer = tf.keras.layers.BatchNormalization()
    inputs = batch_norms.inputs((8, 3))
    expected = layer(inputs, training=True)
    np.testing.assert_allclose(
        batch_statistics.normalize(layer, inputs), expected, atol=1e-5
    )
