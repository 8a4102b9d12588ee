"""Layers that hold weights in lists, dicts, modules or a SavedModel."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow


class ScaleAndShift(tf.keras.layers.Layer):
    """t * scale + shift, where the shift is not trained."""

    def build(self, shape):
        self.scale = self.add_weight("scale", shape[-1:], initializer="ones")
        self.shift = self.add_weight("shift", shape[-1:], trainable=False)

    def values(self):
        return self.scale, self.shift

    def call(self, inputs):
        scale, shift = self.values()
        return inputs * scale + shift


class InList(ScaleAndShift):
    def build(self, shape):
        shift = self.add_weight("shift", shape[-1:], trainable=False)
        scale = self.add_weight("scale", shape[-1:], initializer="ones")
        self.parts = [shift, scale]

    def values(self):
        return self.parts[::-1]


class InDict(ScaleAndShift):
    def build(self, shape):
        scale = self.add_weight("scale", shape[-1:], initializer="ones")
        self.parts = {
            "shift": self.add_weight("shift", shape[-1:], trainable=False),
            "inner": {"scale": scale},
        }

    def values(self):
        return self.parts["inner"]["scale"], self.parts["shift"]


class Module(tf.Module):
    def __init__(self, size):
        super().__init__()
        self.shift = tf.Variable(tf.zeros([size]), trainable=False)
        self.scale = tf.Variable(tf.ones([size]))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1])])
    def __call__(self, inputs):
        return inputs * self.scale + self.shift


class InModule(ScaleAndShift):
    def build(self, shape):
        self.module = Module(shape[-1])

    def values(self):
        return self.module.scale, self.module.shift


class FromSavedModel(tf.keras.layers.Layer):
    """Loads its weights and its function from a file, as `hub.KerasLayer`."""

    def __init__(self, path, **arguments):
        super().__init__(**arguments)
        self.path = path
        self.loaded = tf.saved_model.load(path)
        scale, shift = self.loaded.scale, self.loaded.shift
        self._trainable_weights.append(scale)
        self._non_trainable_weights.append(shift)

    def get_config(self):
        return {**super().get_config(), "path": self.path}

    def call(self, inputs):
        return tf.ensure_shape(self.loaded(inputs), inputs.shape)


def network_with(layer):
    inputs = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.Flatten()(tf.nn.relu(layer(inputs)))
    network = tf.keras.Model(inputs, tf.keras.layers.Dense(3)(x))
    kernel = np.random.default_rng(0).normal(size=(36, 3), scale=0.2)
    network.layers[-1].set_weights([kernel, np.zeros(3)])
    layer.set_weights([np.array([1.5]), np.array([-0.5])])
    return network


def trained(layer, staleness, is_frozen):
    """Trains, changes the untrained variable, and trains on."""
    layer = layer(name="held")
    network = network_with(layer)
    layer.trainable = not is_frozen
    optimizer = tf.keras.optimizers.SGD(0.5)
    attack, step = ca.FGSM(0.1), ca.Concurrent(staleness=staleness)
    model = models.build(step, network, attack, optimizer)
    data = networks.dataset(networks.batches(3))
    first = model.fit(data, verbose=0).history["adversarial_loss"]
    held = model.network.get_layer("held")
    scale, _ = held.get_weights()
    held.set_weights([scale, np.array([-0.3])])
    second = model.fit(data, verbose=0).history["adversarial_loss"]
    return [*first, *second, *networks.weights(model.network)]


@pytest.mark.parametrize(
    "held, staleness, is_frozen",
    [
        (InList, 1, False),
        slow(InList, 2, True),
        (InDict, 2, False),
        slow(InModule, 1, True),
        ("file", 1, True),
        slow("file", 2, False),
    ],
)
def test_weights_that_layers_hold_are_attacked_like_attributes(
    held, staleness, is_frozen, tmp_path
):
    if held == "file":
        tf.saved_model.save(Module(1), str(tmp_path))
        held = functools.partial(FromSavedModel, str(tmp_path))
    received = trained(held, staleness, is_frozen)
    expected = trained(ScaleAndShift, staleness, is_frozen)
    np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-7)


# TensorFlow loads its variables for the strategy in whose scope it is loaded.
def test_a_saved_model_trains_on_two_replicas(tmp_path):
    tf.saved_model.save(Module(1), str(tmp_path))
    with models.strategy(2).scope():
        network = network_with(FromSavedModel(str(tmp_path), name="held"))
        model = ca.ConAdvModel(network, ca.FGSM(0.1))
        model.compile(tf.keras.optimizers.SGD(0.5), networks.LOSS)
    data = networks.dataset(networks.batches(3))
    model.fit(data, epochs=2, verbose=0)
    expected = network_with(ScaleAndShift(name="held"))
    expected = models.build("conadv", expected, ca.FGSM(0.1), "sgd")
    expected.optimizer.learning_rate.assign(0.5)
    expected.fit(data, epochs=2, verbose=0)
    networks.assert_same_weights(model, expected, rtol=1e-4, atol=1e-5)


# Nothing says which of its variables is which.
def test_weights_that_no_attribute_holds_are_refused():
    class Untracked(ScaleAndShift):
        def build(self, shape):
            parts = [tf.Variable(tf.ones(shape[-1:])) for _ in range(2)]
            self._trainable_weights.extend(parts)
            self.values = lambda: parts

    with pytest.raises(ValueError, match="received other ones for .'held/V"):
        trained(Untracked, 2, False)
