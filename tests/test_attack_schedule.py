"""Attacks whose radius follows a schedule."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.attacks.schedule import ScheduledAttack
from tests import models
from tests import networks
from tests.marks import slow

schedules = tf.keras.optimizers.schedules
START_AT_2 = schedules.PiecewiseConstantDecay([1], [0.0, 1.0])


def _batch():
    rng = np.random.default_rng(0)
    images = rng.uniform(0.3, 0.7, (8, 2, 2, 1)).astype(np.float32)
    return images, rng.integers(3, size=8)


def _seed(step):
    return tf.constant([7, step], tf.int64)


# Equal to an attack that is constructed with the scaled radius.
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("num_steps", [1, 3])
@pytest.mark.parametrize("step, scale", [(0, 0), (1, 0.25), (4, 1), (9, 1)])
def test_equals_an_attack_of_the_scaled_radius(norm, num_steps, step, scale):
    network = networks.linear()
    images, labels = _batch()
    arguments = {"num_steps": num_steps, "random_start": 0.8, "norm": norm}
    grows = ScheduledAttack(
        ca.PGD(0.2, **arguments), schedules.PolynomialDecay(0.0, 4, 1.0)
    )
    adversarial = grows(network, images, labels, _seed(step))
    expected = ca.PGD(0.2 * scale, **arguments)(
        network, images, labels, _seed(step)
    )
    np.testing.assert_allclose(adversarial, expected, atol=1e-6)
    if not scale:
        np.testing.assert_array_equal(adversarial, images)


# With a negative step, as of micro-batches with stale weights, a schedule can
# be negative.
def test_schedule_is_clipped_to_0_and_1():
    network = networks.linear()
    images, labels = _batch()
    attack = ca.FGSM(0.2)
    for value, expected in ((-1.0, images), (3.0, None)):
        scaled = ScheduledAttack(attack, lambda step, value=value: value)
        if expected is None:
            expected = attack(network, images, labels, _seed(0))
        adversarial = scaled(network, images, labels, _seed(0))
        np.testing.assert_array_equal(adversarial, expected)


def test_an_int_seed_has_the_full_radius():
    network = networks.linear()
    images, labels = _batch()
    attack = ScheduledAttack(ca.PGD(0.2), START_AT_2)
    np.testing.assert_array_equal(
        attack(network, images, labels, 5),
        ca.PGD(0.2)(network, images, labels, 5),
    )
    assert attack.epsilon == 0.2 and attack.value_range == (0.0, 1.0)


# With staleness 0 the update of the start step is the first that sees the
# attack, with staleness 1 it is the next one. The weights before are equal to
# training without an attack.
@pytest.mark.parametrize("staleness", [slow(0), 1])
def test_training_starts_the_attack_at_its_step(staleness):
    def train(attack, steps):
        tf.keras.utils.set_random_seed(0)
        step = models.step_for(staleness)
        model = models.build(step, networks.linear(), attack, "sgd")
        images, labels = networks.batches(1, 2 * steps, (2, 2, 1))[0]
        model.fit(images, labels, batch_size=2, shuffle=False, verbose=0)
        return networks.weights(model.network)

    late, never = ScheduledAttack(ca.PGD(0.3), START_AT_2), ca.PGD(0.0)
    first = 2 + staleness
    for steps, equal in ((first, True), (first + 1, False)):
        weights = train(late, steps)
        assert np.array_equal(weights, train(never, steps)) == equal


@pytest.mark.parametrize(
    "attack, schedule, message",
    [
        (len, START_AT_2, "received <built-in function len>"),
        (ca.PGD(0.1), 0.5, "received 0.5"),
    ],
)
def test_wrong_arguments(attack, schedule, message):
    with pytest.raises(ValueError, match=message):
        ScheduledAttack(attack, schedule)
