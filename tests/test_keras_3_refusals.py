"""Networks of Keras 3 that cannot be converted are refused by name."""

import pytest
import tensorflow as tf

import conadv_tf as ca
from tests.marks import import_keras_3

keras = import_keras_3()
layers = keras.layers


def classifier(*inside):
    images = keras.Input((8, 8, 3))
    values = images
    for layer in inside:
        values = layer(values)
    return keras.Model(images, layers.Dense(5)(layers.Flatten()(values)))


class Unregistered(layers.Layer):
    def call(self, inputs):
        return 2 * inputs


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


class OwnStep(keras.Model):
    def train_step(self, data):
        return {}


@keras.saving.register_keras_serializable(package="conadv_tf_tests")
class Counter(Unregistered):
    def build(self, shape):
        self.count = self.add_weight(name="count", trainable=False)


@keras.saving.register_keras_serializable(package="conadv_tf_tests")
class Incomplete(layers.Layer):
    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return self.factor * inputs

    def get_config(self):
        return {"name": self.name}


@keras.saving.register_keras_serializable(package="conadv_tf_tests")
class Factor(layers.Layer):
    def call(self, inputs, factor=1.0):
        return factor * inputs


def called_twice():
    images, layer = keras.Input((8, 8, 3)), Factor(name="mine")
    return keras.Model(images, layer(layer(images, factor=2.0), factor=3.0))


class Other(tf.keras.layers.Layer):
    pass


def own_step():
    plain = classifier()
    return OwnStep(plain.inputs, plain.outputs)


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda: classifier(Unregistered(name="mine")),
            ["'mine'", "Unregistered", "Could not"],
        ),
        (lambda: classifier(Counter(name="mine")), ["'mine'", "mine/count"]),
        (lambda: classifier(Incomplete(3.0, name="mine")), ["'mine'", "else"]),
        (called_twice, ["'mine'", "its calls have different arguments"]),
        (
            lambda: classifier(layers.Lambda(lambda x: x, name="mine")),
            ["'mine'"],
        ),
        (Subclassed, ["Subclassed", "keras.Model(inputs, outputs)"]),
        (lambda: keras.Sequential([layers.Dense(3)]), ["keras.Input"]),
        (lambda: layers.Dense(3), ["Dense", "keras.Model(inputs, outputs)"]),
        (own_step, ["train_step", "keras.Model(network.inputs"]),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(make, words):
    with pytest.raises(ValueError) as caught:
        ca.ConAdvModel(make(), None)
    for word in words:
        assert word in str(caught.value)


def test_other_arguments_are_refused():
    plain = tf.keras.Sequential(
        [tf.keras.Input((4,)), tf.keras.layers.Dense(3)]
    )
    with pytest.raises(ValueError, match="keras.Model; received .*tf_keras"):
        ca.networks.from_keras_3(plain)
    with pytest.raises(ValueError, match="from_keras_3"):
        ca.networks.to_keras_3(classifier())
    other = tf.keras.Sequential([tf.keras.Input((4,)), Other(name="mine")])
    with pytest.raises(ValueError, match="'mine' .*in Keras 3 .* Other"):
        ca.networks.to_keras_3(other)
