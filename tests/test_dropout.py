"""Dropout in a step: on in both halves of the batch and in the attack."""

import numpy as np
import tensorflow as tf

import conadv_tf as ca
from tests import networks


class _Recorder(tf.keras.layers.Dropout):
    """Dropout that notes which examples of which call lost units."""

    calls = []

    def call(self, inputs, training=None):
        outputs = super().call(inputs, training=training)
        if tf.executing_eagerly():  # Not while a model is built.
            self.calls.append(np.any(outputs.numpy() == 0, axis=1).tolist())
        return outputs


def test_dropout_is_on_in_the_attack_and_both_halves_and_off_in_evaluation():
    inputs = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.Flatten()(inputs)
    x = tf.keras.layers.Dense(64, activation="softplus")(x)  # Never 0.
    outputs = tf.keras.layers.Dense(3)(_Recorder(0.5)(x))
    model = ca.ConAdvModel(tf.keras.Model(inputs, outputs), ca.PGD(0.1))
    model.compile("sgd", networks.LOSS, run_eagerly=True)
    (images, labels) = networks.batches(1, size=4)[0]
    _Recorder.calls.clear()
    model.train_on_batch(images, labels)
    attack, update = sorted(_Recorder.calls, key=len)
    assert attack == [True] * 4
    assert update == [True] * 8  # Clean and adversarial.
    _Recorder.calls.clear()
    model.evaluate(images, labels, verbose=0)
    model.predict(images, verbose=0)
    assert _Recorder.calls == [[False] * 4] * 2
