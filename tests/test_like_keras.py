"""What plain Keras does with a model of one output, `ConAdvModel` does too."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow


# There were six names for five values: "adversarial_loss" was the accuracy.
@pytest.mark.parametrize(
    "method, views", [("plain", 1), ("conadv", 1), ("conadv", 2)]
)
def test_names_are_those_of_the_values(method, views):
    (images, labels), *_ = networks.batches(1)
    model = models.build(
        method, networks.linear((6, 6, 1)), optimizer="sgd", views=views
    )
    assert model.metrics_names == []  # As in Keras.
    received = (images, images) if views == 2 else images
    # A step that is the first: of the images that it receives.
    logs = model.train_on_batch(received, labels, return_dict=True)
    model.reset_pending()
    model.reset_metrics()
    model.optimizer.learning_rate.assign(0.0)
    logs = model.train_on_batch(received, labels, return_dict=True)
    model.reset_pending()
    values = model.train_on_batch(received, labels)
    assert len(values) == len(model.metrics_names) == len(logs)
    assert dict(zip(model.metrics_names, values)) == pytest.approx(logs)
    logs = model.test_on_batch(images, labels, return_dict=True)
    values = model.test_on_batch(images, labels)
    assert dict(zip(model.metrics_names, values)) == pytest.approx(logs)
    assert list(logs) == ["loss", "accuracy"]


def species_network():
    images = tf.keras.Input((6, 6, 1))
    features = tf.keras.layers.Flatten()(images)
    logits = tf.keras.layers.Dense(networks.CLASSES, name="species")(features)
    return tf.keras.Model(images, logits)


# It passed compile, and failed in fit.
@pytest.mark.parametrize("method", ["plain", "conadv"])
def test_losses_and_metrics_by_the_name_of_the_output(tmp_path, method):
    data = networks.dataset(networks.batches(2))
    named, plain = species_network(), species_network()
    plain.set_weights(named.get_weights())
    named, plain = (
        models.build(
            method,
            network,
            optimizer="sgd",
            loss=wrap(networks.LOSS),
            metrics=wrap(["accuracy"]),
            loss_weights=wrap(0.5),
        )
        for network, wrap in (
            (named, lambda value: {"species": value}),
            (plain, lambda value: value),
        )
    )
    histories = [
        model.fit(data, validation_data=data, verbose=0).history
        for model in (named, plain)
    ]
    assert histories[0] == histories[1]
    named.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.evaluate(data, verbose=0), plain.evaluate(data, verbose=0)
    )


# It takes the graph after the first batch, of the function that Keras made
# last: with micro-batches not the one that was called.
@pytest.mark.parametrize("microbatches", [1, slow(2)])
def test_tensorboard(tmp_path, microbatches):
    step = ca.Concurrent(microbatches=microbatches)
    model = models.build(step, networks.linear((6, 6, 1)))
    callback = tf.keras.callbacks.TensorBoard(tmp_path)
    data = networks.dataset(networks.batches(2))
    model.fit(data, epochs=2, callbacks=[callback], verbose=0)
    assert list((tmp_path / "train").iterdir())
    assert model.optimizer.iterations == 4 // microbatches
