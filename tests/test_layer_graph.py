"""Layers that make an attack fail or miss are named."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks
from tests.marks import slow

LAYERS = tf.keras.layers
SHAPE = (6, 6, 1)


def _network(*first, nested=False):
    x = images = tf.keras.Input(SHAPE)
    for layer in first:
        x = layer(x)
    x = LAYERS.BatchNormalization()(LAYERS.Conv2D(4, 3)(x))
    x = LAYERS.Dense(3)(LAYERS.GlobalAveragePooling2D()(x))
    network = tf.keras.Model(images, x, name="mine")
    if nested:
        images = tf.keras.Input(SHAPE)
        network = tf.keras.Model(images, network(images))
    return network


# --- Layers without a gradient ------------------------------------------------


class Rounded(LAYERS.Layer):
    def call(self, inputs):
        return tf.round(inputs * 255.0) / 255.0


# TensorFlow raises a LookupError about its registry of gradients, a ValueError
# that does not name the layer, or a TypeError about None in a shared pass.
@pytest.mark.filterwarnings("ignore:.*augments images inside:UserWarning")
@pytest.mark.parametrize("step", [ca.Concurrent(), slow(ca.SharedPass())])
@pytest.mark.parametrize(
    "make_layer, name, nested",
    [
        (lambda: LAYERS.RandomContrast(0.2, name="it"), "'it' .Random", False),
        (lambda: Rounded(name="it"), "'it' .Rounded", True),
        (lambda: tf.round, "TFOpLambda", False),
    ],
    ids=["registry", "nested", "operation"],
)
def test_layer_without_gradient_is_named(make_layer, name, nested, step):
    (images, labels), *_ = networks.batches(1)
    network = _network(make_layer(), nested=nested)
    model = ca.ConAdvModel(network, ca.PGD(0.1), step=step)
    model.compile("sgd", networks.LOSS)
    with pytest.raises(ValueError, match=f"{name}.*data pipeline") as error:
        model.train_on_batch(images, labels)
    assert "Conv2D" not in str(error.value)


def test_other_errors_of_an_attack_are_not_replaced():
    class Broken(ca.PGD):
        def __call__(self, *args, **kwargs):
            raise KeyError("mine")

    (images, labels), *_ = networks.batches(1)
    model = ca.ConAdvModel(networks.linear(SHAPE), Broken(0.1))
    model.compile("sgd", networks.LOSS)
    with pytest.raises(KeyError, match="mine"):
        model.train_step((tf.constant(images), tf.constant(labels)))
    assert np.isfinite(images).all()


# --- Layers that augment images -----------------------------------------------


class _MyRotation(LAYERS.RandomRotation):
    """A user's subclass."""


def _nested_zoom():
    return tf.keras.Sequential(
        [tf.keras.Input(SHAPE), LAYERS.RandomZoom(0.1, name="zoom")]
    )


def _keras_cv_cutout():
    import keras_cv

    return keras_cv.layers.RandomCutout(0.3, 0.3, name="cutout")


@pytest.mark.parametrize(
    "make_layer, name",
    [
        (lambda: LAYERS.RandomFlip(name="flip"), "flip"),
        (lambda: _MyRotation(0.1, name="turn"), "turn"),
        (_nested_zoom, "zoom"),
        slow(_keras_cv_cutout, "cutout"),
    ],
)
def test_layer_that_augments_images_is_named(make_layer, name):
    network = _network(make_layer())
    with pytest.warns(UserWarning, match=f"'mine' augments.*{name}.*pipeline"):
        ca.ConAdvModel(network, ca.PGD(0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        ca.ConAdvModel(network, None)  # Plain training has one pass.


def test_noise_and_dropout_give_no_warning():
    network = _network(LAYERS.GaussianNoise(0.1), LAYERS.Dropout(0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        ca.ConAdvModel(network, ca.PGD(0.1))


# The reason for the warning: an attack raises the loss under its own draw more
# than under another draw.
def test_attack_is_stronger_with_augmentation_outside_of_the_network():
    images = tf.random.stateless_uniform([512, *SHAPE], [0, 1])
    labels = tf.range(512) % 3
    flip = LAYERS.RandomFlip("horizontal", seed=1)

    def linear(*first):
        layers = [*first, LAYERS.Flatten(), LAYERS.Dense(3)]
        return tf.keras.Sequential([tf.keras.Input(SHAPE), *layers])

    inside, outside = linear(flip), linear()
    outside.set_weights(inside.get_weights())
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def gain(network, images):
        def forward(images):
            return network(images, training=True)

        perturbed = ca.FGSM(0.1)(forward, images, labels, seed=0)
        losses = [loss(labels, forward(x)) for x in (perturbed, images)]
        return float(losses[0] - losses[1])

    # One draw before the network, as in tf.data.
    outside_gain = gain(outside, flip(images, training=True))
    # Half of the images are flipped differently in the two passes.
    inside_gain = gain(inside, images)
    assert outside_gain > 0.3 and inside_gain < 0.75 * outside_gain
