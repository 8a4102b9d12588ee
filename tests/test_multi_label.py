"""Accuracies for label rows with any number of ones."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow

BINARY = tf.keras.losses.BinaryCrossentropy(from_logits=True)
IMAGES = np.float32([[0.9, 0.9], [0.9, 0.1], [0.1, 0.1], [0.1, 0.9]])
LABELS = (IMAGES > 0.5).astype(np.float32)


def perfect_network():
    """Logits that are positive for bright pixels."""
    images = tf.keras.Input((2,))
    network = tf.keras.Model(images, tf.keras.layers.Dense(2)(images))
    network.set_weights([np.diag([10.0, 20.0]), np.array([-5.0, -10.0])])
    return network


def _logs(metrics, epsilon, step="conadv"):
    model = models.build(
        step,
        perfect_network(),
        ca.FGSM(epsilon),
        tf.keras.optimizers.SGD(0.0),
        BINARY,
        metrics=metrics,
    )
    model.train_on_batch(IMAGES, LABELS)
    model.reset_metrics()
    return model.train_on_batch(IMAGES, LABELS, return_dict=True)


# The argmax of labels and of logits can differ if two labels are 1.
@pytest.mark.parametrize(
    "metric, clean",
    [
        pytest.param(
            tf.keras.metrics.BinaryAccuracy(threshold=0.0), 1.0, id="object"
        ),
        slow("binary_accuracy", 1.0, id="name"),
        ("accuracy", 0.75),
        slow(tf.keras.metrics.CategoricalAccuracy(), 0.75, id="classes"),
    ],
)
def test_adversarial_accuracy_without_perturbation_is_the_clean_accuracy(
    metric, clean
):
    logs = _logs([tf.keras.metrics.AUC(multi_label=True), metric], 0.0)
    assert logs["adversarial_accuracy"] == clean
    name = next(name for name in logs if name.endswith("accuracy"))
    assert name != "adversarial_accuracy" and logs[name] == clean


@pytest.mark.parametrize(
    "step", ["conadv", ca.SharedPass(fraction=1.0, replace_clean=False)]
)
def test_adversarial_accuracy_falls_under_an_attack(step):
    metric = tf.keras.metrics.BinaryAccuracy(threshold=0.0)
    logs = _logs([metric], 0.5, step)
    assert logs["adversarial_accuracy"] == 0.0
    assert logs["binary_accuracy"] == 1.0


def test_no_adversarial_accuracy_if_no_metric_defines_it():
    logs = _logs([tf.keras.metrics.AUC(multi_label=True)], 0.0)
    assert list(logs)[-1] == "auc"


def test_robust_accuracy_refuses_labels_with_several_ones():
    data = [(IMAGES, LABELS)]
    with pytest.raises(ValueError, match="rows that add up to 1.*from 0 to 2"):
        ca.analysis.accuracy(perfect_network(), data, attack=None)
    one_hot = [(networks.batch()[0], np.eye(3)[networks.batch()[1]])]
    ca.analysis.accuracy(networks.linear(), one_hot, attack=None)
