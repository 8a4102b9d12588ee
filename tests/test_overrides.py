"""What users assign to networks and layers is trained, or refused by name."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks

LAYERS = tf.keras.layers


class OwnLoss(tf.keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return 0.0 * super().compute_loss(x, y, y_pred, sample_weight)


class OwnStep(tf.keras.Model):
    def train_step(self, data):
        return {}

    @property
    def metrics(self):
        return []


class OwnCall(tf.keras.Model):
    def call(self, inputs, training=None, mask=None):
        return 2.0 * super().call(inputs, training=training, mask=mask)


class OwnConstructor(tf.keras.Model):
    """Replaces nothing that training calls."""

    def __init__(self):
        network = networks.linear()
        super().__init__(network.inputs, network.outputs, name="mine")

    def describe(self):
        return self.name


def of_class(cls):
    network = networks.linear()
    return cls(network.inputs, network.outputs, name="mine")


def with_assigned_step():
    network = of_class(tf.keras.Model)
    network.test_step = lambda data: {}
    return network


def with_nested_call():
    inputs = tf.keras.Input((2, 2, 1))
    return tf.keras.Model(inputs, of_class(OwnCall)(inputs))


def with_own_weight():
    network = of_class(tf.keras.Model)
    network.temperature = tf.Variable(1.0, name="temperature")
    return network


def with_weight_in_layer():
    network = networks.linear()
    network.layers[-1].temperature = tf.Variable(1.0, name="temperature")
    return network


def with_assigned_call():
    network = networks.linear()
    layer = network.layers[-1]
    layer.call = lambda inputs: 2.0 * type(layer).call(layer, inputs)
    return network


# All of these were ignored, or failed with Keras's text.
@pytest.mark.parametrize(
    "network, message",
    [
        (lambda: of_class(OwnLoss), "'mine' .OwnLoss.*compute_loss"),
        (lambda: of_class(OwnStep), "'mine' .OwnStep.*metrics, train_step"),
        (lambda: of_class(OwnCall), "'mine' .OwnCall.*call"),
        (with_assigned_step, "'mine' .Functional.*test_step"),
        (with_nested_call, "'mine' .OwnCall.* in 'model"),
        (with_own_weight, "'mine'.*temperature:0"),
        (with_weight_in_layer, "'dense.*temperature:0"),
        (with_assigned_call, "`call` was assigned: 'dense"),
    ],
)
@pytest.mark.parametrize("attack", [None, ca.FGSM(0.1)])
def test_what_a_copy_lacks_is_refused(network, message, attack):
    with pytest.raises(ValueError, match=message):
        ca.ConAdvModel(network(), attack)


# The remedy of the error, and a class that may stay.
def test_other_classes_are_accepted():
    network = of_class(OwnStep)
    ca.ConAdvModel(tf.keras.Model(network.inputs, network.outputs), None)
    network = OwnConstructor()
    network.compile("sgd", networks.LOSS, metrics=["accuracy"])
    network.fit(*networks.batch(), verbose=0)
    copy = ca.ConAdvModel(network, None).network
    networks.assert_same_weights(copy, network)


class OwnModel(ca.ConAdvModel):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return 0.0 * super().compute_loss(x, y, y_pred, sample_weight)


# The other remedy.
def test_compute_loss_of_a_subclass():
    model = OwnModel(networks.linear(), None)
    model.compile("sgd", networks.LOSS)
    before = networks.weights(model.network)
    model.fit(*networks.batch(), verbose=0)
    np.testing.assert_array_equal(networks.weights(model.network), before)


def mish(inputs):
    return inputs * tf.tanh(tf.nn.softplus(inputs))


# Keras cannot deserialize functions that are not registered.
@pytest.mark.parametrize("attack", [None, ca.FGSM(0.1)])
def test_functions_as_arguments_are_kept(attack):
    inputs = tf.keras.Input((4,))
    layer = LAYERS.Dense(3, activation=mish)
    outputs = LAYERS.Dense(
        3, activation=lambda x: 3 * x, kernel_regularizer=tf.nn.l2_loss
    )(layer(inputs))
    network = tf.keras.Model(inputs, outputs)
    layer.activation = lambda x: x + 1.0
    model = ca.ConAdvModel(network, attack)
    images = np.ones([2, 4], np.float32)
    np.testing.assert_array_equal(model(images), network(images))
    np.testing.assert_array_equal(model.losses, network.losses)
    np.testing.assert_array_equal(
        model.export_network()(images), network(images)
    )


class Unregistered(LAYERS.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


# Keras's text named neither the layer nor what to do.
@pytest.mark.filterwarnings("ignore:No training configuration")
def test_a_saved_model_without_the_class_of_a_layer(tmp_path):
    inputs = tf.keras.Input((4,))
    outputs = LAYERS.Dense(3)(Unregistered(2.0, name="mine")(inputs))
    path = str(tmp_path / "network")
    tf.keras.Model(inputs, outputs).save(path, save_format="tf")
    loaded = tf.keras.models.load_model(path)
    with pytest.raises(ValueError, match="'mine' .Unreg.*custom_objects"):
        ca.ConAdvModel(loaded, None)
    loaded = tf.keras.models.load_model(
        path, custom_objects={"Unregistered": Unregistered}
    )
    model = ca.ConAdvModel(loaded, None)
    images = np.ones([2, 4], np.float32)
    np.testing.assert_allclose(model(images), loaded(images))


# Keras assigns the calls of layers when it saves them; export raised an error.
def test_a_network_that_was_saved_is_copied(tmp_path):
    network = networks.small()
    network.save(str(tmp_path / "network"), save_format="tf")
    model = ca.ConAdvModel(network, ca.FGSM(0.1))
    model.network.save(str(tmp_path / "trained"), save_format="tf")
    exported = model.export_network()
    images, _ = networks.batch(shape=(6, 6, 1))
    np.testing.assert_allclose(exported(images), model(images), rtol=1e-6)


class OwnPredict(tf.keras.Model):
    def predict(self, *args, **kwargs):
        return super().predict(*args, **kwargs).argmax(-1)


def test_a_method_that_only_users_call_is_a_warning():
    with pytest.warns(UserWarning, match="replaces predict. ConAdvModel"):
        ca.ConAdvModel(of_class(OwnPredict), None)
