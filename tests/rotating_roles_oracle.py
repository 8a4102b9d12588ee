"""The rotating roles, written plainly: everything received is remembered."""

import numpy as np
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.batch_norm.routing import batch_norm_branch
from conadv_tf.distribution import random
from tests import networks

NUM_ROLES, FIRST_UPDATE = 3, 5


class PlainSchedule:
    """The whole schedule in one place, without buffers and conditionals.

    Args:
      network: functional network; each replica gets a copy.
      attack: an attack.
      optimizer: Keras optimizer.
      replicas: number of replicas, a multiple of 3.
      share: images that a replica receives at a step.
      seed: of the random starts.
      weight: of the adversarial loss.
    """

    def __init__(
        self, network, attack, optimizer, replicas, share, seed, weight
    ):
        self.share, self.seed = share, seed
        self.networks = [ca.split_batch_norm(network) for _ in range(replicas)]
        self.attack, self.optimizer = attack, optimizer
        self.weight = weight
        self.received = [[] for _ in range(replicas)]
        self.generated = {}
        self.losses = {"clean": [], "adversarial": []}
        self.correct = {"clean": [], "adversarial": []}

    def step(self, steps, images, labels):
        gradients = {"clean": [], "adversarial": []}
        for replica, network in enumerate(self.networks):
            here = slice(replica * self.share, (replica + 1) * self.share)
            self.received[replica].append((images[here], labels[here]))
            role = (steps + replica) % NUM_ROLES
            # The batch consists of the shares received before the first role.
            begin = steps - role
            if begin < NUM_ROLES:
                continue
            shares = self.received[replica][begin - NUM_ROLES : begin]
            batch = [np.concatenate(each) for each in zip(*shares)]
            if role == 0:
                first = replica * NUM_ROLES * self.share
                self.generated[replica] = self.generate(
                    network, batch, steps, first
                )
            elif steps >= FIRST_UPDATE:
                name = ("adversarial", "clean")[role - 1]
                if name == "adversarial":
                    batch[0] = self.generated[replica]
                gradients[name].append(self.gradient(network, name, *batch))
        if steps < FIRST_UPDATE:
            return
        means = [
            [sum(each) / len(each) for each in zip(*gradients[name])]
            for name in ("clean", "adversarial")
        ]
        weights = self.networks[0].trainable_variables
        self.optimizer.apply_gradients(
            ((clean + self.weight * adversarial) / (1 + self.weight), weight)
            for clean, adversarial, weight in zip(*means, weights)
        )
        for network in self.networks[1:]:
            for own, weight in zip(network.trainable_variables, weights):
                own.assign(weight)

    def generate(self, network, batch, steps, first):
        def logits(x):
            with batch_norm_branch("auxiliary", update_statistics=False):
                return network(x, training=True)

        with random.global_position_scope(tf.constant(first, tf.int64)):
            return self.attack(logits, *batch, seed=[self.seed, steps]).numpy()

    def gradient(self, network, name, images, labels):
        """Returns the gradient of the mean loss, through the right branch."""
        branch = "main" if name == "clean" else "auxiliary"
        with batch_norm_branch(branch), tf.GradientTape() as tape:
            logits = network(images, training=True)
            loss = networks.LOSS(labels, logits)
        self.losses[name].append(loss.numpy())
        self.correct[name].append(np.mean(logits.numpy().argmax(-1) == labels))
        return tape.gradient(
            loss, network.trainable_variables, unconnected_gradients="zero"
        )
