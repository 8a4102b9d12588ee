"""Algorithm 1: attacks the next batch while it trains on the pending one."""

import dataclasses
from typing import Any

import tensorflow as tf

from conadv_tf.steps.batch import attacked_spec
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch_spec import BatchSpec
from conadv_tf.steps.context import TrainingContext
from conadv_tf.steps.microbatched import MicrobatchedStep
from conadv_tf.steps.pending import PendingBatch
from conadv_tf.steps.pending import PipelinedRunner
from conadv_tf.steps.shadow_weights import ShadowWeights
from conadv_tf.steps.step import check_fraction
from conadv_tf.steps.step import check_integer
from conadv_tf.steps.step import check_weight


class ConcurrentRunner(PipelinedRunner):
    """Attacks the received batch while it trains on the pending one.

    While no batch is pending, it trains on the received batch with a zero
    perturbation.

    Args:
      step: the `Concurrent` step with the options.
      context: the `TrainingContext`.
    """

    shadow: ShadowWeights
    # Each step begins with a refresh of the shadow weights.
    unsaved = (*PipelinedRunner.unsaved, "shadow")

    def __init__(self, step: Any, context: TrainingContext) -> None:
        super().__init__(step, context)
        self.shadow = ShadowWeights(context.network, step.staleness)

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Executes one training step of one replica."""
        shadow, pending = self.shadow, self.buffers
        steps = pending.read_steps(batch)
        shadow.refresh(steps)  # theta_t, or older for tau > 1.
        current = pending.take(steps, batch)  # B_t and x_hat(theta_t-tau).
        # The next two lines share no path in the graph: they run at once.
        adversarial = self.attack(shadow.network, batch)
        logs = self.update(current)
        pending.put(batch.with_adversarial(adversarial))  # B_t+1 and its x_hat.
        return logs

    def new_buffers(self, spec: BatchSpec, static: bool) -> PendingBatch:
        """Returns buffers for a whole batch and its adversarial images."""
        images = tf.TensorSpec(spec.images.shape, tf.float32)
        return PendingBatch(
            {
                "images": images,
                "labels": spec.labels,
                "sample_weight": spec.sample_weight,
                "augmented": None if spec.augmented is None else images,
                "adversarial": attacked_spec(images, self.step.fraction),
            },
            images.shape[0] if static else None,
        )


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Concurrent(MicrobatchedStep):
    """ConAdv, Algorithm 1 of Liu et al. 2022 (arXiv 2106.00221).

    A step attacks the batch that it receives, with weights that are tau updates
    old, and trains on the batch before it. The attack and the update do not
    depend on each other, so that with idle processors the step is as short as
    plain training. The arithmetic is 1 + 5/3 f times that of plain training
    for the fraction f.

    Attributes:
      staleness: tau >= 1, the number of updates between the weights of an
        attack and the update that trains on its result.
      fraction: share f of each local batch that is attacked, in (0, 1]; the
        first images. Each sub-batch keeps its share of the loss. Shuffle the
        data.
      weight: weight w >= 0 of the adversarial loss; the other losses have
        weight 1. The loss is (clean + w adversarial) / (1 + w), or with two
        views (clean + augmented + w adversarial) / (2 + w). The paper uses 1.
      microbatches: number of batches of the dataset per update, >= 1.

    Raises:
      ValueError: if an option has an invalid value.

    Example:
      >>> ca.Concurrent(staleness=2, fraction=0.5)
      Concurrent(microbatches=1, staleness=2, fraction=0.5, weight=1.0)
    """

    staleness: int = 1
    fraction: float = 1.0
    weight: float = 1.0
    runner = ConcurrentRunner

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        check_integer(
            "staleness",
            self.staleness,
            1,
            " (to attack with the current weights pass step=ca.Sequential())",
        )
        check_fraction(self.fraction)
        check_weight(self.weight)
