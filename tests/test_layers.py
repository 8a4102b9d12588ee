"""Training changes and copies only the layers that it should."""

import numpy as np
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks


def test_shadow_costs_one_set_of_trainable_weights():
    for staleness in (1, 2, 4):
        step = ca.Concurrent(staleness=staleness)
        model = models.build(step, networks.convolutional())
        size = sum(np.prod(w.shape) for w in model.trainable_variables)
        kept = model.runner.shadow.variables().values()
        extra = sum(np.prod(v.shape) for v in kept)
        assert extra == staleness * size
        shadow = model.runner.shadow.network
        shared = {id(v) for v in model.network.non_trainable_variables}
        assert {id(v) for v in shadow.variables} <= shared | set(map(id, kept))


def test_frozen_layers_are_shared_and_do_not_change():
    network = networks.convolutional()
    network.layers[1].trainable = False
    kernel = network.layers[1].kernel.numpy()
    model = models.build(network=network)
    model.fit(networks.dataset(networks.batches(2)), verbose=0)
    np.testing.assert_array_equal(model.network.layers[1].kernel, kernel)
    assert model.runner.shadow.network.layers[1].kernel is (
        model.network.layers[1].kernel
    )


def test_attack_does_not_change_moving_statistics():
    # The first step trains both branches on clean images, here with a learning
    # rate of 0. Any other change of the variables would come from the attack.
    model = ca.ConAdvModel(networks.convolutional(), ca.FGSM(0.1))
    plain = ca.split_batch_norm(model.export_network())
    plain.set_weights(model.network.get_weights())
    model.compile(tf.keras.optimizers.SGD(0.0), networks.LOSS)
    (images, labels), *_ = networks.batches(1)
    model.train_on_batch(images, labels)
    with ca.batch_norm_branch("split"):
        plain(np.concatenate([images, images]), training=True)
    for one, other in zip(model.network.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_dropout_and_networks_without_batch_norm_train():
    inputs = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.Conv2D(4, 3)(inputs)
    x = tf.keras.layers.Dropout(0.5)(tf.keras.layers.Flatten()(x))
    network = tf.keras.Model(inputs, tf.keras.layers.Dense(3)(x))
    data = networks.dataset(networks.batches(2))
    for method in models.METHODS:
        history = models.build(method, network).fit(data, verbose=0)
        assert np.isfinite(history.history["loss"]).all()
