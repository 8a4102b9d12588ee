"""The loss of a batch and the logs of `fit`."""

import abc
from collections.abc import Sequence
import contextlib
import dataclasses
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_outputs
from conadv_tf.batch_norm import batch_norm_branch
from conadv_tf.networks import image_gradient_of
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch import size_of
from conadv_tf.steps.batch import SubBatch
from conadv_tf.steps.context import KerasMetrics

# The batch norm branch of each sub-batch, in the order of the branches.
BRANCHES = {
    "clean": "main",
    "augmented": "augmented",
    "start": "auxiliary",
    "adversarial": "auxiliary",
}

# Name of the metric of the composite loss; Keras's own metric is called "loss".
LOSS_METRIC = "training_loss"


def loss_shares(
    views: int, weight: float, auxiliary: Sequence[str]
) -> dict[str, float]:
    """Returns the share of each sub-batch in the loss; they sum to 1.

    Args:
      views: 1, or 2 with an augmented sub-batch.
      weight: weight of all auxiliary sub-batches together, where each other
        sub-batch has weight 1.
      auxiliary: names of the sub-batches that go through the auxiliary batch
        norm. They have equal shares.

    Returns:
      {name of the sub-batch: float}.
    """
    weights = {"clean": 1.0, "augmented": 1.0}
    if views == 1:
        del weights["augmented"]
    for name in auxiliary:
        weights[name] = weight / len(auxiliary)
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


@dataclasses.dataclass(frozen=True)
class Outputs:
    """The result of the forward pass of a training batch.

    Attributes:
      sub_batches: {name: `SubBatch`}.
      loss: scalar, this replica's share of the sum over replicas.
      logits: {name: float32 [size, classes]}.
      losses: {name: scalar}; `loss` is their weighted mean.
    """

    sub_batches: dict[str, SubBatch]
    loss: tf.Tensor
    logits: dict[str, tf.Tensor]
    losses: dict[str, tf.Tensor]


class Loss(abc.ABC):
    """The loss of a batch, with its metrics.

    Attributes:
      shares: {name of a sub-batch: its share of the loss}.
      epoch_accuracy: `EpochAccuracy` that receives the clean images, or None.

    Args:
      network: functional network.
      metrics: the `KerasMetrics` of the model.
    """

    shares: dict[str, float] = {"clean": 1.0}
    epoch_accuracy: Any = None

    def __init__(self, network: tf.keras.Model, metrics: KerasMetrics) -> None:
        self._network = network
        self._metrics = metrics

    @abc.abstractmethod
    def __call__(self, sub_batches: dict[str, SubBatch]) -> Outputs:
        """Runs the forward pass in training mode; updates moving statistics.

        Args:
          sub_batches: sub-batches to train on, in the order of the branches.
        """

    def logs(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Updates all metrics and returns the logs of `fit`."""
        self.update_metrics(batch, outputs)
        clean, logits = outputs.sub_batches["clean"], outputs.logits["clean"]
        if self.epoch_accuracy is not None:
            self.epoch_accuracy.add(clean, logits)
        return self.complete_logs(
            self._metrics.compute_metrics(
                clean.images, clean.labels, logits, clean.sample_weight
            )
        )

    def _forward(self, images: tf.Tensor) -> tf.Tensor:
        # A network may return a dict with one entry.
        outputs = tf.nest.flatten(self._network(images, training=True))
        return keras_outputs.as_float32(outputs[0])

    def _compute_loss(self, each: SubBatch, logits: tf.Tensor) -> tf.Tensor:
        return self._metrics.compute_loss(
            each.images, each.labels, logits, each.sample_weight
        )

    def update_metrics(self, batch: Batch, outputs: Outputs) -> None:
        """Updates the metrics that Keras does not have."""
        return

    def complete_logs(self, logs: dict[str, Any]) -> dict[str, Any]:
        """Returns Keras's logs with the metrics that Keras does not have."""
        return logs

    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Returns the metrics that Keras does not have."""
        return []


class SingleLoss(Loss):
    """The loss of plain training: clean images, one batch norm branch."""

    def __call__(self, sub_batches: dict[str, SubBatch]) -> Outputs:
        """Runs the forward pass of the clean images."""
        clean = sub_batches["clean"]
        logits = self._forward(clean.images)
        loss = self._compute_loss(clean, logits)
        return Outputs(sub_batches, loss, {"clean": logits}, {"clean": loss})


class CompositeLoss(Loss):
    """Eq. (4): the weighted mean of the sub-batches' losses, in one pass.

    Each sub-batch goes through its branch of `BRANCHES`. The sub-batches of one
    branch form one batch for its batch norms.

    Create it under the strategy scope.

    Args:
      network: functional network with split batch norms, images to logits.
      metrics: the `KerasMetrics` of the model.
      shares: {name of a sub-batch: its share of the loss}.
      accuracy: the `ExampleAccuracy` of adversarial images, or None.
      num_replicas: number of replicas that share a global batch.
    """

    def __init__(
        self,
        network: tf.keras.Model,
        metrics: KerasMetrics,
        shares: dict[str, float],
        accuracy: Any,
        num_replicas: int,
    ) -> None:
        super().__init__(network, metrics)
        self.shares = shares
        self._accuracy = accuracy
        self._num_replicas = num_replicas
        self._loss = tf.keras.metrics.Mean(name=LOSS_METRIC)
        self._losses = {
            name: tf.keras.metrics.Mean(name=f"{name}_loss") for name in shares
        }
        self._adversarial_accuracy = tf.keras.metrics.Mean(
            name="adversarial_accuracy"
        )

    def __call__(self, sub_batches: dict[str, SubBatch]) -> Outputs:
        """Runs one forward pass over the given sub-batches.

        If sub-batches are missing, the loss is the share of those given.
        """
        sizes = _sizes(sub_batches)
        with _branches(sub_batches, sizes), _image_gradient(sub_batches):
            joined = self._forward(
                tf.concat([each.images for each in sub_batches.values()], 0)
            )
        logits = dict(
            zip(
                sub_batches,
                keras_outputs.split(joined, sizes or len(sub_batches)),
            )
        )
        losses = {
            name: self._compute_loss(each, logits[name])
            for name, each in sub_batches.items()
        }
        loss = tf.add_n([self.shares[name] * losses[name] for name in losses])
        return Outputs(sub_batches, loss, logits, losses)

    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Returns the metrics of the sub-batches."""
        means = [self._loss, *self._losses.values()]
        if self._accuracy is not None:
            means.append(self._adversarial_accuracy)
        return means

    def update_metrics(self, batch: Batch, outputs: Outputs) -> None:
        """Adds sub-batches of a batch to their metrics.

        Args:
          batch: the `Batch` that contains the sub-batches.
          outputs: the result of the call.
        """
        whole = tf.cast(tf.shape(batch.labels)[0], tf.float32)
        for name, each in outputs.sub_batches.items():
            loss = outputs.losses[name]
            if loss.shape.rank == 0:
                # Keras divides a replica's mean by the number of replicas.
                loss *= float(self._num_replicas)
            self._loss.update_state(loss, whole * self.shares[name])
            size = tf.cast(tf.shape(each.labels)[0], tf.float32)
            self._losses[name].update_state(loss, size)
        attacked = outputs.sub_batches.get("adversarial")
        if batch.labels.dtype == tf.string:
            self._accuracy = None  # Only the loss knows the classes.
        if attacked is not None and self._accuracy is not None:
            logits = outputs.logits["adversarial"]
            self._adversarial_accuracy.update_state(
                self._accuracy(attacked.labels, logits),
                attacked.sample_weight if self._accuracy.is_weighted else None,
            )

    def complete_logs(self, logs: dict[str, Any]) -> dict[str, tf.Tensor]:
        """Returns Keras's logs and the sub-batches', in the order of `fit`.

        Args:
          logs: results of Keras's metrics. Their `loss` is replaced, because
            it does not contain the shares.
        """
        logs.pop("loss")
        means = [self._loss, *self._losses.values()]
        results = {mean.name: mean.result() for mean in means}
        results = {"loss": results.pop(LOSS_METRIC), **results, **logs}
        if self._accuracy is not None:
            accuracy = self._adversarial_accuracy
            results[accuracy.name] = accuracy.result()
        return results


def _sizes(sub_batches: dict[str, SubBatch]) -> Optional[list[Any]]:
    """Returns the size of each sub-batch, or None if all sizes are equal."""
    sizes = [size_of(each.images) for each in sub_batches.values()]
    if all(isinstance(size, int) for size in sizes):
        return None if len(set(sizes)) == 1 else sizes
    # Dynamic sizes are equal where the labels are the same tensor.
    labels = {id(each.labels) for each in sub_batches.values()}
    return None if len(labels) == 1 else sizes


def _branches(
    sub_batches: dict[str, SubBatch], sizes: Optional[list[Any]]
) -> contextlib.AbstractContextManager[None]:
    """Routes the joined sub-batches through their batch norm branches."""
    branches = [BRANCHES[name] for name in sub_batches]
    if len(set(branches)) == 1:
        return batch_norm_branch(branches[0])
    if sizes is None and len(set(branches)) == len(branches):
        return batch_norm_branch("split", sizes=None)
    if sizes is None:
        first = next(iter(sub_batches.values()))
        sizes = [size_of(first.images)] * len(branches)
    totals: dict[str, Any] = {}
    for branch, size in zip(branches, sizes):
        totals[branch] = totals.get(branch, 0) + size
    return batch_norm_branch("split", sizes=list(totals.values()))


def _image_gradient(
    sub_batches: dict[str, SubBatch],
) -> contextlib.AbstractContextManager[None]:
    """Restricts the gradient by the joined images to the start images."""
    if "start" not in sub_batches:
        return contextlib.nullcontext()
    sizes = [size_of(each.images) for each in sub_batches.values()]
    index = list(sub_batches).index("start")
    first = sum(sizes[:index])
    return image_gradient_of(slice(first, first + sizes[index]), sum(sizes))
