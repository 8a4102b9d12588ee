"""A copy of a network with as many batch norm branches as a step has parts."""

import tensorflow as tf

from conadv_tf.batch_norm import SplitBatchNormalization
from conadv_tf.networks import conversion


def split_for_training(network: tf.keras.Model, wanted: int) -> tf.keras.Model:
    """Splits batch norms; a network converted before keeps its branches.

    Args:
      network: a functional Keras model.
      wanted: 2 or 3, branches for networks that are not split yet.

    Returns:
      A copy of the network.

    Raises:
      ValueError: if the network has another number of branches, above 1.
    """
    branches = conversion.number_of_branches(network)
    if branches not in (None, 1, wanted):
        names = ", ".join(SplitBatchNormalization.NAMES[wanted])
        raise ValueError(
            f"Expected split batch norms with {wanted} branches ({names}), or "
            f"1 that all parts of a batch share; the network's have "
            f"{branches}. Merge them: merge_batch_norm(network)."
        )
    return conversion.split_with_fast_stem(network, branches or wanted)
