"""A network that no gradient reaches the images of is refused by name."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks

LAYERS = tf.keras.layers


def _network(first, nested=False):
    images = tf.keras.Input((6, 6, 1))
    features = first(images)
    features = LAYERS.BatchNormalization()(LAYERS.Conv2D(4, 3)(features))
    features = LAYERS.GlobalAveragePooling2D()(features)
    network = tf.keras.Model(images, LAYERS.Dense(3)(features))
    if nested:
        images = tf.keras.Input((6, 6, 1))
        network = tf.keras.Model(images, network(images))
    return network


class Rounded(LAYERS.Layer):
    def call(self, inputs):
        return tf.round(inputs * 255.0) / 255.0


# A LookupError about TensorFlow's registry of gradients, or a ValueError that
# did not say where; in a shared pass a TypeError about None.
@pytest.mark.filterwarnings("ignore:.*augments images inside:UserWarning")
@pytest.mark.parametrize("attack_pass", ["own", "shared"])
@pytest.mark.parametrize(
    "first, name, nested",
    [
        (lambda: LAYERS.RandomContrast(0.2, name="it"), "'it' .Random", False),
        (lambda: Rounded(name="it"), "'it' .Rounded", True),
        (lambda: tf.round, "TFOpLambda", False),
    ],
    ids=["registry", "nested", "operation"],
)
def test_the_layer_is_named(first, name, nested, attack_pass):
    (images, labels), *_ = networks.batches(1)
    network = _network(first(), nested)
    model = ca.ConAdvModel(network, ca.PGD(0.1), attack_pass=attack_pass)
    model.compile("sgd", networks.LOSS)
    with pytest.raises(ValueError, match=f"{name}.*data pipeline") as error:
        model.train_on_batch(images, labels)
    assert "Conv2D" not in str(error.value)


# What fails for another reason says so.
def test_other_errors_of_an_attack_stay():
    class Broken(ca.PGD):
        def __call__(self, *args, **kwargs):
            raise KeyError("mine")

    (images, labels), *_ = networks.batches(1)
    model = ca.ConAdvModel(networks.linear((6, 6, 1)), Broken(0.1))
    model.compile("sgd", networks.LOSS)
    with pytest.raises(KeyError, match="mine"):
        model.train_step((tf.constant(images), tf.constant(labels)))
    assert np.isfinite(images).all()
