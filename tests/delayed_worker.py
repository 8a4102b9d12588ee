"""One of two processes that train a model with `ca.Delayed`.

The arguments are the index of the process, the address of each process, and a
file for the results.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

import conadv_tf as ca
from tests import networks

_EPOCHS = 40


def main(index, *addresses_and_path):
    *addresses, path = addresses_and_path
    strategy = ca.distribution.strategy(
        "multi_worker", workers=addresses, worker_index=int(index)
    )
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        model = ca.ConAdvModel(
            networks.small(),
            ca.FGSM(0.1),
            step=ca.Delayed(ca.Concurrent(), accuracy=0.7),
        )
        model.compile(
            tf.keras.optimizers.SGD(0.5, momentum=0.9),
            networks.LOSS,
            metrics=["accuracy"],
        )
    # The first process's labels are random, the second one's are all 0. So the
    # accuracies of the processes, about 1/2 and 1, are on both sides of 0.7.
    images, labels = networks.batch(size=24, shape=(6, 6, 1))
    labels = labels % 2 * (1 - int(index))
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    options = tf.data.Options()
    off = tf.data.experimental.AutoShardPolicy.OFF
    options.experimental_distribute.auto_shard_policy = off
    data = data.with_options(options)
    history = model.fit(data, epochs=_EPOCHS, verbose=0).history
    accuracy = model.runner.attack  # Not used after the start.
    del accuracy
    correct = tf.equal(
        tf.argmax(model.network(images, training=False), 1), labels
    )
    result = {
        "attacked": history["attacked"],
        "accuracy": history["accuracy"],
        "local accuracy": float(tf.reduce_mean(tf.cast(correct, tf.float32))),
        "weights": [
            each.numpy().ravel().tolist()
            for each in model.network.trainable_variables
        ],
    }
    with open(path, "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
