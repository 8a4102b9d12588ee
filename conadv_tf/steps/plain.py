"""Steps in sequence: plain training, and DisAdv (attack, then update)."""

import dataclasses

import tensorflow as tf

from conadv_tf.steps.batch import Batch
from conadv_tf.steps.microbatched import MicrobatchedStep
from conadv_tf.steps.runner import StepRunner
from conadv_tf.steps.step import check_fraction
from conadv_tf.steps.step import check_weight


class PlainRunner(StepRunner):
    """Updates the weights by each batch."""

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Executes one training step of one replica."""
        return self.update(batch)


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Plain(MicrobatchedStep):
    """Plain training: no attack, one batch norm branch.

    The step is Keras's own, except that updates with a gradient that is not
    finite are skipped.

    Attributes:
      microbatches: number of batches of the dataset per update, >= 1.

    Raises:
      ValueError: if `microbatches` is no integer >= 1.

    Example:
      >>> ca.Plain(microbatches=4)
      Plain(microbatches=4)
    """

    runner = PlainRunner
    requires_attack = False


class SequentialRunner(StepRunner):
    """Attacks each batch with the current weights, then trains on it."""

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Executes one training step of one replica."""
        adversarial = self.attack(self.context.network, batch)
        return self.update(batch.with_adversarial(adversarial))


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Sequential(MicrobatchedStep):
    """DisAdv: attack with the current weights, then update.

    The attack lengthens the dependency chain of the step, because the update
    waits for it.

    Attributes:
      fraction: share of each local batch that is attacked, in (0, 1]; the
        first images. Each sub-batch keeps its share of the loss. Shuffle the
        data.
      weight: weight w >= 0 of the adversarial loss; the other losses have
        weight 1: (clean + w adversarial) / (1 + w).
      microbatches: number of batches of the dataset per update, >= 1.

    Raises:
      ValueError: if an option has an invalid value.

    Example:
      >>> ca.Sequential(weight=0.5)
      Sequential(microbatches=1, fraction=1.0, weight=0.5)
    """

    fraction: float = 1.0
    weight: float = 1.0
    runner = SequentialRunner
    staleness = 0

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        check_fraction(self.fraction)
        check_weight(self.weight)
