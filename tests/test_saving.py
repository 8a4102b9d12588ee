"""What Keras saves of a model, and the loaded model."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow


@pytest.mark.parametrize("name", ["w.weights.h5", slow("checkpoint")])
def test_save_and_load_weights(tmp_path, name):
    network, data = networks.small(), networks.batches(4)
    first, second = models.build(network=network), models.build()
    first.fit(networks.dataset(data), verbose=0)
    first.save_weights(tmp_path / name)
    second.load_weights(tmp_path / name)
    networks.assert_same_weights(first, second)
    images, _ = models.arrays()
    np.testing.assert_array_equal(
        first.predict(images, verbose=0), second.predict(images, verbose=0)
    )


@pytest.mark.parametrize("method", ["conadv", slow("staler")])
def test_load_weights_drops_what_old_weights_attacked(tmp_path, method):
    data = networks.batches(5)
    path = tmp_path / "w.weights.h5"
    restored, fresh = (
        models.build(
            method,
            networks.linear((6, 6, 1)),
            ca.FGSM(0.1),
            tf.keras.optimizers.SGD(0.1),
        )
        for _ in range(2)
    )
    # Keras's HDF5 files hold metrics too, which exist once trained.
    restored.train_on_batch(*data[0])
    restored.save_weights(path)
    for batch in data:
        restored.train_on_batch(*batch)
    restored.load_weights(path)
    fresh.network.set_weights(restored.network.get_weights())
    for model in (restored, fresh):
        model.optimizer.iterations.assign(0)
    for batch in data:
        restored.train_on_batch(*batch)
        fresh.train_on_batch(*batch)
    networks.assert_same_weights(restored, fresh, 1e-5, 1e-6)


# A SavedModel of Keras 2.15 resets its optimizer.
@pytest.mark.parametrize(
    "step, views, name, iterations",
    [
        (ca.Concurrent(staleness=2, fraction=0.25), 1, "model.keras", 8),
        slow(ca.Concurrent(microbatches=2), 1, "model.keras", 4),
        slow(ca.Concurrent(), 2, "model.keras", 8),
        slow(ca.Sequential(weight=2.0), 1, "model.keras", 8),
        slow(ca.SharedPass(), 1, "model.keras", 8),
        slow(ca.Plain(), 1, "model.keras", 8),
        slow(ca.Concurrent(), 1, "saved_model", 4),
    ],
)
def test_save_and_load_the_whole_model(tmp_path, step, views, name, iterations):
    model = models.build(step, views=views)
    data = networks.dataset(networks.batches(4))
    if views == 2:
        data = data.map(lambda images, labels: ((images, images), labels))
    model.fit(data, verbose=0)
    images, _ = models.arrays()
    expected = model.predict(images, verbose=0)
    model.save(tmp_path / name)
    loaded = tf.keras.models.load_model(tmp_path / name)
    assert repr(loaded.attack) == repr(model.attack)
    assert loaded.step == step and loaded.views == views
    np.testing.assert_allclose(
        loaded.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-6
    )
    loaded.fit(data, verbose=0)
    assert loaded.optimizer.iterations == iterations


def test_default_model_checkpoint(tmp_path):
    data = networks.dataset(networks.batches(2))
    model = models.build()
    model.fit(
        data,
        validation_data=data,
        callbacks=[
            tf.keras.callbacks.ModelCheckpoint(
                str(tmp_path / "best.keras"), save_best_only=True
            )
        ],
        verbose=0,
    )
    loaded = tf.keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_allclose(
        loaded.evaluate(data, verbose=0), model.evaluate(data, verbose=0)
    )


def test_exported_network_is_plain_and_predicts_the_same():
    model = models.build()
    model.fit(networks.dataset(networks.batches(3)), verbose=0)
    plain = model.export_network()
    assert "conadv" not in plain.to_json()
    images, _ = models.arrays()
    np.testing.assert_array_equal(
        plain.predict(images, verbose=0), model.predict(images, verbose=0)
    )


def test_the_given_network_stays_as_it_is():
    network = networks.small()
    before = networks.weights(network)
    model = models.build(network=network)
    model.fit(networks.dataset(networks.batches(2)), verbose=0)
    np.testing.assert_array_equal(before, networks.weights(network))
