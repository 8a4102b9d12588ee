"""Batch norms that are not layers of the graph are refused by name."""

import functools
import re

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.networks import conversion
from tests import convertible

layers = tf.keras.layers
SHAPE = convertible.SHAPE


class _MyBatchNorm(layers.BatchNormalization):
    pass


class _MySyncBatchNorm(layers.experimental.SyncBatchNormalization):
    pass


class _Holder(layers.Layer):
    """A custom layer that holds a batch norm."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.held = layers.BatchNormalization(name="held")

    def call(self, inputs, training=None):
        return self.held(inputs, training=training)


def _wrapper():
    norm = layers.BatchNormalization(name="inside")
    return layers.TimeDistributed(norm, name="timed")


def _nested():
    return tf.keras.Sequential([tf.keras.Input(SHAPE), _MyBatchNorm(name="n")])


def _network(layer):
    inputs = tf.keras.Input(SHAPE)
    x = layers.BatchNormalization(name="reached")(inputs)
    return tf.keras.Model(inputs, layer(x))


def _refusal(names):
    message = re.escape(f"these cannot be split: {names}. ")
    return pytest.raises(ValueError, match=message)


@pytest.mark.parametrize(
    "make_layer, names",
    [
        (lambda: _MyBatchNorm(name="mine"), "'mine'"),
        (lambda: _MySyncBatchNorm(name="mine"), "'mine'"),
        (
            lambda: tf.compat.v1.keras.layers.BatchNormalization(name="old"),
            "'old'",
        ),
        (_wrapper, "'inside' (held by 'timed')"),
        (lambda: _Holder(name="holder"), "'held' (held by 'holder')"),
        (_nested, "'n'"),
    ],
    ids=["subclass", "synchronized", "v1", "wrapper", "custom", "nested"],
)
def test_batch_norm_that_cannot_be_split_is_named(make_layer, names):
    network = _network(make_layer())
    with _refusal(names):
        ca.split_batch_norm(network)
    # A plain copy does not have to reach the batch norms.
    images = convertible.images()
    np.testing.assert_array_equal(
        conversion.copy_network(network)(images), network(images)
    )


class _Helper:
    """An ordinary object with a method that uses a layer."""

    def __init__(self, norm):
        self.norm = norm
        self.unused = layers.BatchNormalization(name="unused")

    def apply(self, images):
        return self.norm(images)


class _CallableHelper(_Helper):
    def __call__(self, images):
        return self.apply(images)


def _attribute(norm):
    layer = layers.Lambda(lambda images: images, name="function")
    layer.norm = norm
    return layer


def _argument(norm):
    return layers.Lambda(
        lambda images, norm: norm(images),
        arguments={"norm": norm},
        name="function",
    )


def _closure(norm):
    def apply(images):
        return norm(images)

    return lambda images: apply(images) + 1.0


_GLOBAL = []


def _global(norm):
    _GLOBAL[:] = [norm]
    return lambda images: _GLOBAL[0](images)


def _default(norm):
    return lambda images, norm=norm: norm(images)


def _partial(norm):
    return functools.partial(lambda norm, images: norm(images), norm)


def _block(norm):
    block = tf.keras.Sequential([norm, layers.ReLU()])
    return lambda images: block(images)


# Keras does not track the layers that a Lambda takes from its surroundings, so
# that a copy would share the batch norm with the original.
@pytest.mark.parametrize(
    "make_function",
    [
        _attribute,
        _argument,
        _closure,
        _global,
        _default,
        _partial,
        _block,
        lambda norm: _Helper(norm).apply,
        lambda norm: _global(_CallableHelper(norm)),
        lambda norm: functools.partial(_Helper.apply, _Helper(norm)),
    ],
)
def test_batch_norm_in_a_lambda_is_named(make_function):
    norm = layers.BatchNormalization(name="norm")
    norm.build((None, *SHAPE))  # A Lambda must not create variables.
    layer = make_function(norm)
    if not isinstance(layer, layers.Lambda):
        layer = layers.Lambda(layer, name="function")
    with _refusal("'norm' (held by 'function')"):
        ca.split_batch_norm(_network(layer))


def test_a_lambda_may_use_an_object_with_batch_norms_that_it_does_not_call():
    helper = _Helper(layers.BatchNormalization())
    helper.scale = 2.0
    layer = layers.Lambda(lambda images: tf.nn.relu(images) * helper.scale)
    ca.split_batch_norm(_network(layer))
