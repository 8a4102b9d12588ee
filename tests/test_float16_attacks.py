"""Attacks on confident networks in float16.

Without loss scaling the gradient by the images underflowed to zero in float16,
sign(0) is 0, and no pixel moved.
"""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.attacks import attack_loss_scaling
from conadv_tf.steps.batch import SubBatch
from tests import networks
from tests.marks import all_slow_but

POLICIES = ("float32", "mixed_float16")
# Distances between the largest two logits; exp(-20) is zero in float16. In
# large networks more layers divide the gradient, and 9 was already too much.
DISTANCES = (20.0, 60.0)
(IMAGES, _), *_ = networks.batches(1)
IMAGES = 0.2 + 0.6 * IMAGES
LABELS = np.zeros(8, np.int64)


def confident_network(policy, distance, batch_norm=True):
    """A classifier whose first logit is larger by about `distance`."""
    tf.keras.mixed_precision.set_global_policy(policy)
    layers = [
        tf.keras.Input((6, 6, 1)),
        tf.keras.layers.Conv2D(4, 3, kernel_initializer="he_normal"),
        *[tf.keras.layers.BatchNormalization()] * batch_norm,
        tf.keras.layers.ReLU(),
        tf.keras.layers.GlobalAveragePooling2D(),
        tf.keras.layers.Dense(3),
        tf.keras.layers.Activation("linear", dtype="float32"),
    ]
    tf.keras.utils.set_random_seed(1)
    network = tf.keras.Sequential(layers)
    network.layers[-2].bias.assign([distance, 0.0, 0.0])
    tf.keras.mixed_precision.set_global_policy("float32")
    return network


class RawGradient:
    """A custom attack that depends on the length of the gradient."""

    value_range = (0.0, 1.0)

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, network, images, labels, seed, loss=None, targets=None):
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = loss(labels, network(images))
        return images + self.rate * tape.gradient(value, images)


def in_training(network, attack):
    """Perturbations of the attack in a training step."""
    model = ca.ConAdvModel(network, attack)
    model.compile("sgd", networks.LOSS)
    images = tf.constant(IMAGES)
    attacked = SubBatch(images, tf.constant(LABELS), None)
    seed = tf.constant([0, 0], tf.int64)
    adversarial = model.runner.attack.generate(model.network, attacked, seed)
    return adversarial.numpy() - IMAGES


def with_model(network, attack):
    """Perturbations of an attack that is called with a Keras model."""
    return attack(network, IMAGES, LABELS, seed=0).numpy() - IMAGES


def with_function(network, attack):
    """Perturbations of an attack that is called with a function."""
    return with_model(lambda images: network(images, training=False), attack)


@pytest.mark.parametrize("distance", all_slow_but([60.0], DISTANCES))
@pytest.mark.parametrize(
    "attack",
    [
        ca.FGSM(0.1),
        ca.PGD(0.1, num_steps=2, random_start=False, norm="l2"),
    ],
    ids=["fgsm", "pgd-l2"],
)
@pytest.mark.parametrize("how", [in_training, with_model, with_function])
def test_float16_attacks_as_float32(how, attack, distance):
    wanted, found = (
        how(confident_network(policy, distance), attack) for policy in POLICIES
    )
    assert np.mean(wanted == 0) < 0.01
    assert np.mean(found == 0) < 0.01
    cosine = np.sum(wanted * found) / np.sqrt(
        np.sum(wanted**2) * np.sum(found**2)
    )
    assert cosine > 0.95


# The scale factor is divided out again.
@pytest.mark.parametrize("batch_norm", [True, False])
def test_attack_receives_the_unscaled_gradient(batch_norm):
    attack = RawGradient(rate=np.exp(20.0))
    wanted, found = (
        in_training(confident_network(policy, 20.0, batch_norm), attack)
        for policy in POLICIES
    )
    error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
    assert 0 < error < 0.02


# Without batch statistics each example is scaled separately, so confident
# examples do not affect the others.
def test_confident_and_wrong_examples_in_one_batch():
    attack = ca.FGSM(0.1)

    def perturbations_of(policy):
        network = confident_network(policy, 20.0, batch_norm=False)
        model = ca.ConAdvModel(network, attack)
        model.compile("sgd", networks.LOSS)
        # The network is confident and wrong about the last four.
        labels = tf.constant([0, 0, 0, 0, 1, 1, 1, 1])
        attacked = SubBatch(tf.constant(IMAGES), labels, None)
        seed = tf.constant([0, 0], tf.int64)
        generate = model.runner.attack.generate
        return generate(model.network, attacked, seed) - IMAGES

    wanted, found = map(perturbations_of, POLICIES)
    assert np.mean(np.sign(wanted) == np.sign(found)) > 0.95


# One backward pass serves the weights and the images, so the whole loss is
# scaled. The update of the weights must not change.
@pytest.mark.parametrize("distance", all_slow_but([60.0], DISTANCES))
def test_shared_pass_in_float16_equals_float32(distance):
    found = []
    for policy in POLICIES:
        model = ca.ConAdvModel(
            confident_network(policy, distance),
            ca.PGD(0.1, random_start=False),
            step=ca.SharedPass(fraction=1.0, replace_clean=False),
        )
        # A large rate makes up for the small gradients.
        model.compile(tf.keras.optimizers.SGD(np.exp(distance)), networks.LOSS)
        before = networks.weights(model.network)
        model.train_on_batch(IMAGES, LABELS)
        assert model.skipped_steps == 0
        pending = model.runner.variables()["pending/adversarial"].numpy()
        change = networks.weights(model.network) - before
        found.append((np.sign(pending - IMAGES), change))
    (signs, change), (signs_16, change_16) = found
    assert np.mean(signs == signs_16) > 0.95
    error = np.linalg.norm(change_16 - change) / np.linalg.norm(change)
    assert 0 < error < 0.02


def test_powers_of_two_are_exact():
    exponents = np.arange(-120, 121)
    np.testing.assert_array_equal(
        attack_loss_scaling.power_of_two(tf.constant(exponents, tf.int32)),
        np.ldexp(np.float32(1), exponents),
    )
    largest = tf.constant([0.0, np.inf, np.nan, 1.0, 3.0, 1e-30, 5000.0])
    exponents = attack_loss_scaling.exponent_to(2.0**10, largest).numpy()
    assert list(exponents) == [0, 0, 0, 10, 8, 109, 0]
