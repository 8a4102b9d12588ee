"""The phased schedule, written plainly: everything received is remembered."""

import numpy as np
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.batch_norm.routing import batch_norm_branch
from conadv_tf.distribution import random
from tests import networks


class PlainSchedule:
    """The whole of it in one place: no buffers, no conditionals.

    Args:
      network: functional network; each replica gets a copy of its own.
      attack: an attack.
      optimizer: Keras optimizer.
      replicas: number of replicas, a multiple of 3.
      share: images that a replica receives at a step.
      seed: of the random starts.
      weight: of the adversarial loss.
    """

    def __init__(
        self, network, attack, optimizer, replicas, share, seed, weight=1.0
    ):
        self.share, self.seed = share, seed
        self.networks = [ca.split_batch_norm(network) for _ in range(replicas)]
        self.attack, self.optimizer = attack, optimizer
        self.weight = weight
        self.received = [[] for _ in range(replicas)]
        self.crafted = {}
        self.losses = {"clean": [], "adversarial": []}
        self.correct = {"clean": [], "adversarial": []}

    def step(self, age, images, labels):
        gradients = {"clean": [], "adversarial": []}
        for replica, network in enumerate(self.networks):
            here = slice(replica * self.share, (replica + 1) * self.share)
            self.received[replica].append((images[here], labels[here]))
            phase = (age + replica) % 3
            # The batch is what came in the three steps before this turn.
            turn = age - phase
            if turn < 3:
                continue
            shares = self.received[replica][turn - 3 : turn]
            batch = [np.concatenate(each) for each in zip(*shares)]
            if phase == 0:
                first = replica * 3 * self.share
                self.crafted[replica] = self.craft(network, batch, age, first)
            elif age >= 5:
                part = ("adversarial", "clean")[phase - 1]
                if part == "adversarial":
                    batch[0] = self.crafted[replica]
                gradients[part].append(self.gradient(network, part, *batch))
        if age < 5:
            return
        means = [
            [sum(each) / len(each) for each in zip(*gradients[part])]
            for part in ("clean", "adversarial")
        ]
        weights = self.networks[0].trainable_variables
        self.optimizer.apply_gradients(
            (
                (clean + self.weight * adversarial) / (1 + self.weight),
                weight,
            )
            for clean, adversarial, weight in zip(*means, weights)
        )
        for network in self.networks[1:]:
            for own, weight in zip(network.trainable_variables, weights):
                own.assign(weight)

    def craft(self, network, batch, age, first):
        def logits(x):
            with batch_norm_branch("auxiliary", update_statistics=False):
                return network(x, training=True)

        with random.positions_from(tf.constant(first, tf.int64)):
            return self.attack(logits, *batch, seed=[self.seed, age]).numpy()

    def gradient(self, network, part, images, labels):
        branch = "main" if part == "clean" else "auxiliary"
        with batch_norm_branch(branch), tf.GradientTape() as tape:
            logits = network(images, training=True)
            loss = networks.LOSS(labels, logits)
        self.losses[part].append(loss.numpy())
        self.correct[part].append(np.mean(logits.numpy().argmax(-1) == labels))
        return tape.gradient(
            loss,
            network.trainable_variables,
            unconnected_gradients="zero",
        )
