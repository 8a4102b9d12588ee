"""Variables that a user's own layers write: what the attack does with them."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow

layers = tf.keras.layers
LOCAL = {
    "trainable": False,
    "synchronization": tf.VariableSynchronization.ON_READ,
    "aggregation": tf.VariableAggregation.MEAN,
}


@tf.keras.utils.register_keras_serializable("tests")
class MovingNormalization(layers.Layer):
    """A normalization with moving statistics that is no BatchNormalization."""

    def build(self, shape):
        self.variance = self.add_weight("variance", shape[-1:], **LOCAL)
        first = tf.VariableAggregation.ONLY_FIRST_REPLICA
        counter = {**LOCAL, "aggregation": first, "initializer": "zeros"}
        self.calls = self.add_weight("calls", [], tf.int64, **counter)

    def call(self, inputs, training=None):
        if not training:
            return inputs / tf.sqrt(self.variance + 1.0)
        variance = tf.math.reduce_variance(inputs, [0, 1, 2])
        self.variance.assign(0.5 * (self.variance + variance))
        self.calls.assign_add(1)
        return inputs / tf.sqrt(variance + 1.0)


@tf.keras.utils.register_keras_serializable("tests")
class Table(layers.Layer):
    """A constant, which a replica could not write."""

    def build(self, shape):
        self.table = self.add_weight("table", shape[-1:], trainable=False)

    def call(self, inputs):
        return inputs + self.table


def network(*inserted):
    built = [tf.keras.Input((6, 6, 1)), layers.Conv2D(4, 3), *inserted]
    built += [layers.GlobalAveragePooling2D(), layers.Dense(networks.CLASSES)]
    return tf.keras.Sequential(built)


def trained(step, built, attack=None, replicas=1):
    """Returns the network after four steps with one batch and rate 0."""
    sgd = tf.keras.optimizers.SGD(0.0)
    model = models.build(step, built, attack, sgd, replicas=replicas)
    model.fit(networks.dataset(networks.batches(1) * 4), verbose=0)
    return model.network


# The attack's passes were counted as training: 8 calls and other statistics.
@pytest.mark.parametrize(
    "step, replicas",
    [
        slow(ca.Sequential(), 2),
        slow(ca.Concurrent(), 1),
        (ca.Concurrent(), 2),
        (ca.Sequential(microbatches=2), 1),
    ],
    ids=str,
)
def test_the_attack_writes_no_state(step, replicas):
    built = network(MovingNormalization(), Table())
    with pytest.warns(UserWarning, match="training: 'moving.*Normalization"):
        attacked = trained(step, built, ca.PGD(0.0, random_start=0.0), replicas)
    plain = trained(
        ca.Plain(microbatches=step.microbatches), built, replicas=replicas
    )
    for variable, expected in zip(attacked.variables, plain.variables):
        assert variable.name == expected.name
        np.testing.assert_allclose(variable, expected, rtol=1e-5)
    assert attacked.layers[1].calls.numpy() == 4


def test_a_skipped_step_leaves_the_state():
    model = models.build("plain", network(MovingNormalization()))
    images, labels = networks.batches(1)[0]
    model.fit(images, labels, verbose=0)
    before = model.network.layers[1].variance.numpy()
    model.train_on_batch(images * np.nan, labels)
    np.testing.assert_array_equal(model.network.layers[1].variance, before)


def test_layers_that_write_nothing_are_not_warned_of():
    spectral = layers.SpectralNormalization(layers.Conv2D(4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        ca.ConAdvModel(network(spectral, Table()), ca.FGSM(0.1))
        ca.ConAdvModel(network(MovingNormalization()), None)
