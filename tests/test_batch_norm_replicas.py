"""Split batch norm on two replicas, synchronized and not."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import batch_norms


@pytest.mark.parametrize("shape", batch_norms.SHAPES, ids=str)
@pytest.mark.parametrize("update_statistics", [False, True])
@pytest.mark.parametrize("is_masked", [False, True])
def test_synchronized_on_two_replicas_equals_the_whole_batch(
    shape, update_statistics, is_masked
):
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    with strategy.scope():
        layer = batch_norms.layer(shape, synchronized=True)
    # Not fused, because the fused kernel's moving variance is unbiased.
    whole = tf.keras.layers.BatchNormalization(fused=False)
    whole.build(shape)
    whole.set_weights(layer.branch_layers[1].get_weights())
    inputs = batch_norms.inputs(shape)
    halves = tf.split(inputs, 2)
    mask, masks = None, [None, None]
    if is_masked:
        mask = batch_norms.inputs(shape[:-1], seed=1) > 0.0
        masks = tf.split(mask, 2)

    @tf.function
    def step():
        return strategy.run(forward)

    def forward():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = tf.where(replica == 0, halves[0], halves[1])
        its_mask = tf.where(replica == 0, *masks) if is_masked else None
        with ca.batch_norm_branch(
            "auxiliary", update_statistics=update_statistics
        ):
            return layer(part, training=True, mask=its_mask)

    before = layer.branch_layers[1].get_weights()
    outputs = strategy.experimental_local_results(step())
    # Computed as mean of squares minus square of the mean.
    np.testing.assert_allclose(
        tf.concat(outputs, 0),
        whole(inputs, training=True, mask=mask),
        atol=1e-5,
    )
    expected = whole.get_weights() if update_statistics else before
    for ours, wanted in zip(layer.branch_layers[1].get_weights(), expected):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5)


def test_statistics_are_per_replica_by_default():
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    with strategy.scope():
        layer = ca.SplitBatchNormalization()
        layer.build((None, 1))

    def forward():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        inputs = tf.constant([[0.0], [1.0]]) + 100.0 * tf.cast(
            replica, tf.float32
        )
        with ca.batch_norm_branch("auxiliary", update_statistics=False):
            return layer(inputs, training=True)

    first, second = strategy.experimental_local_results(
        tf.function(lambda: strategy.run(forward))()
    )
    # The offset of 100 leaves this precision in float32.
    np.testing.assert_allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("update_statistics", [False, True])
def test_synchronized_on_one_device_equals_an_ordinary_layer(update_statistics):
    layer = batch_norms.layer((8, 3), synchronized=True)
    plain = batch_norms.layer((8, 3))
    inputs = batch_norms.inputs((8, 3))
    with ca.batch_norm_branch("auxiliary", update_statistics=update_statistics):
        np.testing.assert_allclose(
            layer(inputs, training=True),
            plain(inputs, training=True),
            atol=1e-5,
        )
