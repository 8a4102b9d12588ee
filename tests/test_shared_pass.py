"""One pass for all sub-batches, against passes apart and against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.batch_norm import batch_norm_branch
from tests import models
from tests import networks
from tests.marks import slow

SEED, SMOOTHING = 7, 0.1
SMOOTH = tf.keras.losses.CategoricalCrossentropy(
    from_logits=True, label_smoothing=SMOOTHING
)
BRANCHES = {"clean": "main", "augmented": "augmented"}


def _augment(images):
    return images[:, ::-1] * 0.5


def _one_hot(labels):
    return np.eye(3, dtype=np.float32)[labels]


class SlowOracle:
    """Separate passes for the branches, a separate tape for the direction."""

    def __init__(self, network, attack, optimizer, options, views):
        self.network = ca.split_batch_norm(network, views + 1)
        self.attack, self.optimizer = attack, optimizer
        self.options, self.views = options, views
        self.pending, self.steps, self.turned = None, 0, 0

    def step(self, images, labels):
        count = round(self.options.fraction * len(images))
        first, its_labels = tf.constant(images[:count]), labels[:count]
        if self.pending is None:
            self.pending = first, its_labels
        seed = tf.constant([SEED, self.steps], tf.int64)
        start = self.attack.initial_points(first, seed)
        rest = count if self.options.replace_clean else 0
        parts = {"clean": (images[rest:], labels[rest:])}
        if self.views == 2:
            parts["augmented"] = _augment(images), labels
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(start)
            losses = []
            for name, (part, targets) in parts.items():
                with batch_norm_branch(BRANCHES[name]):
                    logits = self.network(part, training=True)
                losses.append(SMOOTH(targets, logits))
            with batch_norm_branch("auxiliary"):
                both = self.network(
                    tf.concat([start, self.pending[0]], 0), training=True
                )
            started, adversarial = tf.split(both, 2)
            auxiliary = SMOOTH(its_labels, started)
            auxiliary += SMOOTH(self.pending[1], adversarial)
            loss = sum(losses) + self.options.weight * auxiliary / 2
            loss /= len(losses) + self.options.weight
        variables = self.network.trainable_variables
        direction = tape.gradient(loss, start).numpy()
        # The gradient of cross-entropy by logits: probabilities less labels.
        certainty = tf.nn.softmax(started).numpy()
        smooth = its_labels * (1 - SMOOTHING) + SMOOTHING / 3
        agreement = ((certainty - smooth) * (certainty - its_labels)).sum(-1)
        self.turned += (agreement < 0).sum()
        direction *= np.where(agreement < 0, -1, 1).reshape(-1, 1, 1, 1)
        self.pending = (
            self.attack.apply_gradient(
                start, tf.constant(direction, tf.float32), first, seed
            ),
            its_labels,
        )
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables)
        )
        self.steps += 1
        return loss.numpy()


# Every weight and moving statistic after each of 20 steps. The sharp last
# layer makes examples certain, so that some directions turn. Under XLA the
# gradient by the images is computed for the start alone, by a strided layer.
@pytest.mark.parametrize(
    "fraction, views, weight, norm, replaces, jit_compile",
    [
        (0.5, 1, 1.0, "linf", False, False),
        slow(0.25, 2, 3.0, "l2", True, False),
        slow(1.0, 2, 1.0, "l2", False, True),
        (0.25, 1, 0.5, "l2", True, True),
    ],
)
def test_oracle(fraction, views, weight, norm, replaces, jit_compile):
    network = networks.small(strides=2 if jit_compile else 1)
    kernel, bias = network.layers[-1].get_weights()
    network.layers[-1].set_weights([8 * kernel, bias])
    attack = ca.PGD(0.1, random_start=0.8, norm=norm)

    def optimizer():
        return ca.LARS(0.1, momentum=0.9, weight_decay=1e-3)

    step = ca.SharedPass(
        fraction=fraction, weight=weight, replace_clean=replaces
    )
    model = models.build(
        step,
        network,
        attack,
        optimizer(),
        SMOOTH,
        seed=SEED,
        views=views,
        jit_compile=jit_compile,
    )
    oracle = SlowOracle(network, attack, optimizer(), step, views)
    model.reset_pending()
    for images, labels in networks.batches(20):
        labels = _one_hot(labels)
        expected = oracle.step(images, labels)
        received = (images, _augment(images)) if views == 2 else images
        logs = model.train_on_batch(received, labels, return_dict=True)
        np.testing.assert_allclose(logs["loss"], expected, rtol=1e-4)
        networks.assert_same_weights(model, oracle, 1e-3, 1e-5)
    assert oracle.turned


# Softmax regression in closed form, on both sides of the turning point.
def test_linear_network_equals_closed_form():
    network = networks.linear()
    kernel, bias = network.get_weights()
    network.set_weights([12 * kernel, bias])
    w, b = (p.astype(np.float64) for p in network.get_weights())
    epsilon, rate, count = 0.1, 0.3, 4
    attack = ca.PGD(epsilon, random_start=False)
    model = models.build(
        ca.SharedPass(fraction=0.5, replace_clean=False),
        network,
        attack,
        tf.keras.optimizers.SGD(rate),
        SMOOTH,
    )
    pending, signs = None, []
    for images, labels in networks.batches(6, shape=(2, 2, 1)):
        x, y = images.reshape(8, -1).astype(np.float64), np.eye(3)[labels]
        smooth = y * (1 - SMOOTHING) + SMOOTHING / 3
        start = x[:count], smooth[:count]
        pending = pending or start
        grad_w, grad_b = 0.0, 0.0
        for share, (inputs, targets) in (
            (0.5, (x, smooth)),
            (0.25, start),
            (0.25, pending),
        ):
            residual = networks.softmax(inputs @ w + b) - targets
            grad_w = grad_w + share * inputs.T @ residual / len(inputs)
            grad_b = grad_b + share * residual.mean(axis=0)
        probabilities = networks.softmax(start[0] @ w + b)
        residual = probabilities - start[1]
        s = np.sign((residual * (probabilities - y[:count])).sum(1))
        signs += list(s)
        ascent = np.sign(s[:, None] * (residual @ w.T))
        pending = np.clip(start[0] + epsilon * ascent, 0, 1), start[1]
        w, b = w - rate * grad_w, b - rate * grad_b
        model.train_on_batch(images, y.astype(np.float32))
        np.testing.assert_allclose(
            networks.weights(model.network),
            np.concatenate([w.ravel(), b]),
            rtol=1e-4,
            atol=1e-6,
        )
    assert {-1.0, 1.0} == set(signs)
