"""The pipelined step against the same algorithm computed the slow way."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks
<<<<<<< HEAD
from tests.slow_oracle import attack
from tests.slow_oracle import compare
=======

SEED = 7

slow = functools.partial(pytest.param, marks=pytest.mark.slow)


def _attack(**kwargs):
    return ca.PGD(epsilon=0.1, **{"random_start": 0.8, **kwargs})


def _slow_losses(network, parts, labels):
    """Each branch's part in a pass of its own, as eq. (4) is written."""
    losses = []
    for branch, images in parts.items():
        with batch_norm_branch(branch):
            losses.append(networks.LOSS(labels, network(images, training=True)))
    return losses


def _augment(images):
    """A second view of a batch, for tests of three branches."""
    return images[:, ::-1] * 0.5


class SlowOracle:
    """Keeps theta_0 ... theta_t and attacks batch t just before training.

    Updates use B0 unperturbed, then B0, B1, ...; the batch trained at step
    t is attacked with theta_max(0, t - tau). Nothing is pipelined.
    """

    def __init__(
        self, network, attack, staleness, optimizer, views=1, weight=1.0
    ):
        self.network = ca.split_batch_norm(network, views + 1)
        self.stale = ca.split_batch_norm(network, views + 1)
        self.views = views
        self.attack, self.tau = attack, staleness
        self.optimizer, self.weight = optimizer, weight
        self.snapshots, self.received = [], []

    def step(self, images, labels):
        t = len(self.snapshots)
        self.snapshots.append(self.network.get_weights())
        self.received.append((images, labels))
        if self.tau == 0:
            adversarial = self._craft(t, t, t)
        elif t == 0:
            adversarial = images
        else:
            # Trained at t, received and seeded at t - 1.
            images, labels = self.received[t - 1]
            adversarial = self._craft(t - 1, max(0, t - self.tau), t - 1)
        parts = {"main": images, "auxiliary": adversarial}
        if self.views == 2:
            parts["augmented"] = _augment(images)
        with tf.GradientTape() as tape:
            losses = _slow_losses(self.network, parts, labels)
            # The second is the adversarial one.
            losses[1] *= self.weight
            loss = sum(losses) / (len(losses) - 1 + self.weight)
        variables = self.network.trainable_variables
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables)
        )
        self.loss = loss.numpy()
        return self.network.get_weights()

    def _craft(self, batch, snapshot, seed_step):
        self.stale.set_weights(self.snapshots[snapshot])
        images, labels = self.received[batch]

        def logits(x):
            # The trainable weights of the snapshot, batch statistics.
            with batch_norm_branch("auxiliary", update_statistics=False):
                return self.stale(x, training=True)

        return self.attack(logits, images, labels, seed=[SEED, seed_step])


def _compare(
    network, staleness, attack, count, views=1, weight=1.0, **compile_args
):
    def optimizer():
        return ca.LARS(0.5, momentum=0.9, weight_decay=1e-3)

    model = ca.ConAdvModel(
        network, attack, staleness, SEED, views, adversarial_weight=weight
    )
    model.compile(optimizer(), networks.LOSS, **compile_args)
    oracle = SlowOracle(network, attack, staleness, optimizer(), views, weight)
    model.reset_pending()
    for step, (images, labels) in enumerate(networks.batches(count)):
        expected = oracle.step(images, labels)
        received = (images, _augment(images)) if views == 2 else images
        loss = model.train_on_batch(received, labels, return_dict=True)["loss"]
        np.testing.assert_allclose(loss, oracle.loss, rtol=1e-4)
        for weight, wanted in zip(model.network.weights, expected):
            np.testing.assert_allclose(
                weight.numpy(),
                wanted,
                rtol=2e-4,
                atol=1e-5,
                err_msg=f"{weight.name} after step {step}",
            )
>>>>>>> f7b5f196e34b9ae48ebce42a86c5342346668f9b


# Every weight and moving statistic after every one of 20 steps.
@pytest.mark.parametrize("staleness", [0, 1, 2, 3, slow(4)])
def test_pipelined_step_equals_slow_oracle(staleness):
    compare(networks.convolutional(), staleness, attack(), 20)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_steps": 3, "step_size": 0.05},
        {"norm": "l2"},
        {"targeted": "random"},
    ],
    ids=str,
)
def test_oracle_with_other_attacks(arguments):
<<<<<<< HEAD
    compare(networks.convolutional(), 1, attack(**arguments), 6)
=======
    _compare(networks.small(), 1, _attack(**arguments), 6)
>>>>>>> f7b5f196e34b9ae48ebce42a86c5342346668f9b


# Clean, augmented and adversarial images, each with a batch norm of its own.
@pytest.mark.parametrize(
    "staleness, jit_compile",
    [(0, False), (1, False), slow(2, False), (1, True)],
)
def test_oracle_with_two_views(staleness, jit_compile):
<<<<<<< HEAD
    compare(
        networks.convolutional(),
=======
    _compare(
        networks.small(),
>>>>>>> f7b5f196e34b9ae48ebce42a86c5342346668f9b
        staleness,
        attack(),
        8,
        views=2,
        jit_compile=jit_compile,
    )


@pytest.mark.parametrize(
    "weight, views",
    [(0, 1), (0.25, 2), (3.0, 1), slow(0, 2), slow(0.25, 1), slow(3.0, 2)],
)
def test_oracle_with_another_weight_of_the_adversarial_loss(weight, views):
<<<<<<< HEAD
    network = networks.convolutional()
    compare(network, 1, attack(), 4, views=views, weight=weight)
=======
    network = networks.small()
    _compare(network, 1, _attack(), 4, views=views, weight=weight)
>>>>>>> f7b5f196e34b9ae48ebce42a86c5342346668f9b


@pytest.mark.parametrize("staleness", [0, 1, slow(2)])
def test_oracle_under_xla(staleness):
<<<<<<< HEAD
    compare(networks.convolutional(), staleness, attack(), 6, jit_compile=True)
=======
    _compare(networks.small(), staleness, _attack(), 6, jit_compile=True)
>>>>>>> f7b5f196e34b9ae48ebce42a86c5342346668f9b


def _softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _numpy_pgd(w, b, x, y, epsilon, step_size, num_steps):
    """grad_x of softmax cross-entropy is (p - onehot) W^T."""
    adversarial = x
    for _ in range(num_steps):
        residual = _softmax(adversarial @ w + b) - np.eye(3)[y]
        adversarial = adversarial + step_size * np.sign(residual @ w.T)
        adversarial = np.clip(adversarial, x - epsilon, x + epsilon)
        adversarial = np.clip(adversarial, 0, 1)
    return adversarial


# The weights after ConAdv steps in closed form, in NumPy, for SGD on softmax
# regression: grad_W = x^T (p - onehot) / n, averaged over the two halves.
@pytest.mark.parametrize("num_steps", [1, 3])
@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_linear_network_equals_closed_form(num_steps, staleness):
    network = networks.linear()
    w, b = (p.astype(np.float64) for p in network.get_weights())
    epsilon, step_size, rate = 0.1, 0.06, 0.3
    pgd = ca.PGD(epsilon, step_size, num_steps, random_start=False)
    model = ca.ConAdvModel(network, pgd, staleness)
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
            residual = (_softmax(inputs @ w + b) - np.eye(3)[y]) / len(y)
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
@pytest.mark.parametrize("batch_norm", [False, True])
def test_epsilon_0_is_plain_training_on_the_doubled_batch(batch_norm):
    network = networks.convolutional(batch_norm)
    data = networks.batches(5)
    shared = ca.split_batch_norm(network, branches=1)
    model = ca.ConAdvModel(shared, ca.FGSM(0.0), staleness=1)
    model.compile(tf.keras.optimizers.SGD(0.1, 0.9), networks.LOSS)
    plain = tf.keras.models.clone_model(network)
    plain.set_weights(network.get_weights())
    plain.compile(tf.keras.optimizers.SGD(0.1, 0.9), networks.LOSS)
    for step, (images, labels) in enumerate(data):
        model.train_on_batch(images, labels)
        images, labels = data[max(0, step - 1)]
        plain.train_on_batch(np.tile(images, (2, 1, 1, 1)), np.tile(labels, 2))
        np.testing.assert_allclose(
            networks.weights(model.network),
            networks.weights(plain),
            rtol=1e-4,
            atol=1e-5,
        )


# The same with batch norm: both branches see the same images, so that each
# ends with the statistics and, their gradients being half of the shared one's,
# the function of one batch norm trained at half its rate.
def test_epsilon_0_gives_both_branches_the_same_statistics():
    model = ca.ConAdvModel(networks.convolutional(), ca.FGSM(0.0), staleness=1)
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
    np.testing.assert_array_equal(
        networks.weights(model.network), networks.weights(plain)
    )


# The attack reads the copy, not the weights: with a copy that is never
# refreshed it attacks another network.
@pytest.mark.parametrize("staleness", [1, 3])
def test_the_attack_reads_the_shadow(staleness):
    network, weights = networks.small(), []
    for refresh in (True, False):
        model = ca.ConAdvModel(network, ca.FGSM(0.2), staleness)
        model.compile(tf.keras.optimizers.SGD(0.1), networks.LOSS)
        if not refresh:
            model.step.shadow.refresh = lambda age: None
        model.fit(networks.dataset(networks.batches(3)), verbose=0)
        weights.append(networks.weights(model.network))
    assert not np.allclose(*weights, atol=1e-4)
