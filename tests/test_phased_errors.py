"""Phased placement: what does not go with it, and what it holds."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.steps.phased_batches import PhasedBatches
from tests import networks

ATTACK = ca.FGSM(0.1)


def _model(replicas, loss=networks.LOSS):
    strategy = ca.distribution.strategy("mirrored", num_replicas=replicas)
    with strategy.scope():
        network = networks.linear((6, 6, 1))
        model = ca.ConAdvModel(network, ATTACK, placement="phased")
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


def test_training_that_does_not_fit():
    data = networks.dataset(networks.batches(2))
    with pytest.raises(ValueError, match="multiple of 3.*received 4"):
        _model(4).fit(data, verbose=0)
    images, labels = networks.batches(1, size=9)[0]
    ragged = tf.data.Dataset.from_tensor_slices((images, labels)).batch(6)
    with pytest.raises(ValueError, match="drop_remainder=True"):
        _model(3).fit(ragged, verbose=0)
    loss = tf.keras.losses.MeanSquaredError(reduction="sum")
    with pytest.raises(ValueError, match="received reduction='sum'"):
        _model(3, loss=loss)


def test_a_saved_model_is_phased_again():
    model = ca.ConAdvModel(networks.linear(), ATTACK, placement="phased")
    again = ca.ConAdvModel.from_config(model.get_config())
    assert again.placement == "phased"


# One set of weights less than the pipelined step, five and three shares of
# images more.
def test_what_it_holds():
    network = networks.linear((6, 6, 1))
    model = ca.ConAdvModel(network, ATTACK, placement="phased")
    model.compile("sgd", networks.LOSS)
    batch = networks.batches(1)[0]
    memory = ca.step_memory(model, batch)
    specs = [tf.TensorSpec(array.shape, array.dtype) for array in batch]
    held = PhasedBatches(*specs, None).variables()
    assert memory.shadow == 0 and memory.temporary > 0
    assert memory.pending == sum(
        np.prod(v.shape) * v.dtype.size for v in held.values()
    )
