"""Networks that cannot be split, merged or copied are refused by name."""

import re

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.networks import conversion
from tests import convertible

layers = tf.keras.layers


class _OwnBatchNorm(layers.BatchNormalization):
    pass


class _OwnSyncBatchNorm(layers.experimental.SyncBatchNormalization):
    pass


class _Holder(layers.Layer):
    """A custom layer that holds a batch norm."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.held = layers.BatchNormalization(name="held_norm")

    def call(self, inputs, training=None):
        return self.held(inputs, training=training)


def _around(layer):
    inputs = tf.keras.Input(convertible.SHAPE)
    x = layers.BatchNormalization(name="reached")(inputs)
    return tf.keras.Model(inputs, layer(x))


@pytest.mark.parametrize(
    "make_layer, names",
    [
        (lambda: _OwnBatchNorm(name="own_norm"), "'own_norm'"),
        (lambda: _OwnSyncBatchNorm(name="own_sync_norm"), "'own_sync_norm'"),
        (
            lambda: tf.compat.v1.keras.layers.BatchNormalization(
                name="old_norm"
            ),
            "'old_norm'",
        ),
        (
            lambda: layers.TimeDistributed(
                layers.BatchNormalization(name="timed_norm"), name="timed"
            ),
            "'timed_norm' (held by 'timed')",
        ),
        (
            lambda: _Holder(name="holder"),
            "'held_norm' (held by 'holder')",
        ),
        (
            lambda: tf.keras.Sequential(
                [
                    tf.keras.Input(convertible.SHAPE),
                    _OwnBatchNorm(name="deep_norm"),
                ]
            ),
            "'deep_norm'",
        ),
    ],
    ids=[
        "subclass",
        "sync subclass",
        "version 1",
        "wrapper",
        "custom layer",
        "nested",
    ],
)
def test_batch_norms_out_of_reach_are_named(make_layer, names):
    network = _around(make_layer())
    with pytest.raises(ValueError, match=re.escape(f"be split: {names}. ")):
        ca.split_batch_norm(network)
    # Copying needs to reach nothing.
    images = convertible.images()
    np.testing.assert_array_equal(
        conversion.copy_network(network)(images), network(images)
    )


class _Subclassed(tf.keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.norm = layers.BatchNormalization()

    def call(self, inputs, training=None):
        return self.norm(inputs, training=training)


@pytest.mark.parametrize(
    "make_network, message",
    [
        (_Subclassed, "received 'subclassed' of class _Subclassed"),
        (lambda: _around(_Subclassed()), "received 'subclassed' of class"),
        (
            lambda: tf.keras.Sequential([layers.Dense(3)], name="unbuilt"),
            "received 'unbuilt' of class Sequential.* Input layer",
        ),
        (lambda: layers.Dense(3), "received Dense"),
        (lambda: "resnet50", "received str"),
    ],
    ids=["subclassed", "nested", "unbuilt", "layer", "string"],
)
@pytest.mark.parametrize(
    "convert",
    [ca.split_batch_norm, ca.merge_batch_norm, conversion.copy_network],
)
def test_networks_that_cannot_be_seen_are_refused(
    make_network, message, convert
):
    with pytest.raises(ValueError, match=message):
        convert(make_network())


def test_another_number_of_branches_is_refused_with_the_remedy():
    split = ca.split_batch_norm(
        convertible.make(convertible.residual), branches=3
    )
    message = "'norm_a' already has 3 branches; 2 were asked for.* Merge it"
    with pytest.raises(ValueError, match=message):
        ca.split_batch_norm(split, branches=2)
    remedy = ca.split_batch_norm(ca.merge_batch_norm(split), branches=2)
    norms = convertible.norms(remedy, ca.SplitBatchNormalization)
    assert [norm.branches for norm in norms] == [2, 2]


@pytest.mark.parametrize("branches", [0, 4])
def test_bad_number_of_branches_is_refused(branches):
    with pytest.raises(ValueError, match=f"received {branches}"):
        ca.split_batch_norm(convertible.residual(), branches)
