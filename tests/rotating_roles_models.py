"""Small models with rotating roles, and their variables after each step."""

import tensorflow as tf

import conadv_tf as ca
from conadv_tf.distribution import local_values
from tests import models

SEED, SHARE = 7, 2


def attack():
    # L2, because a sign turns a difference in the last bit into 2 epsilon.
    return ca.PGD(2.0, random_start=0.8, norm="l2", targeted="random")


def sgd():
    return tf.keras.optimizers.SGD(0.05, momentum=0.9)


class Watch(tf.keras.callbacks.Callback):
    """All variables of the network after each step, of each replica."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        strategy = self.model.distribute_strategy
        values = [
            local_values(strategy, each) for each in self.model.network.weights
        ]
        self.seen.append([list(replica) for replica in zip(*values)])


def build(replicas, network=None, weight=1.0, **arguments):
    """A compiled model; `models.build` takes the other arguments."""
    return models.build(
        ca.RotatingRoles(weight=weight),
        network,
        seed=SEED,
        replicas=replicas,
        **{"attack": attack(), "optimizer": sgd, **arguments},
    )
