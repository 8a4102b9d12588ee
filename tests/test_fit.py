"""ConAdvModel is fitted like a Keras model, whatever it is given."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import all_slow_but


@pytest.mark.parametrize(
    "method", all_slow_but(["plain", "conadv"], models.METHODS)
)
def test_fit_evaluate_predict(method):
    model = models.build(method)
    data = networks.dataset(networks.batches(3))
    history = model.fit(data, validation_data=data, epochs=2, verbose=0).history
    expected = {"loss", "accuracy", "val_loss", "val_accuracy"}
    expected |= {"skipped_steps"}
    if method != "plain":
        expected |= {"clean_loss", "adversarial_loss", "adversarial_accuracy"}
        np.testing.assert_allclose(
            history["loss"],
            np.add(history["clean_loss"], history["adversarial_loss"]) / 2,
            rtol=1e-5,
        )
    assert set(history) == expected
    assert np.isfinite(list(history.values())).all()
    results = model.evaluate(data, verbose=0, return_dict=True)
    assert set(results) == {"loss", "accuracy"}
    images, labels = models.arrays()
    logits = model.predict(images, verbose=0)
    accuracy = np.mean(logits.argmax(axis=1) == labels)
    np.testing.assert_allclose(results["accuracy"], accuracy, rtol=1e-6)


@pytest.mark.parametrize("method", all_slow_but(["conadv"], models.METHODS))
def test_a_step_is_traced_once(method, monkeypatch):
    model = models.build(method)
    traces = []
    train_on = model.runner.train_on
    monkeypatch.setattr(
        model.runner,
        "train_on",
        lambda data: traces.append(0) or train_on(data),
    )
    data = networks.dataset(networks.batches(3))
    model.fit(data, validation_data=data, epochs=2, verbose=0)
    assert len(traces) == 1


def test_training_learns():
    images = np.random.default_rng(0).uniform(size=(64, 6, 6, 1))
    labels = (images[:, :3].mean((1, 2, 3)) > images[:, 3:].mean((1, 2, 3))) * 1
    images[labels == 1, :3] = np.clip(images[labels == 1, :3] + 0.5, 0, 1)
    model = models.build(network=networks.convolutional(num_classes=2))
    model.optimizer.learning_rate = 3.0
    history = model.fit(
        images.astype("float32"), labels, batch_size=16, epochs=40, verbose=0
    ).history
    assert history["accuracy"][-1] > 0.9
    assert history["adversarial_loss"][-1] > history["clean_loss"][-1]


# Equal as far as the arithmetic is; the last batch has 3 images instead of 8.
@pytest.mark.parametrize(
    "method",
    [
        "plain",
        pytest.param("disadv", marks=pytest.mark.slow),
        "conadv",
        pytest.param("staler", marks=pytest.mark.slow),
    ],
)
def test_numpy_arrays_equal_a_dataset_with_a_smaller_last_batch(method):
    images, labels = (values[:19] for values in models.arrays())
    network, weights = networks.linear((6, 6, 1)), []
    for fit in (
        lambda model: model.fit(
            images, labels, batch_size=8, shuffle=False, epochs=2, verbose=0
        ),
        lambda model: model.fit(
            tf.data.Dataset.from_tensor_slices((images, labels)).batch(8),
            epochs=2,
            verbose=0,
        ),
        lambda model: [
            model.train_on_batch(images[i : i + 8], labels[i : i + 8])
            for epoch in range(2)
            for i in (0, 8, 16)
        ],
    ):
        model = models.build(method, network)
        fit(model)
        weights.append(networks.weights(model.network))
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_allclose(weights[0], weights[2], rtol=1e-5, atol=1e-6)


# The iterator's length is unknown: Keras calls the step once more at its end,
# without data, and an early version trained on the pending batch there.
def test_generator_and_sequence_data():
    class Data(tf.keras.utils.Sequence):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return networks.batches(3)[index]

    network = networks.linear((6, 6, 1))
    pair = [models.build(network=network) for _ in range(2)]
    pair[0].fit(Data(), shuffle=False, verbose=0)
    pair[1].fit(iter(networks.batches(3)), verbose=0)
    networks.assert_same_weights(*pair)
    assert [int(model.optimizer.iterations) for model in pair] == [3, 3]


def test_metrics_lag_one_batch():
    data = networks.batches(3)
    network = networks.linear((6, 6, 1))
    model = ca.ConAdvModel(network, ca.FGSM(0.0))
    model.compile(tf.keras.optimizers.SGD(0.0), networks.LOSS)
    losses = [
        float(networks.LOSS(labels, network(images))) for images, labels in data
    ]
    logged = [
        model.train_on_batch(*batch, reset_metrics=True) for batch in data
    ]
    # Without metrics= Keras returns the loss alone, or first of several.
    logged = [np.ravel(value)[0] for value in logged]
    np.testing.assert_allclose(
        logged, [losses[0], losses[0], losses[1]], rtol=1e-5
    )


@pytest.mark.slow
def test_optimizers_of_keras():
    for optimizer in ("sgd", "adam", tf.keras.optimizers.AdamW(1e-3)):
        network = networks.linear((6, 6, 1))
        model = models.build(network=network, optimizer=optimizer)
        before = networks.weights(model.network)
        model.fit(networks.dataset(networks.batches(2)), verbose=0)
        assert not np.allclose(before, networks.weights(model.network))


def test_same_seed_same_weights_other_seed_others():
    network, weights = networks.linear((6, 6, 1)), []
    for seed in (1, 1, 2):
        model = models.build(network=network, seed=seed)
        model.fit(networks.dataset(networks.batches(3)), verbose=0)
        weights.append(networks.weights(model.network))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])
