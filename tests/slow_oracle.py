"""The algorithm of the pipelined step, computed the slow way."""

import numpy as np
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.batch_norm import batch_norm_branch
from tests import models
from tests import networks

SEED = 7


def attack(**kwargs):
    return ca.PGD(epsilon=0.1, **{"random_start": 0.8, **kwargs})


def _slow_losses(network, parts, labels):
    """Computes each branch in a separate pass, as Eq. (4) is written."""
    losses = []
    for branch, images in parts.items():
        with batch_norm_branch(branch):
            logits = network(images, training=True)
        losses.append(networks.LOSS(labels[: len(images)], logits))
    return losses


def augment(images):
    """A second view of a batch, for tests of three branches."""
    return images[:, ::-1] * 0.5


class SlowOracle:
    """Keeps theta_0 ... theta_t and attacks batch t just before training.

    Updates use B0 with a zero perturbation, then B0, B1, ...; the batch
    trained at step t is attacked with theta_max(0, t - tau). Nothing is
    pipelined.
    """

    def __init__(
        self,
        network,
        attack,
        staleness,
        optimizer,
        views=1,
        weight=1.0,
        fraction=1.0,
    ):
        self.network = ca.split_batch_norm(network, views + 1)
        self.stale = ca.split_batch_norm(network, views + 1)
        self.views = views
        self.attack, self.tau = attack, staleness
        self.optimizer, self.weight = optimizer, weight
        self.fraction = fraction
        self.snapshots, self.received = [], []

    def step(self, images, labels):
        t = len(self.snapshots)
        self.snapshots.append(self.network.get_weights())
        self.received.append((images, labels))
        if self.tau == 0:
            adversarial = self._generate(t, t, t)
        elif t == 0:
            adversarial = images[: self._attacked(images)]
        else:
            # Trained at t, received and seeded at t - 1.
            images, labels = self.received[t - 1]
            adversarial = self._generate(t - 1, max(0, t - self.tau), t - 1)
        parts = {"main": images, "auxiliary": adversarial}
        if self.views == 2:
            parts["augmented"] = augment(images)
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

    def _generate(self, batch, snapshot, seed_step):
        self.stale.set_weights(self.snapshots[snapshot])
        images, labels = self.received[batch]
        attacked = self._attacked(images)

        def logits(x):
            # The trainable weights of the snapshot, batch statistics.
            with batch_norm_branch("auxiliary", update_statistics=False):
                return self.stale(x, training=True)

        return self.attack(
            logits, images[:attacked], labels[:attacked], [SEED, seed_step]
        )

    def _attacked(self, images):
        return round(self.fraction * len(images))


def compare(
    network,
    staleness,
    attack,
    count,
    views=1,
    weight=1.0,
    fraction=1.0,
    **compile_args,
):
    """Every weight after every step; raises an AssertionError."""

    def optimizer():
        return ca.LARS(0.5, momentum=0.9, weight_decay=1e-3)

    step = models.step_for(staleness, weight=weight, fraction=fraction)
    model = ca.ConAdvModel(network, attack, step=step, seed=SEED, views=views)
    model.compile(optimizer(), networks.LOSS, **compile_args)
    oracle = SlowOracle(
        network, attack, staleness, optimizer(), views, weight, fraction
    )
    model.reset_pending()
    for step, (images, labels) in enumerate(networks.batches(count)):
        expected = oracle.step(images, labels)
        received = (images, augment(images)) if views == 2 else images
        loss = model.train_on_batch(received, labels, return_dict=True)["loss"]
        np.testing.assert_allclose(loss, oracle.loss, rtol=1e-4)
        for variable, wanted in zip(model.network.weights, expected):
            np.testing.assert_allclose(
                variable.numpy(),
                wanted,
                rtol=2e-4,
                atol=1e-5,
                err_msg=f"{variable.name} after step {step}",
            )
