"""Batch norm in training mode that leaves the moving statistics alone.

Attacks run the network like this: with the statistics of the batch, and
without writing any variable.
"""

from collections.abc import Sequence
from typing import Optional
from typing import Union

import tensorflow as tf

from conadv_tf import keras_internals


def normalize(
    layer: tf.keras.layers.Layer,
    inputs: tf.Tensor,
    mask: Optional[tf.Tensor] = None,
) -> tf.Tensor:
    """Normalizes inputs with their own statistics and writes nothing.

    Equal to `layer(inputs, training=True, mask=mask)` except that the moving
    statistics are neither updated nor read, so that in a graph nothing orders
    this computation against an update of them.

    Args:
      layer: a built Keras `BatchNormalization`.
      inputs: float tensor; bfloat16 and float16 are normalized with float32
        statistics, float64 with float64 ones.
      mask: None, or bool tensor that broadcasts to the shape of inputs
        without the last axis. Only positions where it is True count in the
        statistics. A fused layer ignores it.

    Returns:
      Tensor of the shape and dtype of inputs.
    """
    inputs = tf.cast(inputs, layer.compute_dtype)
    axes = _as_list(layer.axis)
    synchronized = bool(getattr(layer, "synchronized", False))
    rank = inputs.shape.rank
    channels = inputs.shape[axes[0]]
    if layer.fused and rank == 4 and axes == [3]:
        ones, zeros = tf.ones([channels]), tf.zeros([channels])
        return keras_internals.fused_batch_norm(
            inputs,
            ones if layer.gamma is None else tf.cast(layer.gamma, tf.float32),
            zeros if layer.beta is None else tf.cast(layer.beta, tf.float32),
            epsilon=layer.epsilon,
        )
    reduced = [axis for axis in range(rank) if axis not in axes]
    is_double = inputs.dtype == tf.float64
    values = tf.cast(inputs, tf.float64 if is_double else tf.float32)
    weights = None
    if mask is not None and not layer.fused:
        weights = tf.cast(mask, values.dtype)[..., tf.newaxis]
    mean, variance = (
        _global_moments(values, reduced, weights)
        if synchronized
        else _moments(values, reduced, weights)
    )

    def shaped(parameter: Optional[tf.Variable]) -> Optional[tf.Tensor]:
        if parameter is None:
            return None
        shape = [
            dimension if axis in axes else 1
            for axis, dimension in enumerate(inputs.shape)
        ]
        return tf.reshape(tf.cast(parameter, values.dtype), shape)

    outputs = tf.nn.batch_normalization(
        values,
        mean,
        variance,
        shaped(layer.beta),
        shaped(layer.gamma),
        layer.epsilon,
    )
    return tf.cast(outputs, inputs.dtype)


def _as_list(axis: Union[int, Sequence[int]]) -> list[int]:
    return [axis] if isinstance(axis, int) else list(axis)


def _moments(
    values: tf.Tensor, axes: list[int], weights: Optional[tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance over `axes`, keepdims."""
    if weights is None:
        return tf.nn.moments(values, axes, keepdims=True)
    return tf.nn.weighted_moments(values, axes, weights, keepdims=True)


def _global_moments(
    values: tf.Tensor, axes: list[int], weights: Optional[tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance over `axes` and all replicas, keepdims."""
    shape = tf.shape(values)
    if weights is None:
        count = tf.reduce_prod(
            tf.cast(tf.gather(shape, axes), values.dtype), keepdims=True
        )
    else:
        values *= weights
        weights = tf.broadcast_to(weights, shape)
        count = tf.reduce_sum(weights, axes, keepdims=True)
    total = tf.reduce_sum(values, axes, keepdims=True)
    squares = tf.reduce_sum(tf.square(values), axes, keepdims=True)
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        total, squares, count = context.all_reduce(
            tf.distribute.ReduceOp.SUM, [total, squares, count]
        )
    mean = total / count
    return mean, tf.maximum(squares / count - tf.square(mean), 0.0)
