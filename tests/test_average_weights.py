"""Keras's moving average of the weights, with the step of ConAdv."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks
from tests.marks import slow


class Watch(tf.keras.callbacks.Callback):
    """Weights after each step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append([w.numpy() for w in self.model.trainable_weights])


@pytest.mark.parametrize("replicas", [slow(1), 2])
def test_average_is_what_remains_after_fit(replicas):
    strategy = ca.distribution.strategy("mirrored", num_replicas=replicas)
    with strategy.scope():
        model = ca.ConAdvModel(networks.small(), ca.PGD(0.1))
        model.compile(
            ca.LARS(0.5, use_ema=True, ema_momentum=0.75), networks.LOSS
        )
    average = [w.numpy() for w in model.trainable_weights]
    watch = Watch()
    model.fit(
        networks.dataset(networks.batches(5)), callbacks=[watch], verbose=0
    )
    for weights in watch.seen:
        average = [0.75 * a + 0.25 * w for a, w in zip(average, weights)]
    for found, wanted in zip(model.trainable_weights, average):
        np.testing.assert_allclose(found.numpy(), wanted, 1e-5, 1e-6)
    assert not np.allclose(average[0], watch.seen[-1][0])
