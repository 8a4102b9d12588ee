"""Algorithm 1: the attack on the next batch beside the update by this one."""

from typing import Any

import tensorflow as tf

from conadv_tf.steps.attack_pass import AttackPass
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch import spec_of_first
from conadv_tf.steps.batch_spec import BatchSpec
from conadv_tf.steps.options import Options
from conadv_tf.steps.pending_batch import PendingBatch
from conadv_tf.steps.pipelined import PipelinedStep
from conadv_tf.steps.shadow_weights import ShadowWeights


class ConcurrentStep(PipelinedStep):
    """ConAdv: an attack pass of its own, with weights tau updates old.

    Algorithm 1 of Liu et al. 2022 (arXiv 2106.00221). A step attacks the batch
    it receives and trains on the one before it. While nothing is pending it
    trains on the batch it receives with a zero perturbation.

    Args:
      model: a compiled `ConAdvModel` with an attack and staleness tau >= 1.
      loss: what `attacks.loss.single_loss` returned.
    """

    attack: AttackPass
    shadow: ShadowWeights
    # Each step begins with a refresh of the shadow.
    unsaved = (*PipelinedStep.unsaved, "shadow")

    def __init__(self, model: tf.keras.Model, loss: Any) -> None:
        super().__init__(model, loss)
        self.shadow = ShadowWeights(model.network, model.staleness)

    @staticmethod
    def is_asked_for(options: Options) -> bool:
        """With an attack and stale weights."""
        return options.attack is not None and bool(options.staleness)

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """See `Step.__call__`."""
        shadow, pending = self.shadow, self.buffers
        age = pending.age_after(batch)
        shadow.refresh(age)  # theta_t, or older for tau > 1.
        current = pending.take(age, batch)  # B_t and x_hat(theta_t-tau).
        # The next two lines share no path in the graph: they run at once.
        adversarial = self.attack(shadow.network, batch)
        logs = self.update(current)
        pending.put(batch.attacked(adversarial))  # B_t+1 and its x_hat.
        return logs

    def _new_buffers(self, spec: BatchSpec, static: bool) -> PendingBatch:
        images = tf.TensorSpec(spec.images.shape, tf.float32)
        return PendingBatch(
            {
                "images": images,
                "labels": spec.labels,
                "sample_weight": spec.sample_weight,
                "augmented": None if spec.augmented is None else images,
                "adversarial": spec_of_first(
                    images, self._model.adversarial_fraction
                ),
            },
            images.shape[0] if static else None,
        )
