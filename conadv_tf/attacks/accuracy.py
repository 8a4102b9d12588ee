"""The accuracy of adversarial images, like the compiled accuracy."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.attacks import labels as labels_lib
from conadv_tf.attacks import loss as loss_lib

_CLASS_ACCURACIES = (
    "accuracy",
    "acc",
    "categoricalaccuracy",
    "sparsecategoricalaccuracy",
)
_LABEL_ACCURACIES = ("binaryaccuracy",)
_DEFAULT_THRESHOLD = 0.5  # The default of Keras's binary accuracy.


@dataclasses.dataclass(frozen=True)
class ExampleAccuracy:
    """The accuracy of each example.

    Attributes:
      function: function of (labels, logits) to float32 [batch].
      is_weighted: whether the mean over the examples is weighted by the sample
        weights: the compiled accuracy is one of the `weighted_metrics`.
    """

    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    is_weighted: bool

    def __call__(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Returns the accuracy of each example, float32 [batch]."""
        return self.function(labels, logits)


def example_accuracy(
    network: tf.keras.Model,
    loss: Any,
    metrics: Any,
    weighted_metrics: Any = None,
) -> Optional[ExampleAccuracy]:
    """Returns a function that computes the accuracy of each example.

    If each example has one class, the compiled metrics only tell whether sample
    weights count. The labels of a binary loss over several outputs may be
    one-hot rows or rows with any number of ones. Only the compiled metrics tell
    them apart, and the first accuracy among these counts.

    Args:
      network: functional network, images to logits.
      loss: result of `loss.single_loss`.
      metrics: the metrics given to `compile`, in any structure.
      weighted_metrics: the weighted metrics given to `compile`, in any
        structure.

    Returns:
      The `ExampleAccuracy`; None if labels may have several ones and no
      compiled metric is an accuracy.
    """
    given = [
        (metric, is_weighted)
        for is_weighted, group in enumerate((metrics, weighted_metrics))
        for metric in tf.nest.flatten(group)
    ]
    boundary = loss_lib.decision_boundary(network, loss)
    of_classes = functools.partial(
        labels_lib.correct, decision_boundary=boundary
    )
    num_outputs = network.outputs[0].shape[-1]
    if num_outputs == 1 or not loss_lib.is_binary(network, loss):
        names = (*_CLASS_ACCURACIES, *_LABEL_ACCURACIES)
        weighted = [
            w for metric, w in given if _normalized_name(metric) in names
        ]
        return ExampleAccuracy(of_classes, bool(weighted and weighted[0]))
    for metric, is_weighted in given:
        name = _normalized_name(metric)
        if name in _CLASS_ACCURACIES:
            return ExampleAccuracy(of_classes, bool(is_weighted))
        if name in _LABEL_ACCURACIES:
            is_object = isinstance(metric, tf.keras.metrics.Metric)
            config = metric.get_config() if is_object else {}
            threshold = config.get("threshold", _DEFAULT_THRESHOLD)
            of_labels = functools.partial(_label_accuracy, threshold=threshold)
            return ExampleAccuracy(of_labels, bool(is_weighted))
    return None


def _normalized_name(metric: Any) -> str:
    """Returns the name of a metric, of its function or of its class."""
    if isinstance(metric, tf.keras.metrics.Accuracy):
        return ""  # It counts outputs that equal the labels.
    if isinstance(metric, tf.keras.metrics.Metric):
        metric = type(metric).__name__
    name = getattr(metric, "__name__", metric)
    return str(name).lower().replace("_", "")


def _label_accuracy(
    labels: tf.Tensor, logits: tf.Tensor, threshold: float
) -> tf.Tensor:
    """Returns the share of correct labels of each example."""
    predicted = tf.cast(logits > threshold, labels.dtype)
    right = tf.cast(tf.equal(predicted, labels), tf.float32)
    return tf.reduce_mean(right, axis=list(range(1, right.shape.rank)))
