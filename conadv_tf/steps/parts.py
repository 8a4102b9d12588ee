"""The loss of a batch, part by part, and what `fit` logs of it."""

import abc
import dataclasses
from typing import Any

import tensorflow as tf

from conadv_tf.attacks import labels as labels_lib
from conadv_tf.attacks import loss as loss_lib
from conadv_tf.batch_norm import batch_norm_branch
from conadv_tf.steps.batch import Batch


def part_shares(views: int, adversarial_weight: float) -> dict[str, float]:
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


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What the forward pass of a training batch gave.

    loss: scalar, this replica's share of the sum over replicas.
    logits: {part: float32 [batch, classes]}.
    losses: {part: scalar}, which `loss` is the weighted mean of.
    """

    loss: tf.Tensor
    logits: dict[str, tf.Tensor]
    losses: dict[str, tf.Tensor]


class Loss(abc.ABC):
    """The loss of a batch with its metrics.

    Args:
      model: a compiled `ConAdvModel`.
    """

    def __init__(self, model: tf.keras.Model) -> None:
        self._model = model

    @abc.abstractmethod
    def __call__(self, batch: Batch) -> Outputs:
        """The forward pass, in training mode; moves moving statistics."""

    @abc.abstractmethod
    def logs(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Updates the metrics; returns the logs of `fit`."""

    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """The metrics besides Keras's own."""
        return []

    def of_part(self, batch: Batch, logits: tf.Tensor) -> tf.Tensor:
        """The compiled loss of one part, with regularization penalties."""
        return self._model.compute_loss(
            batch.images, batch.labels, logits, batch.sample_weight
        )

    def _keras_metrics(self, batch: Batch, logits: tf.Tensor) -> dict[str, Any]:
        return self._model.compute_metrics(
            batch.images, batch.labels, logits, batch.sample_weight
        )


class CleanLoss(Loss):
    """Plain training: the images as they come, one batch norm."""

    def __call__(self, batch: Batch) -> Outputs:
        """The forward pass; see `Loss`."""
        logits = self._model.network(batch.images, training=True)
        logits = tf.cast(logits, tf.float32)
        loss = self.of_part(batch, logits)
        return Outputs(loss, {"clean": logits}, {"clean": loss})

    def logs(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Keras's own."""
        return self._keras_metrics(batch, outputs.logits["clean"])


class PartsLoss(Loss):
    """Eq. (4): the weighted mean of the parts' losses, in one pass.

    Clean images go through the main batch norm, augmented ones through their
    own, adversarial ones through the auxiliary one.

    Create it under the strategy scope.

    Args:
      model: a compiled `ConAdvModel` with an attack.
      loss: what `attacks.loss.single_loss` returned.
    """

    def __init__(self, model: tf.keras.Model, loss: Any) -> None:
        super().__init__(model)
        self.shares = part_shares(model.views, model.adversarial_weight)
        self._decision_boundary = loss_lib.decision_boundary(
            model.network, loss
        )
        # Another name than that of Keras's loss.
        self._loss = tf.keras.metrics.Mean(name="training_loss")
        self._losses = {
            part: tf.keras.metrics.Mean(name=f"{part}_loss")
            for part in self.shares
        }
        self._adversarial_accuracy = tf.keras.metrics.Mean(
            name="adversarial_accuracy"
        )

    def __call__(self, batch: Batch) -> Outputs:
        """The forward pass of all parts; see `Loss`."""
        parts = batch.parts()
        with batch_norm_branch("split"):
            joined = self._model.network(
                tf.concat(list(parts.values()), axis=0), training=True
            )
        split = tf.split(tf.cast(joined, tf.float32), len(parts), axis=0)
        logits = dict(zip(parts, split))
        losses = {
            part: self.of_part(batch, each) for part, each in logits.items()
        }
        loss = tf.add_n([self.shares[part] * losses[part] for part in parts])
        return Outputs(loss, logits, losses)

    def logs(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Keras's own of the clean part, and those of all parts."""
        for part, loss in outputs.losses.items():
            self.record(part, batch, outputs.logits[part], loss)
        return self.with_parts(
            self._keras_metrics(batch, outputs.logits["clean"])
        )

    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Those of the parts."""
        return [self._loss, *self._losses.values(), self._adversarial_accuracy]

    def record(
        self, part: str, batch: Batch, logits: tf.Tensor, loss: tf.Tensor
    ) -> None:
        """Adds one part of a batch to the metrics.

        Args:
          part: "clean", "augmented" or "adversarial".
          batch: the `Batch`.
          logits: of its images of that part.
          loss: scalar, what `of_part` returned.
        """
        # Keras divides a replica's loss by the number of replicas.
        loss *= float(self._model.distribute_strategy.num_replicas_in_sync)
        size = tf.cast(tf.shape(batch.labels)[0], tf.float32)
        self._losses[part].update_state(loss, size)
        self._loss.update_state(loss, size * self.shares[part])
        if part == "adversarial":
            self._adversarial_accuracy.update_state(
                labels_lib.correct(
                    batch.labels, logits, self._decision_boundary
                ),
                batch.sample_weight,
            )

    def with_parts(self, logs: dict[str, Any]) -> dict[str, tf.Tensor]:
        """Keras's logs and those of the parts, in the order `fit` has them.

        Args:
          logs: results of Keras's own metrics, whose `loss` knows of no
            shares.
        """
        logs.pop("loss")
        return {
            "loss": self._loss.result(),
            **{mean.name: mean.result() for mean in self._losses.values()},
            **logs,
            "adversarial_accuracy": self._adversarial_accuracy.result(),
        }
