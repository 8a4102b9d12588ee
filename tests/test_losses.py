"""Losses, label formats and sample weights train as in Keras."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow


def one_hot(labels):
    return np.eye(3, dtype="float32")[labels]


LOSSES = {
    "sparse column": (networks.LOSS, lambda labels: labels[:, None]),
    "one-hot": (
        tf.keras.losses.CategoricalCrossentropy(from_logits=True),
        one_hot,
    ),
    "function": (
        lambda y, z: tf.keras.losses.sparse_categorical_crossentropy(
            y, z, from_logits=True
        ),
        lambda labels: labels,
    ),
    "list": ([networks.LOSS], lambda labels: labels),
}


def _trained(network, loss, labels, **arguments):
    model = models.build(network=network, loss=loss)
    images, _ = models.arrays()
    model.fit(
        images, labels, batch_size=8, shuffle=False, verbose=0, **arguments
    )
    return networks.weights(model.network)


@pytest.fixture(scope="module")
def sparse():
    """A network, and its weights after training with class ids."""
    tf.keras.utils.set_random_seed(0)  # Runs before the tests set a seed.
    network = networks.linear((6, 6, 1))
    _, labels = models.arrays()
    return network, _trained(network, networks.LOSS, labels)


@pytest.mark.parametrize("name", LOSSES)
def test_label_formats_train_equal_weights(name, sparse):
    network, expected = sparse
    loss, encode = LOSSES[name]
    _, labels = models.arrays()
    weights = _trained(network, loss, encode(labels))
    np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-5)


def test_probabilities_train_like_logits(sparse):
    network, expected = sparse
    softmax = tf.keras.Model(
        network.input, tf.keras.layers.Softmax()(network.output)
    )
    _, labels = models.arrays()
    weights = _trained(softmax, "sparse_categorical_crossentropy", labels)
    np.testing.assert_allclose(weights, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "loss",
    [
        tf.keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=0.1
        ),
        slow(tf.keras.losses.BinaryCrossentropy(from_logits=True)),
        slow(tf.keras.losses.CategoricalHinge()),
        "mse",
    ],
    ids=lambda loss: getattr(loss, "name", loss),
)
@pytest.mark.parametrize("method", [slow("disadv"), "conadv"])
def test_other_keras_losses(loss, method):
    images, labels = models.arrays()
    model = models.build(method, networks.linear((6, 6, 1)), loss=loss)
    history = model.fit(images, one_hot(labels), batch_size=8, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_sample_weight_0_equals_leaving_the_example_out():
    images, labels = models.arrays(16)
    weights = np.tile([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], 2)
    network = networks.linear((6, 6, 1))
    # Summed, because Keras's mean divides by the number of all examples.
    loss = tf.keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="sum"
    )
    halves = weights.astype(bool)
    without = ca.ConAdvModel(network, ca.PGD(0.1, random_start=False))
    same = ca.ConAdvModel(network, ca.PGD(0.1, random_start=False))
    results = []
    for each, keep in ((without, halves), (same, slice(None))):
        each.compile(tf.keras.optimizers.SGD(0.01), loss)
        each.fit(
            images[keep],
            labels[keep],
            sample_weight=weights[keep].astype("float32"),
            batch_size=4 if keep is halves else 8,
            shuffle=False,
            verbose=0,
        )
        results.append(networks.weights(each.network))
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-6)


def test_class_weight_equals_sample_weight():
    _, labels = models.arrays()
    network = networks.linear((6, 6, 1))
    by_class = {0: 1.0, 1: 0.5, 2: 2.0}
    by_sample = np.array([by_class[label] for label in labels], "float32")
    results = [
        _trained(network, networks.LOSS, labels, **arguments)
        for arguments in (
            {"class_weight": by_class},
            {"sample_weight": by_sample},
        )
    ]
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)


def test_regularization_penalties_count_once():
    inputs = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.Flatten()(inputs)
    outputs = tf.keras.layers.Dense(3, kernel_regularizer="l2")(x)
    network = tf.keras.Model(inputs, outputs)
    images, labels = models.arrays(8)
    model = ca.ConAdvModel(network, ca.FGSM(0.0))
    model.compile(tf.keras.optimizers.SGD(0.1), networks.LOSS)
    plain = tf.keras.models.clone_model(network)
    plain.set_weights(network.get_weights())
    plain.compile(tf.keras.optimizers.SGD(0.1), networks.LOSS)
    for each in (model, plain):
        each.train_on_batch(images, labels)
    networks.assert_same_weights(model, plain, 1e-5)


# With one output, the decision boundary is 0 for logits, 0.5 for probabilities.
@pytest.mark.parametrize("activation", ["linear", "sigmoid"])
def test_binary_classifiers(activation):
    network = networks.small(num_classes=1)
    outputs = tf.keras.layers.Activation(activation)(network.output)
    model = ca.ConAdvModel(tf.keras.Model(network.input, outputs), ca.FGSM(0.0))
    # Keras accepts optimizer, loss and metrics as positional arguments.
    boundary = 0.5 if activation == "sigmoid" else 0.0
    model.compile(
        tf.keras.optimizers.SGD(0.0),
        tf.keras.losses.BinaryCrossentropy(from_logits=boundary == 0.0),
        [tf.keras.metrics.BinaryAccuracy("accuracy", threshold=boundary)],
    )
    images, labels = models.arrays(8)
    labels = (labels > 0) * 1
    logs = model.train_on_batch(images, labels[:, None], return_dict=True)
    # With epsilon 0 both branches see the same batch.
    assert 0 < logs["accuracy"] < 1
    np.testing.assert_allclose(logs["adversarial_accuracy"], logs["accuracy"])


# Keras weights `weighted_metrics` only.
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_accuracies_of_equal_images_are_equal_with_sample_weights(
    kind, is_weighted
):
    images, labels = models.arrays(16)
    loss, name = networks.LOSS, "accuracy"
    if kind == "labels":
        loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
        labels, name = one_hot(labels), "binary_accuracy"
    given = "weighted_metrics" if is_weighted else "metrics"
    model = models.build(
        "disadv",
        networks.linear((6, 6, 1)),
        ca.FGSM(0.0),
        tf.keras.optimizers.SGD(0.0),
        loss,
        **{"metrics": [], given: ["mse", name]},
    )
    weights = np.arange(16.0)
    history = model.fit(
        images, labels, sample_weight=weights, batch_size=8, verbose=0
    ).history
    assert history["adversarial_accuracy"] == pytest.approx(history[name])
    # The weights matter.
    model.fit(images, labels, verbose=0)
    assert model.history.history[name] != pytest.approx(history[name]) or (
        not is_weighted
    )
