"""Layers that augment inside a network make the attack miss, and are named."""

import warnings

import pytest
import tensorflow as tf

import conadv_tf as ca

LAYERS = tf.keras.layers


def _network(*first):
    x = images = tf.keras.Input((6, 6, 1))
    for layer in first:
        x = layer(x)
    x = LAYERS.Flatten()(x)
    return tf.keras.Model(images, LAYERS.Dense(3)(x), name="mine")


class _MyRotation(LAYERS.RandomRotation):
    """One of a user's own."""


def _nested():
    return tf.keras.Sequential(
        [tf.keras.Input((6, 6, 1)), LAYERS.RandomZoom(0.1, name="zoom")]
    )


def _of_keras_cv():
    import keras_cv

    return keras_cv.layers.RandomCutout(0.3, 0.3, name="cutout")


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: LAYERS.RandomFlip(name="flip"), "flip"),
        (lambda: _MyRotation(0.1, name="turn"), "turn"),
        (_nested, "zoom"),
        (_of_keras_cv, "cutout"),
    ],
)
def test_they_are_named(make, name):
    network = _network(make())
    with pytest.warns(UserWarning, match=f"'mine' augments.*{name}.*pipeline"):
        ca.ConAdvModel(network, ca.PGD(0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        ca.ConAdvModel(network, None)  # One pass, one draw.


def test_noise_is_not_meant():
    network = _network(LAYERS.GaussianNoise(0.1), LAYERS.Dropout(0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        ca.ConAdvModel(network, ca.PGD(0.1))


# Why: the loss that an attack gains under its own draw and under another.
def test_what_the_remedy_is_worth():
    images = tf.random.stateless_uniform([512, 6, 6, 1], [0, 1])
    labels = tf.range(512) % 3
    flip = LAYERS.RandomFlip("horizontal", seed=1)
    inside, outside = _network(flip), _network()
    outside.set_weights(inside.get_weights())
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def gain(network, images):
        def forward(images):
            return network(images, training=True)

        perturbed = ca.FGSM(0.1)(forward, images, labels, seed=0)
        losses = [loss(labels, forward(x)) for x in (perturbed, images)]
        return float(losses[0] - losses[1])

    # As tf.data does: one draw, before.
    hit = gain(outside, flip(images, training=True))
    # Half of the images are turned the other way.
    assert hit > 0.3 and gain(inside, images) < 0.75 * hit
