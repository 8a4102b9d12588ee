"""The plain containers of a training step's state."""

import tensorflow as tf


class StepState:
    """What `train_step` keeps besides the weights; not tracked by Keras.

    Args:
      attack_loss: callable (labels, logits) -> scalar that attacks climb.
      decision_boundary: see `objectives.decision_boundary`.
      metrics: `BranchMetrics`.
      shadow: `ShadowWeights`, or None.
      step: int64 local variable, counts attacks; keys their randomness.
      out_of_range: int32 local variable, images outside the value range.
    """

    def __init__(
        self,
        attack_loss=None,
        decision_boundary=0.0,
        metrics=None,
        shadow=None,
        step=None,
        out_of_range=None,
    ):
        self.attack_loss = attack_loss
        self.decision_boundary = decision_boundary
        self.metrics = metrics
        self.shadow = shadow
        self.step = step
        self.out_of_range = out_of_range
        self.pending = None
        self.pending_by_spec = {}
        self.batch_size_hint = None

    def branch_metrics(self):
        """The metrics of the parts of a batch, as a list."""
        if self.metrics is None:
            return []
        return [
            *self.metrics.losses.values(),
            self.metrics.adversarial_accuracy,
        ]


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
