"""Prints the table of network_table.py.

Importing this module imports TensorFlow, so the command does it after it has
checked its flags.
"""

import contextlib
import itertools
import sys

from absl import flags
import numpy as np
import tensorflow as tf

import conadv_tf as ca
from experiments import markdown_table
from tools.networks import zoo

FLAGS = flags.FLAGS
# One member of each family in which all are "large".
_TABLED = "DenseNet121 NASNetMobile ResNetRS50 RegNetX002 RegNetY002".split()


def entries(with_large):
    """Lists the networks of the table.

    Args:
      with_large: whether to list all members of the Keras families.
    """
    applications = [
        entry
        for entry in zoo.APPLICATIONS
        if with_large or entry.job != "large" or entry.name in _TABLED
    ]
    return [*zoo.OURS, *applications, *zoo.KERAS_CV]


def runs(network):
    """Whether weights are finite after two steps, and the export is exact."""
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(2, *network.input_shape[1:]))
    attack = ca.PGD(8 / 255)
    if ca.networks.rescaled_range(network, (0.0, 1.0)) is not None:
        images, attack = 255 * images, ca.PGD(8, value_range=(0, 255))
    model = ca.ConAdvModel(network, attack)
    model.compile(
        # Adam bounds the updates: on two small images gradients explode.
        tf.keras.optimizers.Adam(1e-4),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,
    )
    images = images.astype(np.float32)
    for _ in range(2):
        model.train_on_batch(images, np.array([0, 1]))
    weights = model.network.get_weights()
    logits = model.network(images, training=False)
    exported = model.export_network()(images, training=False)
    finite = all(np.isfinite(values).all() for values in [*weights, logits])
    return finite and np.array_equal(exported, logits)


def facts(entry):
    """Returns the columns of a network: dict of strings."""
    tf.keras.backend.clear_session()
    with contextlib.redirect_stdout(sys.stderr):  # keras-cv prints on import.
        network = entry.build(10 if "cifar" in entry.name else 1000)
    trainable = sum(w.shape.num_elements() for w in network.trainable_weights)
    step = ("runs" if runs(network) else "FAILS") if FLAGS.verify else ""
    return {
        "network": entry.name,
        "trainable": f"{trainable:,}",
        "all, by Keras": f"{network.count_params():,}",
        "published": entry.reference,
        "source": entry.source,
        "ConAdv step": step,
    }


def run():
    """Prints each row as soon as it is known."""
    rows = map(facts, entries(FLAGS.large))
    first = next(rows)
    texts = (row.values() for row in itertools.chain([first], rows))
    failed = False
    for line in markdown_table.lines(list(first), texts, numbers=(1, 2, 3)):
        failed = failed or "| FAILS |" in line
        print(line, flush=True)
    sys.exit(failed)
