"""Last activations, batch sizes and strategies of a network are respected."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks

LAYERS = tf.keras.layers
CE = tf.keras.losses.SparseCategoricalCrossentropy


class OwnSoftmax(LAYERS.Layer):
    def call(self, inputs):
        return tf.nn.softmax(inputs)


def ending_in(last):
    images = tf.keras.Input((4,))
    return tf.keras.Model(images, last(LAYERS.Dense(3)(images)), name="mine")


# Only Dense, Activation and Softmax layers of Keras were known.
@pytest.mark.parametrize(
    "last, name",
    [
        (lambda x: LAYERS.Lambda(tf.nn.softmax)(x), "softmax"),
        (lambda x: LAYERS.Lambda(lambda y: tf.nn.softmax(y))(x), "softmax"),
        (tf.nn.softmax, "softmax"),
        (tf.sigmoid, "sigmoid"),
        (lambda x: tf.cast(tf.nn.softmax(x, axis=-1), tf.float32), "softmax"),
        (lambda x: LAYERS.Dense(3, activation=tf.nn.softmax)(x), "softmax"),
        (lambda x: OwnSoftmax()(x), "softmax"),
        (lambda x: LAYERS.Flatten()(LAYERS.Softmax()(x)), "softmax"),
    ],
)
def test_activations_without_a_name_are_seen(last, name):
    model = ca.ConAdvModel(ending_in(last), ca.FGSM(0.1))
    message = f"'mine' ends in {name} but.*from_logits=True"
    with pytest.raises(ValueError, match=message):
        model.compile("sgd", CE(from_logits=True))
    model.compile("sgd", CE())


@pytest.mark.parametrize(
    "last", [tf.nn.relu, lambda x: x / 2.0, LAYERS.Flatten(), LAYERS.ReLU()]
)
def test_other_ends_are_accepted(last):
    model = ca.ConAdvModel(ending_in(last), ca.FGSM(0.1))
    model.compile("sgd", CE(from_logits=True))
    model.compile("sgd", CE())


# --- Static batch sizes -------------------------------------------------------


def with_batch_size(target):
    images = tf.keras.Input((4, 4, 2), batch_size=8)
    outputs = LAYERS.Dense(3)(tf.reshape(images, target))
    if len(target) == 3:
        outputs = LAYERS.GlobalAveragePooling1D()(outputs)
    return tf.keras.Model(images, outputs, name="mine")


# The first failed deep in the graph.
@pytest.mark.parametrize(
    "target, problem",
    [((8, 16, 2), "it fails"), ((8, -1, 2), r"shape \(8, 3\)")],
)
def test_a_static_batch_size_is_refused(target, problem):
    network = with_batch_size(target)
    with pytest.raises(ValueError, match=rf"batch_size=8\).*{problem}"):
        ca.ConAdvModel(network, ca.FGSM(0.1))
    ca.ConAdvModel(network, None)


def test_a_static_batch_size_without_effect():
    model = ca.ConAdvModel(with_batch_size((-1, 32)), ca.FGSM(0.1))
    model.compile("sgd", networks.LOSS)
    model.fit(*networks.batch(shape=(4, 4, 2)), batch_size=8, verbose=0)


# --- Strategies ---------------------------------------------------------------


# The copy was created in the default strategy, and one replica trained.
def test_the_strategy_of_the_network_trains_the_copy():
    data = networks.dataset(networks.batches(2, shape=(2, 2, 1)))
    trained = []
    for make in (lambda network: network, lambda n: ca.ConAdvModel(n, None)):
        tf.keras.utils.set_random_seed(0)
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            network = networks.linear()
        model = make(network)
        model.compile("sgd", networks.LOSS)
        assert model.distribute_strategy.num_replicas_in_sync == 2
        model.fit(data, verbose=0)
        trained.append(networks.weights(model))
    np.testing.assert_array_equal(*trained)
    assert network.distribute_strategy is model.distribute_strategy


def test_another_strategy_is_refused():
    first = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with first.scope():
        network = networks.linear()
        ca.ConAdvModel(network, ca.FGSM(0.1))
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        with pytest.raises(ValueError, match="2 replica.*with 1.*both"):
            ca.ConAdvModel(network, ca.FGSM(0.1))
