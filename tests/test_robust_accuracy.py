"""Accuracy under attack, against closed forms."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import analysis
from tests import networks


# For two classes and a linear network, an attack succeeds exactly if the margin
# is below epsilon times the L1 norm of the difference of the weights.
def test_linear_classifier_in_closed_form():
    network = networks.linear(num_classes=2)
    kernel, bias = network.get_weights()
    data = networks.batches(5, size=20, shape=(2, 2, 1), num_classes=2)
    data.append(tuple(part[:7] for part in data[0]))
    images, labels = (np.concatenate(part) for part in zip(*data))
    difference = (kernel[:, 1] - kernel[:, 0]) * (2 * labels[:, None] - 1)
    margins = np.sum(images.reshape(-1, 4) * difference, axis=1)
    margins += (bias[1] - bias[0]) * (2 * labels - 1)
    reach = np.abs(kernel[:, 1] - kernel[:, 0]).sum()
    epsilons = [0.0, 0.05, 0.2]
    rows = analysis.robust_accuracy(
        network, data, epsilons, num_steps=5, value_range=(-1.0, 2.0)
    )
    names = [(row["attack"], row["epsilon"]) for row in rows]
    assert names == [("none", 0.0)] + [
        (attack, epsilon) for epsilon in epsilons for attack in ("fgsm", "pgd5")
    ]
    for row in rows:
        expected = np.mean(margins > row["epsilon"] * reach)
        assert row["accuracy"] == pytest.approx(expected), row
        assert row["num_examples"] == 107
    assert rows[0]["accuracy"] > rows[-1]["accuracy"]


def test_model_and_exported_network_in_inference_mode():
    network = networks.convolutional()
    model = ca.ConAdvModel(network, ca.PGD(epsilon=0.1))
    for variable in model.variables:
        if "auxiliary" in variable.name:
            variable.assign(tf.random.normal(variable.shape))
    data = networks.batches(2)
    before = networks.weights(model)
    rows = [
        analysis.robust_accuracy(tested, data, [0.3], num_steps=3)
        for tested in (network, model, model.export_network())
    ]
    assert rows[0] == rows[1] == rows[2]
    np.testing.assert_array_equal(networks.weights(model), before)


def test_outputs_that_are_probabilities():
    layer = tf.keras.layers.Dense(1, activation="sigmoid")
    network = tf.keras.Sequential([tf.keras.Input((1,)), layer])
    network.set_weights([np.array([[10.0]]), np.array([-5.0])])
    data = [(np.array([[0.1], [0.4], [0.9]]), np.array([0, 0, 1]))]
    binary = tf.keras.losses.BinaryCrossentropy(reduction="sum")

    def loss(labels, outputs):
        return binary(tf.reshape(labels, [-1, 1]), outputs)

    model = ca.ConAdvModel(network, ca.FGSM(0.1))
    for tested in (network, model):
        assert analysis.accuracy(tested, data, None) == 1.0
        for epsilon, expected in ((0.05, 1.0), (0.2, pytest.approx(2 / 3))):
            attack = ca.FGSM(epsilon)
            result = analysis.accuracy(tested, data, attack, loss=loss)
            assert result == expected
            rows = analysis.robust_accuracy(tested, data, [epsilon], loss=loss)
            assert [row["accuracy"] for row in rows] == [
                1.0,
                expected,
                expected,
            ]
        # The default loss takes logits, and would attack too weakly.
        for function, *arguments in (
            (analysis.accuracy, data, ca.FGSM(0.1)),
            (analysis.robust_accuracy, data, [0.1]),
            (analysis.network_objective,),
            (ca.PGD(0.1), *data[0], 0),
        ):
            with pytest.raises(
                ValueError, match="ends in sigmoid.*labels, out"
            ):
                function(tested, *arguments)


def test_accuracy_with_any_attack():
    data = networks.batches(2)

    def whiten(network, images, labels, seed, loss=None, targets=None):
        return tf.ones_like(images)

    network = networks.convolutional()
    favourite = int(np.argmax(network(np.ones((1, 6, 6, 1)))))
    labels = np.concatenate([labels for _, labels in data])
    assert analysis.accuracy(network, data, whiten) == pytest.approx(
        np.mean(labels == favourite)
    )
    clean = np.concatenate([network(x).numpy().argmax(1) for x, _ in data])
    assert analysis.accuracy(network, data, None) == pytest.approx(
        np.mean(labels == clean)
    )


def test_batches_have_different_seeds():
    seen = []

    def record(network, images, labels, seed, loss=None, targets=None):
        seen.append(seed)
        return images

    analysis.accuracy(networks.convolutional(), networks.batches(2), record, 5)
    assert seen == [[5, 0], [5, 1]]


def test_images_out_of_range():
    images, labels = networks.batches(1)[0]
    with pytest.raises(ValueError, match="outside value_range"):
        analysis.robust_accuracy(
            networks.convolutional(), [(images * 255, labels)], [0.1]
        )
