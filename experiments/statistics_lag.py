"""Detects moving statistics of batch norms that lag behind the weights.

After few updates the moving statistics belong to old weights. Accuracy on
training images is measured with batch statistics and does not show it.
"""

import numpy as np
import tensorflow as tf

# Smaller differences between training and test accuracy are ordinary.
_MIN_GAP = 0.1
# After this many times 1 / (1 - momentum) updates no lag is suspected.
_MAX_UPDATES = 50
# Training batches whose statistics are averaged, and images of each.
_BATCHES = 20
_IMAGES = 256


def note(network, dataset, summary):
    """Returns a line with the remedy if the moving statistics lag, or "".

    If the test accuracy is far below the training accuracy after few updates,
    the test accuracy is measured again with statistics of the final weights.
    They lag if this closes at least half of the gap. It does not close the gap
    of a network that overfits.

    Args:
      network: the exported network of a finished run. Its moving statistics
        are replaced.
      dataset: the `ca.data.Dataset` of the run.
      summary: content of its summary.json.
    """
    norms = [
        layer
        for layer in network.submodules
        if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    top1, train_top1 = summary["top1"], summary["train_top1"]
    if not norms or summary["smoke_test"] or train_top1 is None:
        return ""
    gap = train_top1 - top1
    momentum = max(layer.momentum for layer in norms)
    if gap < _MIN_GAP or summary["steps"] * (1 - momentum) > _MAX_UPDATES:
        return ""
    try:
        _replace_statistics(network, norms, dataset)
        renewed = _accuracy(network, dataset)
    except tf.errors.OpError:  # Bad records, which the run has reported.
        return ""
    if renewed - top1 < gap / 2:
        return ""
    return (
        f"note: after {summary['steps']} updates the moving statistics of the "
        "batch norms lag behind the weights. With statistics of the final "
        f"weights top-1 ({summary['split']}) is {renewed:.2%} instead of "
        f"{top1:.2%}. Train longer, or lower the momentum: "
        f"--set network.batch_norm_momentum={_lower(momentum):g}"
    )


def _lower(momentum):
    return 0.5 if momentum > 0.5 else momentum / 2


def _replace_statistics(network, norms, dataset):
    """Replaces moving statistics by means over training batches."""
    for number, (images, _) in enumerate(dataset.train.take(_BATCHES)):
        for layer in norms:
            layer.momentum = number / (number + 1)
        # With two views the clean one is first.
        images = images[0] if isinstance(images, tuple) else images
        # A global batch may be too large for the memory of this machine.
        network(images[:_IMAGES], training=True)


def _accuracy(network, dataset):
    correct = [
        np.argmax(network.predict_on_batch(images), -1) == labels.numpy()
        for images, labels in dataset.test
    ]
    return float(np.mean(np.concatenate(correct)))
