"""Split batch norm against Keras's: values, precision, configuration."""

import json

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import batch_norms


@pytest.mark.parametrize("shape", batch_norms.SHAPES, ids=str)
@pytest.mark.parametrize("arguments", [{}, {"scale": False, "center": False}])
def test_one_branch_is_keras_batch_norm(shape, arguments):
    arguments = {"momentum": 0.8, "epsilon": 1e-4, **arguments}
    ours = ca.SplitBatchNormalization(1, **arguments)
    theirs = tf.keras.layers.BatchNormalization(**arguments)
    for step in range(4):
        inputs = batch_norms.inputs(shape, step)
        batch_norms.assert_equal(
            batch_norms.train(ours, inputs), batch_norms.train(theirs, inputs)
        )
        batch_norms.assert_equal(ours.get_weights(), theirs.get_weights())
    batch_norms.assert_equal(
        ours(inputs, training=False), theirs(inputs, training=False)
    )
    batch_norms.assert_equal(ours(inputs), theirs(inputs))


@pytest.mark.parametrize("shape", batch_norms.SHAPES, ids=str)
@pytest.mark.parametrize("branches", [2, 3])
def test_split_equals_a_layer_for_each_part(shape, branches):
    shape = (4 * branches, *shape[1:])
    ours = ca.SplitBatchNormalization(branches, momentum=0.8)
    theirs = [
        tf.keras.layers.BatchNormalization(momentum=0.8)
        for _ in range(branches)
    ]
    for step in range(3):
        inputs = batch_norms.inputs(shape, step)
        with ca.batch_norm_branch("split"):
            outputs, (input_gradient, *_) = batch_norms.train(ours, inputs)
        parts = [
            batch_norms.train(layer, part)
            for layer, part in zip(theirs, tf.split(inputs, branches))
        ]
        batch_norms.assert_equal(
            outputs, tf.concat([part[0] for part in parts], 0)
        )
        batch_norms.assert_equal(
            input_gradient, tf.concat([part[1][0] for part in parts], 0)
        )
        for branch, layer in zip(ours.branch_layers, theirs):
            batch_norms.assert_equal(branch.get_weights(), layer.get_weights())
    with ca.batch_norm_branch("split"):
        outputs = ours(inputs, training=False)
    parts = zip(theirs, tf.split(inputs, branches))
    batch_norms.assert_equal(
        outputs, tf.concat([f(x, training=False) for f, x in parts], 0)
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("shape", batch_norms.SHAPES, ids=str)
def test_mixed_precision_keeps_float32_variables(shape, policy):
    layer = batch_norms.layer(shape, dtype=policy)
    assert {w.dtype for w in layer.weights} == {tf.float32}
    inputs = batch_norms.inputs(shape)
    half = layer.compute_dtype
    expected = batch_norms.layer(shape)(tf.cast(inputs, half), training=True)
    assert layer(inputs, training=True).dtype == half
    with ca.batch_norm_branch("main", update_statistics=False):
        outputs = layer(inputs, training=True)
    assert outputs.dtype == half
    # Statistics in float32: only the result is rounded, to 8 or 11 bits.
    ulp = 2.0 ** (-8 if half == "bfloat16" else -11)
    np.testing.assert_allclose(
        tf.cast(outputs, tf.float32), expected, rtol=ulp, atol=ulp
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"branches": 3, "momentum": 0.9, "epsilon": 1e-5, "trainable": False},
        {"branches": 1, "axis": 1, "scale": False, "dtype": "mixed_bfloat16"},
        {
            "gamma_initializer": tf.keras.initializers.Constant(0.5),
            "beta_regularizer": tf.keras.regularizers.L2(0.25),
            "gamma_constraint": tf.keras.constraints.NonNeg(),
            "synchronized": True,
        },
    ],
)
def test_config_round_trip(arguments):
    layer = ca.SplitBatchNormalization(name="mine", **arguments)
    config = json.loads(json.dumps(tf.keras.layers.serialize(layer)))
    copy = tf.keras.layers.deserialize(config)
    assert type(copy) is ca.SplitBatchNormalization
    assert copy.get_config() == layer.get_config()
    layer.build((None, 4, 4, 3))
    copy.build((None, 4, 4, 3))
    assert [w.name for w in copy.weights] == [w.name for w in layer.weights]
    for ours, theirs in zip(layer.branch_layers, copy.branch_layers):
        for name in ("axis", "momentum", "epsilon", "center", "trainable"):
            assert getattr(ours, name) == getattr(theirs, name)
        # Keras's own batch norm forgets this one in its config.
        assert ours.synchronized is theirs.synchronized
        assert theirs.synchronized is arguments.get("synchronized", False)
        assert ours.dtype_policy.name == theirs.dtype_policy.name
    batch_norms.assert_equal(copy.get_weights(), layer.get_weights())


@pytest.mark.parametrize("branches", [0, 4, "two", None, 2.5])
def test_bad_number_of_branches(branches):
    with pytest.raises(ValueError, match=f"received {branches!r}"):
        ca.SplitBatchNormalization(branches)
