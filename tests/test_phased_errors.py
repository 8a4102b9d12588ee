"""Phased placement: what does not go with it, and what it holds."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks
from tests import phased_models

ATTACK = ca.FGSM(0.1)


def _model(replicas, loss=networks.LOSS, **arguments):
    strategy = ca.distribution.strategy("mirrored", num_replicas=replicas)
    with strategy.scope():
        network = networks.linear((6, 6, 1))
        arguments = {"attack": ATTACK, "placement": "phased", **arguments}
        model = ca.ConAdvModel(network, **arguments)
        model.compile("sgd", loss)
    return model


def _synchronized():
    inputs = tf.keras.Input((4,))
    layer = tf.keras.layers.BatchNormalization(synchronized=True, name="sync")
    return tf.keras.Model(inputs, tf.keras.layers.Dense(3)(layer(inputs)))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"placement": "remote"}, "received 'remote'"),
        ({"attack": None}, "Expected an attack.*received None"),
        ({"staleness": 0}, "staleness=1.*Received 0"),
        ({"staleness": 2}, "staleness=1.*Received 2"),
        ({"views": 2}, "views=1.*Received 2"),
        ({"microbatches": 2}, "microbatches=1.*Received 2"),
        ({"network": _synchronized}, r"\['sync'\] are synchronized"),
    ],
)
def test_arguments_that_do_not_fit(arguments, message):
    network = arguments.pop("network", networks.convolutional)()
    arguments = {"attack": ATTACK, "placement": "phased", **arguments}
    with pytest.raises(ValueError, match=message):
        ca.ConAdvModel(network, **arguments)


PAIRS = phased_models.PAIRS


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"attack": None, "adversarial_fraction": 1, "staleness": None},
            "Expected an attack.*received None",
        ),
        ({"staleness": 1}, "staleness=2.*received 1"),
        ({"adversarial_fraction": 0.25}, "fraction=0.5.*Received 0.25"),
        ({"start_replaces_clean": True}, "clean=False.*Received True"),
        ({"views": 2}, "views=1.*Received 2"),
        ({"microbatches": 2}, "microbatches=1.*Received 2"),
        ({"attack": ca.PGD(0.1, num_steps=2)}, "num_steps=1.*Received 2"),
        ({"network": _synchronized}, r"\['sync'\] are synchronized"),
    ],
)
def test_arguments_that_do_not_fit_pairs(change, message):
    network = change.pop("network", networks.convolutional)()
    arguments = {"placement": "phased", **PAIRS, **change}
    with pytest.raises(ValueError, match=message):
        ca.ConAdvModel(network, **arguments)


def test_training_that_does_not_fit():
    data = networks.dataset(networks.batches(2))
    with pytest.raises(ValueError, match="multiple of 3.*received 4"):
        _model(4).fit(data, verbose=0)
    with pytest.raises(ValueError, match="multiple of 2.*half.*received 3"):
        _model(3, **PAIRS).fit(data, verbose=0)
    images, labels = networks.batches(1, size=9)[0]
    ragged = tf.data.Dataset.from_tensor_slices((images, labels)).batch(6)
    with pytest.raises(ValueError, match="drop_remainder=True"):
        _model(3).fit(ragged, verbose=0)
    loss = tf.keras.losses.MeanSquaredError(reduction="sum")
    with pytest.raises(ValueError, match="received reduction='sum'"):
        _model(3, loss=loss)


def test_a_saved_model_is_phased_again():
    model = ca.ConAdvModel(networks.linear(), ATTACK, step=ca.RotatingRoles())
    again = ca.ConAdvModel.from_config(model.get_config())
    assert again.placement == "phased"


# One set of weights less than the pipelined step; in shares of images: two
# that wait, three that are worked on and three of adversarial ones; in pairs
# one, two and one, whose labels are kept too.
@pytest.mark.parametrize(
    "arguments, images, labels", [({}, 8, 5), (PAIRS, 4, 4)]
)
def test_what_it_holds(arguments, images, labels):
    network = networks.linear((6, 6, 1))
    arguments = {"attack": ATTACK, "placement": "phased", **arguments}
    model = ca.ConAdvModel(network, **arguments)
    model.compile("sgd", networks.LOSS)
    batch = networks.batches(1)[0]
    memory = ca.step_memory(model, batch)
    assert memory.shadow == 0 and memory.temporary > 0
    age = np.dtype(np.int64).itemsize
    assert memory.pending == (
        images * batch[0].nbytes + labels * batch[1].nbytes + age
    )
