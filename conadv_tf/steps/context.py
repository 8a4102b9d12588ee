"""What a training step uses of a compiled model."""

from collections.abc import Callable
import dataclasses
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.attacks import loss as loss_lib
from conadv_tf.steps import batch_spec
from conadv_tf.steps import named_data


@dataclasses.dataclass(frozen=True)
class KerasMetrics:
    """Keras's loss and metrics of a compiled model.

    Attributes:
      compute_loss: function of (images, labels, logits, sample_weight) to this
        replica's share of the compiled loss, with regularization penalties.
      compute_metrics: function of the same arguments that updates the compiled
        metrics and returns {name: value}.
      update_metrics: function of (labels, logits, sample_weight) that updates
        the compiled metrics.
      results: function without arguments that returns {name: value}.
      build: function of (labels, logits) that creates the variables of the
        metrics.
    """

    compute_loss: Callable[..., tf.Tensor]
    compute_metrics: Callable[..., dict[str, Any]]
    update_metrics: Callable[..., None]
    results: Callable[[], dict[str, Any]]
    build: Callable[[tf.Tensor, tf.Tensor], None]

    def of_logits(self, network: tf.keras.Model) -> "KerasMetrics":
        """Returns the functions for logits as one tensor.

        Keras's functions expect the structure that the network returns, such
        as a dict with one entry.
        """

        def packed(function: Callable[..., Any], *indices: int) -> Any:
            def call(*arguments: Any) -> Any:
                return function(
                    *(
                        tf.nest.pack_sequence_as(network.output, [each])
                        if index in indices
                        else each
                        for index, each in enumerate(arguments)
                    )
                )

            return call

        return KerasMetrics(
            packed(self.compute_loss, 2),
            packed(self.compute_metrics, 2),
            packed(self.update_metrics, 1),
            self.results,
            packed(self.build, 0, 1),
        )


@dataclasses.dataclass(frozen=True)
class TrainingContext:
    """The parts of a compiled `ConAdvModel` that its training steps use.

    Attributes:
      network: functional network that is trained, images to logits.
      optimizer: Keras optimizer; in float16 a `LossScaleOptimizer`.
      strategy: `tf.distribute.Strategy` of the network.
      loss: the compiled Keras loss.
      metrics: Keras's loss and metrics of a batch.
      accuracy: function of (labels, logits) to float32 [size] for the
        adversarial images, an `ExampleAccuracy`; None if labels may have
        several ones and no compiled metric is an accuracy.
      attack: the attack, or None.
      seed: int, key of the random draws.
      views: number of views of each image, 1 or 2.
      jit_compile: whether XLA compiles the training step.
      weights: the trainable weights to update; None updates all.
    """

    network: tf.keras.Model
    optimizer: Any
    strategy: tf.distribute.Strategy
    loss: Any
    metrics: KerasMetrics
    accuracy: Any
    attack: Any
    seed: int
    views: int
    jit_compile: bool
    weights: Optional[list[tf.Variable]] = None

    def unnamed(self, data: Any) -> Any:
        """Returns data, or their specs, with tensors in place of dicts."""
        return named_data.unnamed(data, self.network)

    def labels_spec(self, element_spec: Any) -> Optional[tf.TensorSpec]:
        """Returns the spec of an iterator's labels on one replica.

        Raises:
          ValueError: if the loss needs another format of labels, or if labels
            are strings, which XLA does not support.
        """
        is_tpu = isinstance(self.strategy, tf.distribute.TPUStrategy)
        labels = batch_spec.labels_spec(
            self.unnamed(element_spec), self.jit_compile or is_tpu
        )
        logits = self.network.outputs[0].shape
        if labels is not None and logits.rank == 2:
            loss_lib.check_labels(self.loss, labels, logits[-1])
        return labels
