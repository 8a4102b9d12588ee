"""A copied network shares nothing and computes the same, or is refused."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks

LAYERS = tf.keras.layers


class Tied(LAYERS.Layer):
    """Multiplies by another layer's kernel; its config holds that layer."""

    def __init__(self, other, **kwargs):
        super().__init__(**kwargs)
        self.other = other

    def call(self, inputs):
        return tf.matmul(inputs, self.other.kernel, transpose_b=True)

    def get_config(self):
        return {**super().get_config(), "other": self.other}


class TiedConfig(Tied):
    """Creates a new layer from its config, which is not tied any more."""

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
        config.pop("factor", None)  # Keras adds it automatically.
        return config


class Noisy(LAYERS.Layer):
    def call(self, inputs):
        return inputs + tf.random.normal(tf.shape(inputs))


def _decode_by_operation(dense):
    return lambda x: tf.matmul(x, dense.kernel, transpose_b=True)


def _decode_by_lambda(dense):
    return LAYERS.Lambda(_decode_by_operation(dense), name="tied")


# Without the check, the copy silently trains the original's weights, or weights
# that are not tied any more.
@pytest.mark.parametrize(
    "decode, names",
    [
        (lambda dense: Tied(dense, name="tied"), "'tied' .Tied"),
        (lambda dense: TiedConfig(dense, name="tied"), "'tied' .TiedConfig"),
        (_decode_by_lambda, "'tied' .Lambda"),
        (_decode_by_operation, "'tf.linalg.matmul' .TFOpLambda"),
    ],
    ids=["live", "untied", "lambda", "operation"],
)
@pytest.mark.filterwarnings("ignore:.*variables are used.*:UserWarning")
@pytest.mark.parametrize("attack", [None, ca.FGSM(0.1)])
def test_tied_weights_are_refused(decode, names, attack):
    inputs = tf.keras.Input((4,))
    dense = LAYERS.Dense(3)
    autoencoder = tf.keras.Model(inputs, decode(dense)(dense(inputs)))
    with pytest.raises(ValueError, match=f"other layers: {names}"):
        ca.ConAdvModel(autoencoder, attack)


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


def test_layers_called_twice_or_random_at_inference_are_copied():
    inputs = tf.keras.Input((4,))
    dense = LAYERS.Dense(4, name="twice")
    outputs = Noisy()(Forgetful()(dense(dense(inputs))))
    copy = ca.split_batch_norm(tf.keras.Model(inputs, outputs))
    assert len(copy.weights) == 2
    names = [layer.name for layer in copy.layers]
    assert names.count("twice") == 1
    ca.split_batch_norm(networks.convolutional())


# --- Changes of the original network after it was copied ----------------------


def _network():
    """A normalization, a frozen base and a head."""
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


# Without the warning, the base is silently not trained.
@pytest.mark.parametrize("attack", [None, ca.FGSM(0.1)])
def test_changed_trainable_flags_are_reported_by_compile(attack):
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
    model.compile("sgd", networks.LOSS)  # Warns once, and the copy has it now.
    assert len(model.trainable_variables) > 2


# Without the warning, the copy normalizes with mean 0 and variance 1.
def test_layers_adapted_later_are_reported_by_fit():
    network, data = _network(), _data()
    model = _compiled(network, ca.FGSM(0.1))
    network.get_layer("norm").adapt(data.map(lambda x, y: x))
    with pytest.warns(UserWarning, match=r"adapted state of \['norm'\]"):
        model.fit(data, verbose=0)


# The remedy that the warning gives. The stale weights get the state too.
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
        late.runner.shadow.network.get_layer("norm")(batch),
        second.get_layer("norm")(batch),
    )


def test_other_changes_give_no_warning():
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
