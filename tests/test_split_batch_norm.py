"""Split batch norm against Keras's: values, masks, precision, config."""

import json

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import batch_norms
from tests import fused
from tests import networks
from tests.marks import slow


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


def mask_of(shape):
    mask = np.random.default_rng(3).uniform(size=shape) < 0.6
    mask[..., :1] = True
    return tf.constant(mask)


# Shapes of inputs and masks. Masks without a batch axis are broadcast.
MASKS = [
    ((8, 3), (8,)),
    ((8, 6, 3), (8, 6)),
    ((8, 6, 3), (1, 6)),
    ((8, 6, 3), (6,)),
    ((8, 2, 4, 3), (8, 2, 4)),
]


@pytest.mark.parametrize("shape, mask_shape", MASKS, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_masked_branch_is_keras_batch_norm(shape, mask_shape, training):
    inputs, mask = batch_norms.inputs(shape), mask_of(mask_shape)
    layer = batch_norms.layer(shape, fused=False)
    theirs = tf.keras.layers.BatchNormalization(fused=False)
    theirs.build(shape)
    theirs.set_weights(layer.branch_layers[1].get_weights())
    for each in (None, mask, mask.numpy()):
        expected = theirs(inputs, training=training, mask=each)
        # This call updates nothing, so the next one equals it.
        with ca.batch_norm_branch("auxiliary", update_statistics=False):
            batch_norms.assert_equal(
                layer(inputs, training=training, mask=each), expected
            )
        with ca.batch_norm_branch("auxiliary"):
            batch_norms.assert_equal(
                layer(inputs, training=training, mask=each), expected
            )
        batch_norms.assert_equal(
            layer.branch_layers[1].get_weights(), theirs.get_weights()
        )


@pytest.mark.parametrize("shape, mask_shape", MASKS, ids=str)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("sizes", [None, (5, 3)])
@pytest.mark.parametrize("update_statistics", [False, True])
def test_each_branch_gets_its_part_of_a_mask(
    shape, mask_shape, compiled, sizes, update_statistics
):
    inputs, mask = batch_norms.inputs(shape), mask_of(mask_shape)
    layer = batch_norms.layer(shape, fused=False)
    copy = batch_norms.layer(shape, fused=False)
    with fused.routed(
        compiled, update_statistics=update_statistics, sizes=sizes
    ):
        outputs = layer(inputs, training=True, mask=mask)
    for index, part in enumerate(tf.split(inputs, sizes or 2)):
        its_mask = mask
        if mask_shape[0] == 8:
            its_mask = tf.split(mask, sizes or 2)[index]
        with ca.batch_norm_branch(index, update_statistics=update_statistics):
            expected = copy(part, training=True, mask=its_mask)
        batch_norms.assert_equal(outputs[: len(part)], expected)
        outputs = outputs[len(part) :]
    batch_norms.assert_equal(layer.get_weights(), copy.get_weights())


# Keras's fused kernel has no weights for the positions.
@pytest.mark.parametrize("compiled", [False, True])
def test_fused_batch_norm_ignores_a_mask_and_warns(compiled):
    shape = (8, 2, 4, 3)
    inputs, mask = batch_norms.inputs(shape), mask_of(shape[:-1])
    layer, copy = batch_norms.layer(shape), batch_norms.layer(shape)
    with fused.routed(compiled):
        with pytest.warns(UserWarning, match="`mask` will be ignored"):
            outputs = layer(inputs, training=True, mask=mask)
    with fused.routed(False):
        batch_norms.assert_equal(outputs, copy(inputs, training=True))
    batch_norms.assert_equal(layer.get_weights(), copy.get_weights())


def sequence_network(masking):
    """Masked, with the mask given by a layer, an argument, or not at all."""
    layers = tf.keras.layers
    inputs = tf.keras.Input((6, 3))
    batch_norm = layers.BatchNormalization(momentum=0.9)
    if masking == "implicit":
        x = batch_norm(layers.Masking()(inputs))
    elif masking == "explicit":
        x = batch_norm(inputs, mask=tf.reduce_any(inputs > 0.4, axis=-1))
    else:
        x = batch_norm(inputs, mask=None)
    x = layers.GlobalAveragePooling1D()(layers.ReLU()(x))
    return tf.keras.Model(inputs, layers.Dense(networks.CLASSES)(x))


# Explicit masks were a TypeError, and implicit masks were ignored.
@pytest.mark.parametrize(
    "masking, jit_compile",
    [
        ("implicit", False),
        ("explicit", False),
        slow("implicit", True),
        slow("explicit", True),
        slow(None, False),
        slow(None, True),
    ],
)
def test_masked_network_trains_as_in_keras(masking, jit_compile):
    ((images, labels),) = networks.batches(1, shape=(6, 3))
    images[2:, 4:] = 0.0
    network = sequence_network(masking)
    plain = ca.ConAdvModel(network, attack=None)
    # With epsilon 0 both branches see the same images.
    split = ca.ConAdvModel(network, ca.PGD(0.0))
    for model in (network, plain, split):
        model.compile("sgd", networks.LOSS, jit_compile=jit_compile)
        model.train_on_batch(images, labels)
    batch_norms.assert_equal(plain.network.get_weights(), network.get_weights())
    *_, batch_norm, _, _, dense = network.layers
    *_, split_batch_norm, _, _, split_dense = split.network.layers
    for index in (0, 1):  # Each scale gets half of the gradient.
        statistics = split_batch_norm.branch_layers[index].get_weights()[2:]
        fused.assert_close(statistics, batch_norm.get_weights()[2:], 1e-6)
    fused.assert_close(split_dense.get_weights(), dense.get_weights(), 1e-6)


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
    # Statistics are float32. Only the result is rounded, to 8 or 11 bits.
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
