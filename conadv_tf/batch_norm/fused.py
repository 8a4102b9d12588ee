"""Split batch norm in one piece, for compilers that fuse what is elementwise.

The batch is neither split nor concatenated: each example is scaled and
shifted by the coefficients of its branch, [batch, channels] numbers. On a TPU
a split and a concatenation per batch norm copy every activation twice; see
BUILD.md for what that costs. Without XLA the fused kernel per branch, which
makes one pass of what takes several here, is the faster one.
"""

from collections.abc import Sequence
import itertools
from typing import Optional

import tensorflow as tf

from conadv_tf.types import Size


def supports(
    layers: Sequence[tf.keras.layers.Layer], inputs: tf.Tensor
) -> bool:
    """Whether `normalize` computes what the layers would.

    Args:
      layers: built Keras `BatchNormalization` layers, equal but for weights.
      inputs: tensor that they are to normalize in training mode.

    Returns:
      False for other axes than the last, for batch renormalization, virtual
      batches and if a layer is frozen; else True.
    """
    rank = inputs.shape.rank
    return rank is not None and all(
        list(layer.axis) == [rank - 1]
        and layer.trainable
        and not layer.renorm
        and layer.virtual_batch_size is None
        for layer in layers
    )


def normalize(
    layers: Sequence[tf.keras.layers.Layer],
    inputs: tf.Tensor,
    update_statistics: bool = True,
    sizes: Optional[Sequence[Size]] = None,
) -> tf.Tensor:
    """Batch norm in training mode of each part by the layer of its branch.

    The moments of the examples, over space, give those of the parts. Variance
    is the mean of squares less the square of the mean, as XLA computes it
    for Keras's fused batch norm as well.

    Args:
      layers: built Keras `BatchNormalization` layers; see `supports`.
      inputs: float tensor [batch, ..., channels], the concatenation of one
        part for each layer. Computed in float32, float64 in float64.
      update_statistics: whether the moving statistics of the layers move.
      sizes: of the parts along axis 0; None is equal parts.

    Returns:
      Tensor of the shape and dtype of inputs.
    """
    values = tf.cast(
        inputs, tf.float64 if inputs.dtype == tf.float64 else tf.float32
    )
    mean, variance = _moments(values, layers, sizes)
    if update_statistics:
        counts = _counts(values, layers, sizes)
        for layer, its_mean, its_variance, count in zip(
            layers, tf.unstack(mean), tf.unstack(variance), counts
        ):
            _update_statistics(layer, its_mean, its_variance, count)
    scale = tf.math.rsqrt(variance + layers[0].epsilon)
    if layers[0].scale:
        scale *= _stack([layer.gamma for layer in layers], scale.dtype)
    shift = -mean * scale
    if layers[0].center:
        shift += _stack([layer.beta for layer in layers], shift.dtype)
    outputs = values * _of_examples(scale, values, sizes)
    outputs += _of_examples(shift, values, sizes)
    return tf.cast(outputs, inputs.dtype)


def _stack(parameters: Sequence[tf.Variable], dtype: tf.DType) -> tf.Tensor:
    return tf.stack([tf.cast(parameter, dtype) for parameter in parameters])


def _moments(
    values: tf.Tensor,
    layers: Sequence[tf.keras.layers.Layer],
    sizes: Optional[Sequence[Size]],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance of each part, over all replicas if synchronized.

    Returns:
      (mean, variance), each [branches, channels].
    """
    space = list(range(1, values.shape.rank - 1))
    moments = [
        _means(tf.reduce_mean(power, space), len(layers), sizes)
        for power in (values, tf.square(values))
    ]
    context = tf.distribute.get_replica_context()
    if layers[0].synchronized and context is not None:
        # XLA's shapes are static: the replicas' parts are of one size.
        moments = context.all_reduce(tf.distribute.ReduceOp.MEAN, moments)
    mean, squares = moments
    return mean, tf.maximum(squares - tf.square(mean), 0.0)


def _means(
    rows: tf.Tensor, branches: int, sizes: Optional[Sequence[Size]]
) -> tf.Tensor:
    """[batch, channels] to the mean of each part, [branches, channels]."""
    if sizes is None:
        parts = tf.reshape(rows, [branches, -1, rows.shape[-1]])
        return tf.reduce_mean(parts, axis=1)
    parts = _parts(sizes)
    sums = [tf.reduce_sum(tf.where(part, rows, 0.0), 0) for part in parts]
    counts = tf.cast(tf.stack(sizes), rows.dtype)
    return tf.stack(sums) / counts[:, tf.newaxis]


def _parts(sizes: Sequence[Size]) -> list[tf.Tensor]:
    """Which examples are of each part: list of bool [batch, 1].

    To choose by them is elementwise, where to split and to join parts of
    unequal size copies.
    """
    ends = list(itertools.accumulate(sizes))
    index = tf.range(ends[-1])[:, tf.newaxis]
    return [
        (index >= end - size) & (index < end) for end, size in zip(ends, sizes)
    ]


def _of_examples(
    coefficients: tf.Tensor, values: tf.Tensor, sizes: Optional[Sequence[Size]]
) -> tf.Tensor:
    """[branches, channels] to one row per example, to multiply values with."""
    branches, channels = coefficients.shape
    size = tf.shape(values)[0]
    if sizes is None:
        rows = tf.broadcast_to(
            coefficients[:, tf.newaxis], [branches, size // branches, channels]
        )
    else:
        rows = coefficients[0]
        others = zip(_parts(sizes)[1:], tf.unstack(coefficients)[1:])
        for part, row in others:
            rows = tf.where(part, row, rows)
    ones = [1] * (values.shape.rank - 2)
    return tf.reshape(rows, [size, *ones, channels])


def _counts(
    values: tf.Tensor,
    layers: Sequence[tf.keras.layers.Layer],
    sizes: Optional[Sequence[Size]],
) -> list[tf.Tensor]:
    """Values that the moments of each part are of; float scalars."""
    shape = tf.cast(tf.shape(values), values.dtype)
    if sizes is None:
        return [tf.reduce_prod(shape[:-1]) / len(layers)] * len(layers)
    space = tf.reduce_prod(shape[1:-1])
    return [tf.cast(size, values.dtype) * space for size in sizes]


def _update_statistics(
    layer: tf.keras.layers.Layer,
    mean: tf.Tensor,
    variance: tf.Tensor,
    count: tf.Tensor,
) -> None:
    """Moves a layer's moving statistics as Keras does."""
    if layer.fused:  # Keras's fused kernel gives the unbiased variance.
        variance *= count / tf.maximum(count - 1.0, 1.0)
    for variable, value in (
        (layer.moving_mean, mean),
        (layer.moving_variance, variance),
    ):
        change = variable - tf.cast(value, variable.dtype)
        change *= 1.0 - layer.momentum
        # An empty batch changes nothing.
        variable.assign_sub(tf.where(count > 0, change, 0.0))
