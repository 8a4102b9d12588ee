"""What happens to a network after it was given to a model that copied it."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks

LAYERS = tf.keras.layers


def _network():
    """A normalization, a frozen base, a head."""
    images = tf.keras.Input((6, 6, 1))
    features = LAYERS.Conv2D(4, 3)(images)
    features = LAYERS.BatchNormalization()(features)
    base = tf.keras.Model(images, features, name="base")
    base.trainable = False
    images = tf.keras.Input((6, 6, 1))
    features = base(LAYERS.Normalization(axis=None, name="norm")(images))
    features = LAYERS.GlobalAveragePooling2D()(features)
    return tf.keras.Model(images, LAYERS.Dense(3)(features), name="mine")


def _compiled(network, attack=None):
    model = ca.ConAdvModel(network, attack)
    model.compile("sgd", networks.LOSS)
    return model


def _data():
    return networks.dataset(networks.batches(2, value_range=(0.4, 0.6)))


# Nothing was trained of the base, without a word.
@pytest.mark.parametrize("attack", [None, ca.FGSM(0.1)])
def test_flags_that_change_are_noticed_at_compile(attack):
    network = _network()
    model = _compiled(network, attack)
    assert len(model.trainable_variables) == 2
    network.get_layer("base").trainable = True
    message = (
        r"'mine'.*trainable flag of \['conv2d', 'batch_norm.*model.network"
    )
    with pytest.warns(UserWarning, match=message):
        model.compile("sgd", networks.LOSS)
    model.network.trainable = True
    model.compile("sgd", networks.LOSS)  # Once; and it is done now.
    assert len(model.trainable_variables) > 2


# The copy went on normalizing with zero and one.
def test_what_is_adapted_later_is_noticed_in_fit():
    network, data = _network(), _data()
    model = _compiled(network, ca.FGSM(0.1))
    network.get_layer("norm").adapt(data.map(lambda x, y: x))
    with pytest.warns(UserWarning, match=r"what is adapted of \['norm'\]"):
        model.fit(data, verbose=0)


# The remedy: and stale weights see what was adapted since they were made.
def test_adapting_the_copy():
    data = _data()
    images = data.map(lambda x, y: x)
    first = _network()
    late = _compiled(first, ca.FGSM(0.1))
    late.network.get_layer("norm").adapt(images)
    second = _network()
    second.set_weights(first.get_weights())
    second.get_layer("norm").adapt(images)
    early = _compiled(second, ca.FGSM(0.1))
    for model in (late, early):
        model.fit(data, verbose=0)
    np.testing.assert_allclose(
        networks.weights(late.network),
        networks.weights(early.network),
        rtol=1e-5,
        atol=1e-6,
    )
    batch = next(iter(images))
    np.testing.assert_allclose(
        late.step.shadow.network.get_layer("norm")(batch),
        second.get_layer("norm")(batch),
    )


def test_other_uses_of_the_network_are_not_warned_of():
    network = _network()
    model = _compiled(network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network.set_weights([2 * weight for weight in network.get_weights()])
        network.get_layer("norm").adapt(np.ones([4, 6, 6, 1], np.float32))
        model.network.get_layer("norm").adapt(np.ones([4, 6, 6, 1], np.float32))
        model.compile("sgd", networks.LOSS)
        del network
        model.compile("sgd", networks.LOSS)
