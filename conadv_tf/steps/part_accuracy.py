"""What `adversarial_accuracy` counts: the same as the clean accuracy."""

from collections.abc import Callable
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.attacks import labels as labels_lib
from conadv_tf.attacks import loss as loss_lib

# (labels, logits) to what is right of each example, float32 [batch].
PartAccuracy = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

_OF_CLASSES = ("accuracy", "acc", "categoricalaccuracy")
_OF_LABELS = ("binaryaccuracy",)
_DEFAULT_THRESHOLD = 0.5  # Of Keras's binary accuracy.


def part_accuracy(
    network: tf.keras.Model, loss: Any, metrics: Any
) -> Optional[PartAccuracy]:
    """The accuracy of a part of a batch, as it is compiled for the clean one.

    Labels of a binary loss over several outputs may be one-hot rows or have
    any number of ones, and only the compiled metrics tell: the first accuracy
    among them counts.

    Args:
      network: functional network.
      loss: what `attacks.loss.single_loss` returned.
      metrics: what `compile` was given, in any structure.

    Returns:
      Function; None where it would not be the clean one for equal images.
    """
    boundary = loss_lib.decision_boundary(network, loss)

    def of_classes(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return labels_lib.correct(labels, logits, boundary)

    if not loss_lib.is_binary(network, loss) or network.output_shape[-1] == 1:
        return of_classes
    for metric in tf.nest.flatten(metrics):
        name = _name_of(metric)
        if name in _OF_CLASSES:
            return of_classes
        if name in _OF_LABELS:
            is_object = isinstance(metric, tf.keras.metrics.Metric)
            config = metric.get_config() if is_object else {}
            return _of_labels(config.get("threshold", _DEFAULT_THRESHOLD))
    return None


def _name_of(metric: Any) -> str:
    """Of a metric: its name for Keras, a function's or a class's."""
    if isinstance(metric, tf.keras.metrics.Accuracy):
        return ""  # Counts outputs that equal the labels.
    if isinstance(metric, tf.keras.metrics.Metric):
        metric = type(metric).__name__
    name = getattr(metric, "__name__", metric)
    return str(name).lower().replace("_", "")


def _of_labels(threshold: float) -> PartAccuracy:
    def share(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        predicted = tf.cast(logits > threshold, labels.dtype)
        right = tf.cast(tf.equal(predicted, labels), tf.float32)
        return tf.reduce_mean(right, axis=list(range(1, right.shape.rank)))

    return share
