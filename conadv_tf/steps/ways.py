"""The ways to step, and which of them options ask for."""

import tensorflow as tf

from conadv_tf.networks import check_functional
from conadv_tf.steps.concurrent import ConcurrentStep
from conadv_tf.steps.microbatched import MicroBatchedStep
from conadv_tf.steps.options import Options
from conadv_tf.steps.phased import PhasedStep
from conadv_tf.steps.phased_pairs import PhasedPairsStep
from conadv_tf.steps.plain import PlainStep
from conadv_tf.steps.protocol import Step
from conadv_tf.steps.sequential import SequentialStep
from conadv_tf.steps.shared_pass import SharedPassStep

# The first that is asked for is taken: the particular before the general.
WAYS: tuple[type[Step], ...] = (
    PhasedPairsStep,
    PhasedStep,
    SharedPassStep,
    MicroBatchedStep,
    PlainStep,
    SequentialStep,
    ConcurrentStep,
)


def way_to_step(options: Options, network: tf.keras.Model) -> type[Step]:
    """The class of step that options ask for.

    Args:
      options: `Options`.
      network: functional network, as the user passed it.

    Raises:
      ValueError: if they do not go together.
    """
    check_functional(network)
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise ValueError(
            "Expected a network with one input (images) and one output "
            f"(logits); received {len(network.inputs)} inputs and "
            f"{len(network.outputs)} outputs."
        )
    for way in WAYS:
        if way.is_asked_for(options):
            way.check(options, network)
            return way
    raise ValueError(f"No way to step is known for {options}.")
