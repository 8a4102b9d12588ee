"""Several calls of `compile` with an optimizer of Keras 3, and saving."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks
from tests.marks import import_keras_3

keras = import_keras_3()

IMAGES = np.random.RandomState(0).uniform(size=[8, 6, 6, 1])
LABELS = np.arange(8) % networks.CLASSES


def created():
    tf.keras.utils.set_random_seed(0)
    return ca.ConAdvModel(networks.linear((6, 6, 1)), None)


def train(model):
    model.fit(IMAGES, LABELS, batch_size=4, shuffle=False, verbose=0)


def weights_of_two_stages(names, rate):
    model = created()
    schedule = names.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    optimizer = names.optimizers.Adam(rate or schedule)
    model.compile(optimizer, networks.LOSS)
    train(model)
    if rate:
        optimizer.learning_rate = rate / 10
    model.compile(optimizer, networks.LOSS, metrics=["accuracy"])
    train(model)
    assert int(model.optimizer.iterations) == 4
    return [weight.tolist() for weight in model.get_weights()]


# Its moments and its schedule would start again.
@pytest.mark.parametrize("rate", [None, 0.1])
def test_the_state_of_an_optimizer_continues(rate):
    first, second = (
        weights_of_two_stages(names, rate) for names in (keras, tf.keras)
    )
    assert first == second


@pytest.mark.parametrize("scaled", [False, True])
def test_changes_of_an_optimizer(scaled):
    model, optimizer = created(), keras.optimizers.SGD(0.5)
    compiled = optimizer
    if scaled:
        compiled = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(compiled, networks.LOSS)
    train(model)
    optimizer.learning_rate = 0.25
    with pytest.warns(UserWarning, match="model.optimizer.learning_rate = ..."):
        train(model)
    assert float(model.optimizer.learning_rate) == 0.5
    optimizer.momentum = 0.9
    with pytest.raises(ValueError, match="Keras 3 with another") as caught:
        model.compile(compiled, networks.LOSS)
    assert "Write a new optimizer, tf.keras.optimizers.SGD(" in str(
        caught.value
    )


@pytest.mark.parametrize("scaled", [False, True])
def test_an_optimizer_of_another_model(scaled):
    optimizer = keras.optimizers.SGD(0.5, momentum=0.9)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    for error in (contextlib.nullcontext(), pytest.raises(Exception)):
        model = created()
        with error:
            model.compile(optimizer, networks.LOSS)
            train(model)


def test_a_saved_model_loads(tmp_path):
    model = created()
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 9)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, name="top")],
    )
    train(model)
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        train(each)
    for ours, theirs in zip(loaded.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(ours, theirs)
