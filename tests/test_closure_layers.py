"""Batch norms that a Lambda takes from around it are found and named."""

import functools
import re

import pytest
import tensorflow as tf

import conadv_tf as ca

layers = tf.keras.layers
SHAPE = (6, 6, 2)


def _network(layer):
    inputs = tf.keras.Input(SHAPE)
    return tf.keras.Model(inputs, layer(inputs))


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


# Keras does not see what a Lambda takes from around it, and a copy would
# share the batch norm with the original.
@pytest.mark.parametrize(
    "make_function",
    [
        _attribute,
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
    norm.build((None, *SHAPE))  # A Lambda may not make variables.
    layer = make_function(norm)
    if not isinstance(layer, layers.Lambda):
        layer = layers.Lambda(layer, name="function")
    message = re.escape("be split: 'norm' (held by 'function'). ")
    with pytest.raises(ValueError, match=message):
        ca.split_batch_norm(_network(layer))


def test_batch_norm_in_the_arguments_of_a_lambda_is_named():
    norm = layers.BatchNormalization(name="norm")
    norm.build((None, *SHAPE))
    layer = layers.Lambda(
        lambda images, norm: norm(images),
        arguments={"norm": norm},
        name="function",
    )
    message = re.escape("be split: 'norm' (held by 'function'). ")
    with pytest.raises(ValueError, match=message):
        ca.split_batch_norm(_network(layer))


# What a Lambda has at hand but does not mention is not its business.
def test_a_lambda_may_use_an_object_that_has_batch_norms():
    helper = _Helper(layers.BatchNormalization())
    helper.scale = 2.0
    layer = layers.Lambda(lambda images: tf.nn.relu(images) * helper.scale)
    ca.split_batch_norm(_network(layer))
