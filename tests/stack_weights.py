"""Small training runs that both stacks repeat, to compare their weights."""

import numpy as np
import tensorflow as tf

import conadv_tf as ca
from tests import networks

OPTIMIZERS = {
    "sgd": lambda: tf.keras.optimizers.SGD(0.1, momentum=0.9),
    "lars": lambda: ca.LARS(1.0, weight_decay=1e-4, trust_coefficient=0.02),
    # Keeps updates small where a gradient is zero except for rounding.
    "adam": lambda: tf.keras.optimizers.Adam(0.01, epsilon=1e-3),
}
# {name: (optimizer, step)}.
SETUPS = {
    "sgd": ("sgd", ca.Concurrent()),
    "lars": ("lars", ca.Concurrent()),
    "adam": ("adam", ca.Concurrent()),
    "tau_0": ("sgd", ca.Sequential()),
    "tau_3": ("sgd", ca.Concurrent(staleness=3)),
    "microbatches": ("lars", ca.Concurrent(microbatches=2)),
}
UPDATES = 5


def trained(name):
    """Trains a small network and returns all weights as a float32 vector.

    Data and initial weights are drawn from `np.random.RandomState`, whose
    sequence is the same in all versions of NumPy.
    """
    optimizer, step = SETUPS[name]
    state = np.random.RandomState(0)
    network = networks.small()
    for weight in network.trainable_variables:
        if weight.shape.rank > 1:
            weight.assign(state.uniform(-0.5, 0.5, weight.shape))
    attack = ca.PGD(0.1, num_steps=2, step_size=0.07)
    model = ca.ConAdvModel(network, attack, step=step, seed=1)
    model.compile(OPTIMIZERS[optimizer](), networks.LOSS)
    batches = UPDATES * step.microbatches
    images = state.uniform(size=(8 * batches, 6, 6, 1)).astype(np.float32)
    labels = state.randint(networks.CLASSES, size=8 * batches)
    model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
    return networks.weights(model.network)
