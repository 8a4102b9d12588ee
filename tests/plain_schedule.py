"""The phased schedules, written plainly: everything received is remembered."""

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
      replicas: number of replicas, a multiple of `num_turns`.
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
        self.losses = {part: [] for part in ("clean", *self.auxiliary)}
        self.correct = {part: [] for part in self.losses}

    def step(self, age, images, labels):
        gradients = {"clean": [], "auxiliary": []}
        for replica, network in enumerate(self.networks):
            here = slice(replica * self.share, (replica + 1) * self.share)
            self.received[replica].append((images[here], labels[here]))
            turn = (age + replica) % self.num_turns
            # The batch is what came in the steps before this turn.
            begin = age - turn
            if begin < self.num_turns:
                continue
            shares = self.received[replica][begin - self.num_turns : begin]
            batch = [np.concatenate(each) for each in zip(*shares)]
            self.turn(turn, age, replica, network, batch, gradients)
        if age < self.first_update:
            return
        means = [
            [sum(each) / len(each) for each in zip(*gradients[part])]
            for part in ("clean", "auxiliary")
        ]
        weights = self.networks[0].trainable_variables
        self.optimizer.apply_gradients(
            (
                (clean + self.weight * auxiliary) / (1 + self.weight),
                weight,
            )
            for clean, auxiliary, weight in zip(*means, weights)
        )
        for network in self.networks[1:]:
            for own, weight in zip(network.trainable_variables, weights):
                own.assign(weight)

    def gradient(self, network, parts, others=()):
        """Of the mean loss of {part: (images, labels)}, of one branch."""
        branch = "main" if "clean" in parts else "auxiliary"
        with batch_norm_branch(branch), tf.GradientTape() as tape:
            tape.watch(others)
            images = [images for images, _ in parts.values()]
            joined = network(tf.concat(images, axis=0), training=True)
            split = tf.split(joined, len(parts))
            losses = []
            for (name, (_, labels)), logits in zip(parts.items(), split):
                losses.append(networks.LOSS(labels, logits))
                self.losses[name].append(losses[-1].numpy())
                self.correct[name].append(
                    np.mean(logits.numpy().argmax(-1) == labels)
                )
            loss = tf.add_n(losses) / len(losses)
        return tape.gradient(
            loss,
            [*network.trainable_variables, *others],
            unconnected_gradients="zero",
        )


class Thirds(PlainSchedule):
    """Attack, adversarial, clean; all images are attacked."""

    num_turns, first_update, auxiliary = 3, 5, ("adversarial",)

    def turn(self, turn, age, replica, network, batch, gradients):
        if turn == 0:
            first = replica * 3 * self.share
            self.crafted[replica] = self.craft(network, batch, age, first)
        elif age >= self.first_update:
            part = ("adversarial", "clean")[turn - 1]
            if part == "adversarial":
                batch[0] = self.crafted[replica]
            gradients["clean" if turn == 2 else "auxiliary"].append(
                self.gradient(network, {part: batch})
            )

    def craft(self, network, batch, age, first):
        def logits(x):
            with batch_norm_branch("auxiliary", update_statistics=False):
                return network(x, training=True)

        with random.global_position_scope(tf.constant(first, tf.int64)):
            return self.attack(logits, *batch, seed=[self.seed, age]).numpy()


class Pairs(PlainSchedule):
    """Start and adversarial, clean; the first of two shares is attacked."""

    num_turns, first_update, auxiliary = 2, 3, ("start", "adversarial")

    def turn(self, turn, age, replica, network, batch, gradients):
        if turn == 1:
            if age >= self.first_update:
                gradients["clean"].append(
                    self.gradient(network, {"clean": batch})
                )
            return
        images, labels = (each[: self.share] for each in batch)
        seed = tf.constant([self.seed, age], tf.int64)
        first = tf.constant(replica * self.share, tf.int64)
        with random.global_position_scope(first):
            start = self.attack.initial_points(tf.constant(images), seed)
        parts = {
            "start": (start, labels),
            "adversarial": self.crafted.get(replica, (images, labels)),
        }
        before = network.get_weights()
        *by_weights, direction = self.gradient(network, parts, [start])
        gradients["auxiliary"].append(by_weights)
        self.crafted[replica] = (
            self.attack.apply_gradient(start, direction, images, seed).numpy(),
            labels,
        )
        if age < self.first_update:
            network.set_weights(before)
            for part in parts:
                self.losses[part].clear()
                self.correct[part].clear()
