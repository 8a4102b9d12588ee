"""The note about moving statistics that lag behind the weights."""

from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from experiments import statistics_lag


def network(momentum):
    """A batch norm, then the sign of the first value as two logits."""
    inputs = tf.keras.Input((2,))
    norm = tf.keras.layers.BatchNormalization(momentum=momentum)
    logits = tf.keras.layers.Dense(2, use_bias=False)
    found = tf.keras.Model(inputs, logits(norm(inputs)))
    logits.set_weights([np.array([[-1.0, 1.0], [0.0, 0.0]])])
    return found


def dataset(test_mean):
    """Values around 5, of the class that tells whether they are larger."""
    rng = np.random.RandomState(0)
    batches = []
    for mean in (5.0, test_mean):
        values = rng.normal(mean, 1.0, (96, 2)).astype("float32")
        labels = (values[:, 0] > mean).astype("int64")
        pairs = tf.data.Dataset.from_tensor_slices((values, labels))
        batches.append(pairs.batch(32))
    return mock.Mock(train=batches[0], test=batches[1])


SUMMARY = {
    "smoke_test": False,
    "split": "test",
    "top1": 0.5,
    "train_top1": 1.0,
    "steps": 30,
}


# A new batch norm has mean 0, with which all values count as large.
@pytest.mark.parametrize(
    "momentum, test_mean, changes, expected",
    [
        (0.9, 5.0, {}, True),
        (0.99, 5.0, {"steps": 4000}, True),
        (0.9, 5.0, {"steps": 600}, False),  # The run is long enough.
        (0.9, 5.0, {"train_top1": 0.59}, False),  # The gap is small.
        (0.9, 5.0, {"train_top1": None}, False),
        (0.9, 5.0, {"smoke_test": True}, False),
        # The test set differs: no statistics of training images help.
        (0.9, 9.0, {}, False),
    ],
)
def test_the_note_is_about_statistics(momentum, test_mean, changes, expected):
    summary = {**SUMMARY, **changes}
    text = statistics_lag.note(network(momentum), dataset(test_mean), summary)
    assert bool(text) == expected
    if expected:
        assert f"after {summary['steps']} updates" in text
        assert "instead of 50.00%" in text and "\n" not in text
        assert "--set network.batch_norm_momentum=0.5" in text


def test_without_batch_norm_there_is_no_note():
    plain = tf.keras.Sequential(
        [tf.keras.Input((2,)), tf.keras.layers.Dense(2)]
    )
    assert statistics_lag.note(plain, None, SUMMARY) == ""
