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
        """The metrics of the two halves, as a list."""
        return [] if self.metrics is None else list(vars(self.metrics).values())


class BranchMetrics:
    """Running means of what `fit` logs about the two halves."""

    def __init__(self):
        self.clean_loss = tf.keras.metrics.Mean(name="clean_loss")
        self.adversarial_loss = tf.keras.metrics.Mean(name="adversarial_loss")
        self.adversarial_accuracy = tf.keras.metrics.Mean(
            name="adversarial_accuracy"
        )
