"""Training a network of Keras 3 equals training its twin in tf_keras."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests.marks import import_keras_3

keras = import_keras_3()
IMAGES = np.random.default_rng(0).uniform(0, 255, [16, 8, 8, 2])
IMAGES = IMAGES.astype("float32")
LABELS = np.arange(16) % 5


def convolutional(names):
    """A network with a nested model and a shared layer, in `names.layers`."""
    layers = names.layers
    stem = names.Sequential(
        [
            names.Input((8, 8, 2)),
            layers.Conv2D(4, 3, use_bias=False, kernel_regularizer="l2"),
            layers.BatchNormalization(momentum=0.9, name="norm"),
            layers.ReLU(),
        ],
        name="stem",
    )
    shared = layers.Conv2D(4, 3, padding="same", activation="relu")
    images = names.Input((8, 8, 2))
    values = stem(layers.Rescaling(1 / 127.5, -1.0)(images))
    values = layers.MaxPooling2D(2)(values)
    values = layers.BatchNormalization()(shared(shared(values)))
    values = layers.GlobalAveragePooling2D()(values)
    return names.Model(images, layers.Dense(5)(values))


def regularized(names):
    """A network with a layer that Keras 3 runs, and tf_keras has too."""
    layers = names.layers
    images = names.Input((8, 8, 2))
    values = layers.Rescaling(1 / 127.5, -1.0)(images)
    values = layers.GlobalAveragePooling2D()(values)
    values = layers.Dense(
        4,
        "relu",
        kernel_regularizer="l1",
        kernel_constraint=names.constraints.MaxNorm(0.1),
        activity_regularizer="l2",
    )(values)
    return names.Model(images, layers.Dense(5)(values))


def copy_weights(one, other):
    """Copies weights by hand: the layers are in the same order."""
    assert len(one.layers) == len(other.layers)
    for old, new in zip(one.layers, other.layers):
        if isinstance(old, keras.Model):
            copy_weights(old, new)
        else:
            new.set_weights(old.get_weights())


def train(network, step):
    tf.keras.utils.set_random_seed(2)
    attack = ca.PGD(8, value_range=(0, 255))
    model = ca.ConAdvModel(network, attack, step=step, seed=1)
    model.compile(
        tf.keras.optimizers.SGD(0.1, momentum=0.9),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    before = model.get_weights()
    history = model.fit(IMAGES, LABELS, 8, 3, verbose=0, shuffle=False)
    for weight, old in zip(model.get_weights(), before):
        assert np.any(weight != old)
    return model, history.history


@pytest.mark.parametrize(
    "build, step, tolerance",
    [
        (convolutional, ca.Concurrent(), 0),
        (convolutional, ca.SharedPass(), 0),
        (regularized, ca.Concurrent(), 1e-6),  # The code of Keras 3.
    ],
)
def test_weights_and_histories_are_equal(build, step, tolerance):
    original, twin = build(keras), build(tf.keras)
    draws = np.random.default_rng(1)
    for weight in original.weights:
        values = draws.uniform(0.2, 1, weight.shape)
        weight.assign(values - 0.6 * (len(weight.shape) > 1))
    copy_weights(original, twin)
    (ours, logs), (theirs, expected) = (
        train(network, step) for network in (original, twin)
    )
    kinds = [type(layer).__name__ for layer in ours.network.layers]
    assert ("Keras3Layer" in kinds) == (build is regularized)
    assert list(logs) == list(expected)
    for name in logs:
        np.testing.assert_allclose(logs[name], expected[name], tolerance)
    assert len(ours.network.weights) == len(theirs.network.weights)
    for one, other in zip(ours.network.weights, theirs.network.weights):
        np.testing.assert_allclose(one, other, tolerance, tolerance)
