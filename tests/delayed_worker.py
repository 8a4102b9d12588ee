"""One of two processes that train a model with `ca.Delayed`.

The arguments are the index of the process, the addresses of both, and a file
for the results.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

import conadv_tf as ca
from conadv_tf.distribution import local_values
from conadv_tf.steps import epoch_accuracy
from tests import networks

_THRESHOLD = 0.7


def main(index, first, second, path):
    strategy = ca.distribution.strategy(
        "multi_worker", workers=[first, second], worker_index=int(index)
    )
    decisions = []
    result = epoch_accuracy.EpochAccuracy.result

    def watched(accuracy):
        correct, count = (
            local_values(strategy, each)[0]
            for each in accuracy.variables().values()
        )
        decisions.append((float(correct / count), result(accuracy)))
        return decisions[-1][1]

    epoch_accuracy.EpochAccuracy.result = watched
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        model = ca.ConAdvModel(
            networks.small(),
            ca.FGSM(0.1),
            step=ca.Delayed(ca.Concurrent(), accuracy=_THRESHOLD),
        )
        optimizer = tf.keras.optimizers.SGD(0.5, momentum=0.9)
        model.compile(optimizer, networks.LOSS, metrics=["accuracy"])
    # The labels of one process are random, the other one has only 0.
    images, labels = networks.batch(size=24, shape=(6, 6, 1))
    labels = labels % 2 * (1 - int(index))
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    options = tf.data.Options()
    off = tf.data.experimental.AutoShardPolicy.OFF
    options.experimental_distribute.auto_shard_policy = off
    history = model.fit(data.with_options(options), epochs=5, verbose=0).history
    with open(path, "w") as file:
        json.dump(
            {
                "attacked": history["attacked"],
                "accuracy": history["accuracy"],
                "decisions": decisions,
                "weights": [
                    each.numpy().ravel().tolist()
                    for each in model.network.trainable_variables
                ],
            },
            file,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
