"""What a training step keeps besides the weights."""

import dataclasses
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.attacks import labels as classification
from conadv_tf.attacks import loss as objectives
from conadv_tf.distribution import local_variable
from conadv_tf.networks import variables
from conadv_tf.steps.microbatches import MicroBatches
from conadv_tf.steps.shadow_weights import ShadowWeights
from conadv_tf.steps.update import GuardedUpdate


def part_shares(views, adversarial_weight):
    """The share of each part of a batch in the loss; they add up to 1.

    Args:
      views: 1 or 2; with 2 there is an augmented part.
      adversarial_weight: weight of the adversarial part where each of the
        others has 1.

    Returns:
      {"clean", "augmented" or "adversarial": float}.
    """
    weights = {"clean": 1.0, "augmented": 1.0}
    if views == 1:
        del weights["augmented"]
    weights["adversarial"] = adversarial_weight
    whole = sum(weights.values())
    return {part: weight / whole for part, weight in weights.items()}


class BranchMetrics:
    """Running means of what `fit` logs about the parts of a batch.

    Args:
      shares: {part: its share of the loss}; the parts are "clean",
        "augmented" and "adversarial".
    """

    def __init__(self, shares):
        self._shares = shares
        # Another name than that of Keras's loss.
        self.loss = tf.keras.metrics.Mean(name="training_loss")
        self.losses = {
            part: tf.keras.metrics.Mean(name=f"{part}_loss") for part in shares
        }
        self.adversarial_accuracy = tf.keras.metrics.Mean(
            name="adversarial_accuracy"
        )

    def record(self, part, batch, logits, loss, decision_boundary):
        """Adds one part of a batch.

        Args:
          part: one of the parts.
          batch: the `Batch`.
          logits: of its images of that part.
          loss: scalar, their mean loss.
          decision_boundary: see `objectives.decision_boundary`.
        """
        size = tf.cast(tf.shape(batch.labels)[0], tf.float32)
        self.losses[part].update_state(loss, size)
        self.loss.update_state(loss, size * self._shares[part])
        if part == "adversarial":
            self.adversarial_accuracy.update_state(
                classification.correct(batch.labels, logits, decision_boundary),
                batch.sample_weight,
            )

    def with_parts(self, logs):
        """Keras's logs and those of the parts, in the order `fit` has them.

        Args:
          logs: dict, results of Keras's own metrics, whose `loss` knows of no
            shares.
        """
        logs.pop("loss")
        return {
            "loss": self.loss.result(),
            **{mean.name: mean.result() for mean in self.losses.values()},
            **logs,
            "adversarial_accuracy": self.adversarial_accuracy.result(),
        }


@dataclasses.dataclass
class StepState:
    """What `train_step` keeps besides the weights; not tracked by Keras.

    update: `GuardedUpdate`; None before the model is compiled.
    microbatches: `MicroBatches`, or None.
    shadow: `ShadowWeights`, or None.
    attack_loss: callable (labels, logits) -> scalar that attacks climb.
    decision_boundary: see `objectives.decision_boundary`.
    shares: {part of a batch: its share of the loss}; empty without an attack.
    metrics: `BranchMetrics`, or None without an attack.
    step: int64 local variable, counts attacks; keys their randomness.
    out_of_range: int32 local variable, images outside the value range.
    pending: the current `PendingBatch` or, in phased placement,
      `PhasedBatches`; one for each kind of data is kept.
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
    shares: dict = dataclasses.field(default_factory=dict)
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
            self.metrics.loss,
            *self.metrics.losses.values(),
            self.metrics.adversarial_accuracy,
        ]


def new_state(model, loss):
    """The state of a model that is compiled; under its strategy scope.

    Args:
      model: a `PipelinedModel`.
      loss: what `objectives.single_loss` returned.

    Returns:
      `StepState`, with nothing pending.
    """
    state = StepState()
    if model.microbatches > 1:
        state.microbatches = MicroBatches(
            model.network.trainable_variables,
            variables.moving_statistics(model.network),
            model.microbatches,
        )
    state.update = GuardedUpdate(model.network, state.microbatches)
    if model.attack is None:
        return state
    state.attack_loss = objectives.attack_loss(loss)
    state.decision_boundary = objectives.decision_boundary(model.network, loss)
    state.shares = part_shares(model.views, model.adversarial_weight)
    state.metrics = BranchMetrics(state.shares)
    state.step = local_variable(tf.constant(0, tf.int64), "step")
    state.out_of_range = local_variable(
        0, "out_of_range", aggregation=tf.VariableAggregation.SUM
    )
    if model.has_stale_weights:
        state.shadow = ShadowWeights(model.network, model.staleness)
    return state
