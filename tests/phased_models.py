"""Small phased models, and what is in their variables after each step."""

import tensorflow as tf

import conadv_tf as ca
from conadv_tf.distribution import local_values
from tests import networks

SEED, SHARE = 7, 2


def attack(targeted="random"):
    # L2, because a sign turns a difference in the last bit into 2 epsilon.
    return ca.PGD(2.0, random_start=0.8, norm="l2", targeted=targeted)


# Arguments of a model in pairs.
PAIRS = {
    "attack": attack(targeted=None),
    "attack_pass": "shared",
    "adversarial_fraction": 0.5,
    "staleness": 2,
}


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


def build(
    replicas,
    network=None,
    optimizer=sgd,
    loss=networks.LOSS,
    steps_per_execution=1,
    **arguments,
):
    strategy = ca.distribution.strategy("mirrored", num_replicas=replicas)
    with strategy.scope():
        model = ca.ConAdvModel(
            network or networks.small(),
            arguments.pop("attack", attack()),
            seed=SEED,
            placement="phased",
            **arguments,
        )
        model.compile(
            optimizer(),
            loss,
            metrics=["accuracy"],
            steps_per_execution=steps_per_execution,
        )
    return model
