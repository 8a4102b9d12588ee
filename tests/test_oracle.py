"""The pipelined step against the same algorithm computed the slow way."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow
from tests.slow_oracle import attack
from tests.slow_oracle import compare


# Every weight and moving statistic after every one of 20 steps.
@pytest.mark.parametrize("staleness", [0, 1, slow(2), 3, slow(4)])
def test_pipelined_step_equals_slow_oracle(staleness):
    compare(networks.convolutional(), staleness, attack(), 20)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_steps": 3, "step_size": 0.05},
        slow({"norm": "l2"}),
        {"targeted": "random"},
    ],
    ids=str,
)
def test_oracle_with_other_attacks(arguments):
    compare(networks.small(), 1, attack(**arguments), 6)


# Clean, augmented and adversarial images, each with a separate batch norm.
@pytest.mark.parametrize(
    "staleness, jit_compile",
    [slow(0, False), (1, False), slow(2, False), slow(1, True)],
)
def test_oracle_with_two_views(staleness, jit_compile):
    compare(
        networks.small(),
        staleness,
        attack(),
        8,
        views=2,
        jit_compile=jit_compile,
    )


@pytest.mark.parametrize(
    "weight, views",
    [
        slow(0, 1),
        (0.25, 2),
        slow(3.0, 1),
        slow(0, 2),
        slow(0.25, 1),
        slow(3.0, 2),
    ],
)
def test_oracle_with_another_weight_of_the_adversarial_loss(weight, views):
    network = networks.small()
    compare(network, 1, attack(), 4, views=views, weight=weight)


@pytest.mark.parametrize("staleness", [slow(0), 1, slow(2)])
def test_oracle_under_xla(staleness):
    compare(networks.small(), staleness, attack(), 6, jit_compile=True)


def _numpy_pgd(w, b, x, y, epsilon, step_size, num_steps):
    """grad_x of softmax cross-entropy is (p - onehot) W^T."""
    adversarial = x
    for _ in range(num_steps):
        residual = networks.softmax(adversarial @ w + b) - np.eye(3)[y]
        adversarial = adversarial + step_size * np.sign(residual @ w.T)
        adversarial = np.clip(adversarial, x - epsilon, x + epsilon)
        adversarial = np.clip(adversarial, 0, 1)
    return adversarial


# The weights after ConAdv steps in closed form, in NumPy, for SGD on softmax
# regression: grad_W = x^T (p - onehot) / n, averaged over the two halves.
@pytest.mark.parametrize(
    "staleness, num_steps",
    [(0, 3), (1, 1), (2, 3), slow(0, 1), slow(1, 3), slow(2, 1)],
)
def test_linear_network_equals_closed_form(num_steps, staleness):
    network = networks.linear()
    w, b = (p.astype(np.float64) for p in network.get_weights())
    epsilon, step_size, rate = 0.1, 0.06, 0.3
    pgd = ca.PGD(
        epsilon, step_size=step_size, num_steps=num_steps, random_start=False
    )
    step = models.step_for(staleness)
    model = ca.ConAdvModel(network, pgd, step=step)
    model.compile(tf.keras.optimizers.SGD(rate), networks.LOSS)
    data = networks.batches(6, shape=(2, 2, 1))
    thetas = []
    for t, (images, labels) in enumerate(data):
        thetas.append((w, b))
        trained = data[max(0, t - 1)] if staleness else (images, labels)
        x, y = trained[0].reshape(8, -1).astype(np.float64), trained[1]
        adversarial = x
        if t > 0 or staleness == 0:
            adversarial = _numpy_pgd(
                *thetas[max(0, t - staleness)],
                x,
                y,
                epsilon,
                step_size,
                num_steps,
            )
        gradients = []
        for inputs in (x, adversarial):
            residual = (networks.softmax(inputs @ w + b) - np.eye(3)[y]) / len(
                y
            )
            gradients.append((inputs.T @ residual, residual.sum(axis=0)))
        w = w - rate * (gradients[0][0] + gradients[1][0]) / 2
        b = b - rate * (gradients[0][1] + gradients[1][1]) / 2
        model.train_on_batch(images, labels)
        np.testing.assert_allclose(
            networks.weights(model.network),
            np.concatenate([w.ravel(), b]),
            rtol=1e-5,
            atol=1e-6,
        )


# With no perturbation and one batch norm for both halves, ConAdv is plain
# training on a batch that holds every image twice.
@pytest.mark.parametrize("batch_norm", [slow(False), True])
def test_epsilon_0_is_plain_training_on_the_doubled_batch(batch_norm):
    network = networks.convolutional(batch_norm)
    data = networks.batches(5)
    shared = ca.split_batch_norm(network, branches=1)
    model = ca.ConAdvModel(shared, ca.FGSM(0.0))
    model.compile(tf.keras.optimizers.SGD(0.1, 0.9), networks.LOSS)
    plain = tf.keras.models.clone_model(network)
    plain.set_weights(network.get_weights())
    plain.compile(tf.keras.optimizers.SGD(0.1, 0.9), networks.LOSS)
    for step, (images, labels) in enumerate(data):
        model.train_on_batch(images, labels)
        images, labels = data[max(0, step - 1)]
        plain.train_on_batch(np.tile(images, (2, 1, 1, 1)), np.tile(labels, 2))
        networks.assert_same_weights(model, plain, 1e-4, 1e-5)


# The same with batch norm: both branches see the same images, so that each
# ends with the statistics and, their gradients being half of the shared one's,
# the function of one batch norm trained at half its rate.
def test_epsilon_0_gives_both_branches_the_same_statistics():
    model = ca.ConAdvModel(networks.convolutional(), ca.FGSM(0.0))
    model.compile(tf.keras.optimizers.SGD(0.1), networks.LOSS)
    for images, labels in networks.batches(4):
        model.train_on_batch(images, labels)
    layers = [
        layer
        for layer in model.network.layers
        if isinstance(layer, ca.SplitBatchNormalization)
    ]
    for layer in layers:
        main, auxiliary = layer.branch_layers
        for a, b in zip(main.get_weights(), auxiliary.get_weights()):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_no_attack_equals_plain_keras():
    network = networks.convolutional()
    model = ca.ConAdvModel(network, attack=None)
    plain = tf.keras.models.clone_model(network)
    plain.set_weights(network.get_weights())
    for each in (model, plain):
        each.compile(tf.keras.optimizers.SGD(0.1, 0.9), networks.LOSS)
        each.fit(networks.dataset(networks.batches(5)), epochs=2, verbose=0)
    networks.assert_same_weights(model, plain)


# The attack reads the copy, not the weights: with a copy that is never
# refreshed it attacks another network.
@pytest.mark.parametrize("staleness", [1, slow(3)])
def test_the_attack_reads_the_shadow(staleness):
    network, weights = networks.small(), []
    for refresh in (True, False):
        step = ca.Concurrent(staleness=staleness)
        model = ca.ConAdvModel(network, ca.FGSM(0.2), step=step)
        model.compile(tf.keras.optimizers.SGD(0.1), networks.LOSS)
        if not refresh:
            model.runner.shadow.refresh = lambda steps: None
        model.fit(networks.dataset(networks.batches(3)), verbose=0)
        weights.append(networks.weights(model.network))
    assert not np.allclose(*weights, atol=1e-4)
