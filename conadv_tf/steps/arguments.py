"""The checks of `ConAdvModel`'s arguments."""

import math

import tensorflow as tf

from conadv_tf.batch_norm import SplitBatchNormalization
from conadv_tf.networks import conversion

PLACEMENTS = ("local", "phased")


def with_branches(network, wanted):
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
    return conversion.for_attacks(network, branches or wanted)


def check(network, attack, staleness, seed, views, microbatches):
    """Raises a ValueError for arguments that make no sense."""
    conversion.check_functional(network)
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise ValueError(
            "Expected a network with one input (images) and one output "
            f"(logits); received {len(network.inputs)} inputs and "
            f"{len(network.outputs)} outputs."
        )
    if not _is_integer(staleness) or staleness < 0:
        raise ValueError(
            "Expected staleness to be an integer >= 0 (0: DisAdv, 1: ConAdv); "
            f"received {staleness!r}."
        )
    if not _is_integer(microbatches) or microbatches < 1:
        raise ValueError(
            "Expected microbatches to be an integer >= 1; received "
            f"{microbatches!r}."
        )
    if not _is_integer(seed):
        raise ValueError(f"Expected an integer seed; received {seed!r}.")
    if views not in (1, 2) or (views == 2 and attack is None):
        raise ValueError(
            "Expected views to be 1, or 2 (clean and augmented images) with "
            f"an attack; received views={views!r} and attack={attack!r}. Plain "
            "training on augmented images has views=1 and gets only those."
        )
    if attack is not None and not (
        callable(attack) and hasattr(attack, "value_range")
    ):
        raise ValueError(
            "Expected attack to be ca.PGD(...), ca.FGSM(...), None, or a "
            "callable like them with a value_range attribute; received "
            f"{attack!r}."
        )


def check_weight(adversarial_weight):
    """Raises a ValueError for what is no weight of a loss."""
    if (
        isinstance(adversarial_weight, bool)
        or not isinstance(adversarial_weight, (int, float))
        or not 0 <= adversarial_weight < math.inf
    ):
        raise ValueError(
            "Expected adversarial_weight to be a finite number >= 0 (1: the "
            "adversarial loss counts as much as the clean one); received "
            f"{adversarial_weight!r}."
        )


def check_placement(placement, network, attack, staleness, views, microbatches):
    """Raises a ValueError for a placement that does not fit the rest."""
    if placement not in PLACEMENTS:
        raise ValueError(
            f"Expected placement to be one of {PLACEMENTS}; received "
            f"{placement!r}."
        )
    if placement == "local":
        return
    if attack is None:
        raise ValueError(
            'Expected an attack with placement="phased", which has replicas '
            "that do nothing but attack; received None. Plain training has "
            'placement="local".'
        )
    for name, value, reason in (
        (
            "staleness",
            staleness,
            "what a replica attacks it trains on in its next step",
        ),
        ("views", views, "a replica's turns are attack, adversarial, clean"),
        ("microbatches", microbatches, "each step makes an update"),
    ):
        if value != 1:
            raise ValueError(
                f'Expected {name}=1 with placement="phased": {reason}. '
                f'Received {value!r}; placement="local" takes it.'
            )
    synchronized = [
        layer.name
        for layer in network._flatten_layers()
        if getattr(layer, "synchronized", False)
        or isinstance(
            layer, tf.keras.layers.experimental.SyncBatchNormalization
        )
    ]
    if synchronized:
        raise ValueError(
            "Expected batch norms with statistics per replica in phased "
            "placement, where only a third of the replicas runs a branch at a "
            f"time; {synchronized} are synchronized. A local batch is three "
            "times the share there: statistics of one replica may do."
        )


def _is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)
