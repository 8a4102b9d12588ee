"""The loss of a batch, part by part, and what `fit` logs of it."""

import abc
from collections.abc import Sequence
import contextlib
import dataclasses
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.batch_norm import batch_norm_branch
from conadv_tf.networks import image_gradient_of
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch import Part
from conadv_tf.steps.batch import size_of

# The batch norm branch of each part, in the order of the branches.
BRANCHES = {
    "clean": "main",
    "augmented": "augmented",
    "start": "auxiliary",
    "adversarial": "auxiliary",
}

# How Keras keeps the loss of a whole batch apart from its own, of one part.
LOSS_METRIC = "training_loss"


def part_shares(
    views: int, adversarial_weight: float, auxiliary: Sequence[str]
) -> dict[str, float]:
    """The share of each part of a batch in the loss; they add up to 1.

    Args:
      views: 1 or 2; with 2 there is an augmented part.
      adversarial_weight: weight of the auxiliary parts together where each
        of the others has 1.
      auxiliary: names of the parts that go through the auxiliary batch norm;
        they have equal shares.

    Returns:
      {part: float}.
    """
    weights = {"clean": 1.0, "augmented": 1.0}
    if views == 1:
        del weights["augmented"]
    for name in auxiliary:
        weights[name] = adversarial_weight / len(auxiliary)
    whole = sum(weights.values())
    return {part: weight / whole for part, weight in weights.items()}


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What the forward pass of a training batch gave.

    parts: {name: `Part`}, the images and labels.
    loss: scalar, this replica's share of the sum over replicas.
    logits: {name: float32 [part, classes]}.
    losses: {name: scalar}, which `loss` is the weighted mean of.
    """

    parts: dict[str, Part]
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
    def __call__(self, parts: dict[str, Part]) -> Outputs:
        """The forward pass, in training mode; moves moving statistics.

        Args:
          parts: what is trained on, in the order of the branches.
        """

    @abc.abstractmethod
    def logs(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Updates the metrics; returns the logs of `fit`.

        Args:
          batch: what the parts are of.
          outputs: what the call returned.
        """

    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """The metrics besides Keras's own."""
        return []

    def of_part(self, part: Part, logits: tf.Tensor) -> tf.Tensor:
        """The compiled loss of one part, with regularization penalties."""
        return self._model.compute_loss(
            part.images, part.labels, logits, part.sample_weight
        )

    def _keras_metrics(self, outputs: Outputs) -> dict[str, Any]:
        clean = outputs.parts["clean"]
        return self._model.compute_metrics(
            clean.images,
            clean.labels,
            outputs.logits["clean"],
            clean.sample_weight,
        )


class CleanLoss(Loss):
    """Plain training: the images as they come, one batch norm."""

    def __call__(self, parts: dict[str, Part]) -> Outputs:
        """The forward pass of the only part; see `Loss`."""
        clean = parts["clean"]
        logits = self._model.network(clean.images, training=True)
        logits = tf.cast(logits, tf.float32)
        loss = self.of_part(clean, logits)
        return Outputs(parts, loss, {"clean": logits}, {"clean": loss})

    def logs(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Keras's own."""
        return self._keras_metrics(outputs)


class PartsLoss(Loss):
    """Eq. (4): the weighted mean of the parts' losses, in one pass.

    Each part goes through its own of `BRANCHES`; those of one branch are one
    batch to its batch norms.

    Create it under the strategy scope.

    Args:
      model: a compiled `ConAdvModel` with an attack.
      loss: what `attacks.loss.single_loss` returned.
      auxiliary: names of the parts that go through the auxiliary batch norm.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        loss: Any,
        auxiliary: Sequence[str] = ("adversarial",),
    ) -> None:
        super().__init__(model)
        self.shares = part_shares(
            model.views, model.adversarial_weight, auxiliary
        )
        self._accuracy = model.part_accuracy
        self._loss = tf.keras.metrics.Mean(name=LOSS_METRIC)
        self._losses = {
            part: tf.keras.metrics.Mean(name=f"{part}_loss")
            for part in self.shares
        }
        self._adversarial_accuracy = tf.keras.metrics.Mean(
            name="adversarial_accuracy"
        )

    def __call__(self, parts: dict[str, Part]) -> Outputs:
        """The forward pass of all parts in one; see `Loss`.

        Some of the parts do, too: phased placement has a few at a time. The
        loss is their share of the whole then.
        """
        sizes = _sizes(parts)
        with _branches(parts, sizes), _image_gradient(parts):
            joined = self._model.network(
                tf.concat([part.images for part in parts.values()], axis=0),
                training=True,
            )
        joined = tf.cast(joined, tf.float32)
        split = tf.split(joined, sizes or len(parts), axis=0)
        logits = dict(zip(parts, split))
        losses = {
            name: self.of_part(part, logits[name])
            for name, part in parts.items()
        }
        loss = tf.add_n([self.shares[name] * losses[name] for name in parts])
        return Outputs(parts, loss, logits, losses)

    def logs(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Keras's own of the clean part, and those of all parts."""
        self.record(batch, outputs)
        return self.with_parts(self._keras_metrics(outputs))

    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Those of the parts."""
        means = [self._loss, *self._losses.values()]
        if self._accuracy is not None:
            means.append(self._adversarial_accuracy)
        return means

    def record(self, batch: Batch, outputs: Outputs) -> None:
        """Adds parts of a batch to the metrics.

        Args:
          batch: the `Batch` that they are of.
          outputs: what the call returned.
        """
        # Keras divides a replica's loss by the number of replicas.
        replicas = float(self._model.distribute_strategy.num_replicas_in_sync)
        whole = tf.cast(tf.shape(batch.labels)[0], tf.float32)
        for name, part in outputs.parts.items():
            loss = outputs.losses[name] * replicas
            self._loss.update_state(loss, whole * self.shares[name])
            size = tf.cast(tf.shape(part.labels)[0], tf.float32)
            self._losses[name].update_state(loss, size)
        attacked = outputs.parts.get("adversarial")
        if attacked is not None and self._accuracy is not None:
            logits = outputs.logits["adversarial"]
            self._adversarial_accuracy.update_state(
                self._accuracy(attacked.labels, logits), attacked.sample_weight
            )

    def with_parts(self, logs: dict[str, Any]) -> dict[str, tf.Tensor]:
        """Keras's logs and those of the parts, in the order `fit` has them.

        Args:
          logs: results of Keras's own metrics, whose `loss` knows of no
            shares.
        """
        logs.pop("loss")
        results = {
            "loss": self._loss.result(),
            **{mean.name: mean.result() for mean in self._losses.values()},
            **logs,
        }
        if self._accuracy is not None:
            accuracy = self._adversarial_accuracy
            results[accuracy.name] = accuracy.result()
        return results


def _sizes(parts: dict[str, Part]) -> Optional[list[Any]]:
    """Images of each part, ints or scalars; None where all have as many."""
    sizes = [size_of(part.images) for part in parts.values()]
    if all(isinstance(size, int) for size in sizes):
        return None if len(set(sizes)) == 1 else sizes
    # Where only a run tells the size, those of the same labels are equal.
    is_one = len({id(part.labels) for part in parts.values()}) == 1
    return None if is_one else sizes


def _branches(
    parts: dict[str, Part], sizes: Optional[list[Any]]
) -> contextlib.AbstractContextManager[None]:
    """The batch norm branches that a joined batch goes through."""
    branches = {BRANCHES[name] for name in parts}
    if len(branches) == 1:
        return batch_norm_branch(branches.pop())
    return batch_norm_branch("split", sizes=_branch_sizes(parts, sizes))


def _image_gradient(
    parts: dict[str, Part],
) -> contextlib.AbstractContextManager[None]:
    """Of the joined images, the start's gradient is wanted and no other's."""
    first: Any = 0
    where = None
    for name, part in parts.items():
        size = size_of(part.images)
        if name == "start":
            where = slice(first, first + size)
        first += size
    return image_gradient_of(where, first)


def _branch_sizes(
    parts: dict[str, Part], sizes: Optional[list[Any]]
) -> Optional[list[Any]]:
    """Images of each batch norm branch; None where all have as many."""
    branches = [BRANCHES[name] for name in parts]
    if sizes is None and len(set(branches)) == len(branches):
        return None
    if sizes is None:
        sizes = [size_of(next(iter(parts.values())).images)] * len(parts)
    totals: dict[str, Any] = {}
    for branch, size in zip(branches, sizes):
        totals[branch] = totals.get(branch, 0) + size
    return list(totals.values())
