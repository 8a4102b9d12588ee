"""The plain containers of a training step's state."""

import dataclasses
from typing import Any
from typing import Optional

import tensorflow as tf


class BranchMetrics:
    """Running means of what `fit` logs about the parts of a batch.

    Args:
      views: 1 or 2; with 2 there is an augmented part.
    """

    def __init__(self, views=1):
        parts = ("clean", "augmented", "adversarial")
        self.losses = {
            part: tf.keras.metrics.Mean(name=f"{part}_loss")
            for part in (parts if views == 2 else (parts[0], parts[2]))
        }
        self.adversarial_accuracy = tf.keras.metrics.Mean(
            name="adversarial_accuracy"
        )


@dataclasses.dataclass
class StepState:
    """What `train_step` keeps besides the weights; not tracked by Keras.

    update: `GuardedUpdate`; None before the model is compiled.
    microbatches: `MicroBatches`, or None.
    shadow: `ShadowWeights`, or None.
    attack_loss: callable (labels, logits) -> scalar that attacks climb.
    decision_boundary: see `objectives.decision_boundary`.
    metrics: `BranchMetrics`, or None without an attack.
    step: int64 local variable, counts attacks; keys their randomness.
    out_of_range: int32 local variable, images outside the value range.
    pending: the current `PendingBatch`; one for each kind of data is kept.
    batch_size_hint: local batch size, where `fit` knows it.
    pending_to_restore: {name: values} for the pending batch of a checkpoint,
      until the first batch shows the kind of data; or None.
    labels: TensorSpec of a local batch of labels, once a step is traced.
    """

    update: Optional[Any] = None
    microbatches: Optional[Any] = None
    shadow: Optional[Any] = None
    attack_loss: Optional[Any] = None
    decision_boundary: float = 0.0
    metrics: Optional[BranchMetrics] = None
    step: Optional[Any] = None
    out_of_range: Optional[Any] = None
    pending: Optional[Any] = None
    pending_by_spec: dict = dataclasses.field(default_factory=dict)
    batch_size_hint: Optional[int] = None
    pending_to_restore: Optional[dict] = None
    labels: Optional[Any] = None

    def branch_metrics(self):
        """The metrics of the parts of a batch, as a list."""
        if self.metrics is None:
            return []
        return [
            *self.metrics.losses.values(),
            self.metrics.adversarial_accuracy,
        ]
