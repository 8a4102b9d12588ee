"""Saved models keep their attack: of this package, or registered."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks
from tests.marks import slow

registered = tf.keras.utils.register_keras_serializable(package="tests")


@registered
class Upward:
    """A custom attack."""

    value_range = (0.0, 1.0)

    def __init__(self, epsilon):
        self.epsilon = epsilon

    def __call__(self, network, images, labels, seed, loss=None, targets=None):
        return tf.minimum(images + self.epsilon, 1.0)

    def get_config(self):
        return {"epsilon": self.epsilon}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@registered
class Gentle(ca.PGD):
    """A subclass of `PGD`."""


@registered
def half(step):
    return tf.cast(step < 3, tf.float32) / 2


def scheduled(attack, schedule=None):
    schedule = schedule or tf.keras.optimizers.schedules.PolynomialDecay(
        0.25, 4, 1.0
    )
    return ca.ScheduledAttack(attack, schedule)


# ModelCheckpoint failed at the end of the first epoch.
@pytest.mark.parametrize(
    "attack",
    [
        slow(scheduled(ca.PGD(0.1, norm="l2", random_start=False))),
        scheduled(ca.FGSM(0.1), half),
        slow(Upward(0.2)),
        Gentle(0.1, random_start=False),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_loaded_attack_equals_the_saved_one(tmp_path, attack):
    network = networks.linear()
    model = ca.ConAdvModel(network, attack)
    model.compile("sgd", networks.LOSS)
    path = tmp_path / "model.keras"
    save = tf.keras.callbacks.ModelCheckpoint(str(path))
    images, labels = networks.batch()
    model.fit(images, labels, callbacks=[save], verbose=0)
    loaded = tf.keras.models.load_model(path)
    assert type(loaded.attack) is type(attack)
    assert loaded.attack.get_config() == attack.get_config()
    for step in range(5):
        seed = tf.constant([0, step], tf.int64)
        np.testing.assert_array_equal(
            loaded.attack(network, images, labels, seed),
            attack(network, images, labels, seed),
        )
    loaded.fit(images, labels, verbose=0)


@pytest.mark.parametrize(
    "attack, message",
    [
        (scheduled(ca.FGSM(0.1), lambda step: 1.0), "Expected a schedule"),
        (scheduled(type("Mine", (ca.PGD,), {})(0.1)), "registered.*Mine"),
    ],
)
def test_unregistered_schedules_and_attacks_cannot_be_saved(
    tmp_path, attack, message
):
    model = ca.ConAdvModel(networks.linear(), attack)
    with pytest.raises(ValueError, match=message):
        model.get_config()
