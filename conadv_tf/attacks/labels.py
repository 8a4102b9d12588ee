"""Label formats: class ids and one-hot rows, as Keras accepts them."""

from collections.abc import Callable
from typing import Union

import tensorflow as tf


def are_ids(labels: Union[tf.Tensor, tf.TensorSpec]) -> bool:
    """Whether labels have the shape of class ids, [batch] or [batch, 1]."""
    shape = labels.shape
    return shape.rank == 1 or (shape.rank == 2 and shape[-1] == 1)


def is_sparse(labels: tf.Tensor, num_outputs: int) -> bool:
    """Whether labels are class ids rather than one-hot rows.

    Args:
      labels: tensor of any dtype, [batch] or [batch, 1] class ids, or
        [batch, num_outputs] one-hot (or smoothed) rows.
      num_outputs: width of the logits.

    Returns:
      Python bool.

    Raises:
      ValueError: if the label shape fits neither format.
    """
    if are_ids(labels):
        return True
    if labels.shape.rank == 2 and labels.shape[-1] == num_outputs:
        return False
    raise ValueError(
        "Expected labels of shape [batch], [batch, 1] or "
        f"[batch, {num_outputs}] (the network's number of classes); received "
        f"labels of shape {labels.shape}. Pass class ids or one-hot rows."
    )


def by_format(
    labels: tf.Tensor,
    num_outputs: int,
    of_ids: Callable[[], tf.Tensor],
    of_rows: Callable[[], tf.Tensor],
) -> tf.Tensor:
    """Calls one of two functions, depending on the format of the labels.

    Args:
      labels: class ids [batch] or [batch, 1], or rows [batch, num_outputs].
      num_outputs: width of the logits.
      of_ids: called if the labels are class ids.
      of_rows: called if they are rows; returns the same shape and dtype.

    Returns:
      The result of the function.
    """
    # With Keras's generators the width of labels is known only at run time.
    if labels.shape.rank == 2 and labels.shape[-1] is None:
        return tf.cond(tf.shape(labels)[1] == 1, of_ids, of_rows)
    return of_ids() if is_sparse(labels, num_outputs) else of_rows()


def class_ids(labels: tf.Tensor, num_outputs: int) -> tf.Tensor:
    """Converts labels in any accepted format to int64 class ids [batch]."""
    return by_format(
        labels,
        num_outputs,
        lambda: tf.cast(tf.reshape(labels, [-1]), tf.int64),
        lambda: tf.argmax(labels, axis=-1),
    )


def check_single(labels: tf.Tensor, num_outputs: int) -> None:
    """Raises a ValueError for rows that do not name a single class.

    Args:
      labels: eager tensor, class ids [batch] or [batch, 1], or rows
        [batch, num_outputs].
      num_outputs: width of the logits.
    """
    if num_outputs == 1 or is_sparse(labels, num_outputs):
        return
    sums = tf.reduce_sum(tf.cast(labels, tf.float32), axis=-1)
    least, most = float(tf.reduce_min(sums)), float(tf.reduce_max(sums))
    if not (0.99 < least and most < 1.01):
        raise ValueError(
            "Expected class ids, or one-hot rows that add up to 1; received "
            f"rows with sums from {least:g} to {most:g}. For labels with any "
            "number of ones, evaluate a metric such as "
            "tf.keras.metrics.BinaryAccuracy on the attack's images."
        )


def correct(
    labels: tf.Tensor, outputs: tf.Tensor, decision_boundary: float = 0.0
) -> tf.Tensor:
    """Computes for each example whether the prediction is right.

    Args:
      labels: class ids [batch] or [batch, 1], or one-hot rows
        [batch, classes].
      outputs: [batch, classes] logits or probabilities; one column is a
        binary classifier.
      decision_boundary: output of a binary classifier above which it predicts
        class 1: 0 for logits, 0.5 for probabilities.

    Returns:
      float32 [batch] of zeros and ones.
    """
    num_outputs = outputs.shape[-1]
    if num_outputs == 1:
        predicted = tf.cast(outputs[:, 0] > decision_boundary, tf.int64)
    else:
        predicted = tf.argmax(outputs, axis=-1)
    return tf.cast(
        tf.equal(predicted, class_ids(labels, num_outputs)), tf.float32
    )
