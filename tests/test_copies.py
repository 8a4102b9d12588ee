"""The copy of a network shares nothing with it and computes the same."""

import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks

LAYERS = tf.keras.layers


class Tied(LAYERS.Layer):
    """Multiplies with another layer's kernel; its config holds that layer."""

    def __init__(self, other, **kwargs):
        super().__init__(**kwargs)
        self.other = other

    def call(self, inputs):
        return tf.matmul(inputs, self.other.kernel, transpose_b=True)

    def get_config(self):
        return {**super().get_config(), "other": self.other}


class TiedConfig(Tied):
    """Makes a layer of its own from its config, which is tied no more."""

    def get_config(self):
        config = tf.keras.layers.serialize(self.other)
        return {**super().get_config(), "other": config}

    @classmethod
    def from_config(cls, config):
        layer = tf.keras.layers.deserialize(config.pop("other"))
        layer.build([None, 4])
        return cls(layer, **config)


class Forgetful(LAYERS.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        config = super().get_config()
        config.pop("factor", None)  # Keras would find it by itself.
        return config


class Noisy(LAYERS.Layer):
    def call(self, inputs):
        return inputs + tf.random.normal(tf.shape(inputs))


def _autoencoder(decode):
    inputs = tf.keras.Input((4,))
    dense = LAYERS.Dense(3)
    return tf.keras.Model(inputs, decode(dense)(dense(inputs)))


def _lambda(dense):
    return LAYERS.Lambda(
        lambda x: tf.matmul(x, dense.kernel, transpose_b=True), name="tied"
    )


# The copy trained the given network's weights, or its own untied, silently.
@pytest.mark.parametrize(
    "decode, names",
    [
        (lambda dense: Tied(dense, name="tied"), "'tied' .Tied"),
        (lambda dense: TiedConfig(dense, name="tied"), "'tied' .TiedConfig"),
        (_lambda, "'tied' .Lambda"),
        (
            lambda dense: (
                lambda x: tf.matmul(x, dense.kernel, transpose_b=True)
            ),
            "'tf.linalg.matmul' .TFOpLambda",
        ),
    ],
    ids=["live", "untied", "lambda", "operation"],
)
@pytest.mark.filterwarnings("ignore:.*variables are used.*:UserWarning")
@pytest.mark.parametrize("attack", [None, ca.FGSM(0.1)])
def test_tied_weights_are_refused(decode, names, attack):
    with pytest.raises(ValueError, match=f"other layers: {names}"):
        ca.ConAdvModel(_autoencoder(decode), attack)


@pytest.mark.parametrize("nested", [False, True])
def test_an_incomplete_config_is_refused(nested):
    inputs = tf.keras.Input((None, None, 3))
    outputs = LAYERS.Conv2D(2, 5, activation="relu")(inputs)
    outputs = Forgetful(3.0, name="forgetful")(outputs)
    outputs = LAYERS.BatchNormalization()(outputs)
    outputs = LAYERS.GlobalAveragePooling2D()(outputs)
    network = tf.keras.Model(inputs, outputs)
    if nested:
        inputs = tf.keras.Input((None, None, 3))
        network = tf.keras.Model(inputs, network(LAYERS.ReLU()(inputs)))
    with pytest.raises(ValueError, match="'forgetful' .Forgetful.*get_config"):
        ca.split_batch_norm(network)


# Layers that are called twice, or draw at inference, are what they were.
def test_what_can_be_copied_is():
    inputs = tf.keras.Input((4,))
    dense = LAYERS.Dense(4, name="twice")
    outputs = Noisy()(Forgetful()(dense(dense(inputs))))
    copy = ca.split_batch_norm(tf.keras.Model(inputs, outputs))
    assert len(copy.weights) == 2
    names = [layer.name for layer in copy.layers]
    assert names.count("twice") == 1
    ca.split_batch_norm(networks.convolutional())
