"""Split batch norm of the whole batch at once, for XLA.

XLA fuses elementwise operations. So the batch is neither split nor
concatenated: each example is scaled and shifted by the coefficients of its
branch, [batch, channels] numbers. On a TPU, a split and a concatenation per
batch norm would copy every activation twice (BUILD.md has the cost). Without
XLA, Keras's fused kernel for each branch is faster, because it makes one pass
over the data where this form makes several.
"""

from collections.abc import Sequence
import itertools
from typing import Optional

import tensorflow as tf

from conadv_tf.types import Size


def supports(
    layers: Sequence[tf.keras.layers.Layer], inputs: tf.Tensor
) -> bool:
    """Whether `normalize` supports the layers and the inputs.

    Args:
      layers: built Keras `BatchNormalization` layers, equal except for their
        weights.
      inputs: float tensor to normalize in training mode.

    Returns:
      False if the normalized axis is not the last one, for batch
      renormalization and virtual batches, and if a layer is frozen.
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
    """Normalizes each part of a batch in training mode by its branch's layer.

    The moments of the parts are computed from the moments of the examples over
    their positions. The variance is the mean of the squares minus the square
    of the mean, as XLA computes it for Keras's fused batch norm too.

    Args:
      layers: built Keras `BatchNormalization` layers that `supports` accepts.
      inputs: float tensor [batch, ..., channels], the concatenation of one
        part for each layer. float64 inputs are computed in float64, all
        others in float32.
      update_statistics: whether to update the layers' moving statistics.
      sizes: examples of each part, ints or int32 scalars; None is equal
        parts.

    Returns:
      Tensor of the shape and dtype of inputs.
    """
    values = tf.cast(
        inputs, tf.float64 if inputs.dtype == tf.float64 else tf.float32
    )
    mean, variance = _moments(values, layers, sizes)
    if update_statistics:
        counts = _counts(values, layers, sizes)
        moments = zip(tf.unstack(mean), tf.unstack(variance), counts)
        for layer, each in zip(layers, moments):
            _update_statistics(layer, *each)
    scale = tf.math.rsqrt(variance + layers[0].epsilon)
    if layers[0].scale:
        scale *= _stack([layer.gamma for layer in layers], scale.dtype)
    shift = -mean * scale
    if layers[0].center:
        shift += _stack([layer.beta for layer in layers], shift.dtype)
    outputs = values * _per_example(scale, values, sizes)
    outputs += _per_example(shift, values, sizes)
    return tf.cast(outputs, inputs.dtype)


def _stack(parameters: Sequence[tf.Variable], dtype: tf.DType) -> tf.Tensor:
    return tf.stack([tf.cast(parameter, dtype) for parameter in parameters])


def _moments(
    values: tf.Tensor,
    layers: Sequence[tf.keras.layers.Layer],
    sizes: Optional[Sequence[Size]],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes each part's moments, over all replicas if synchronized.

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
        # XLA's shapes are static, so the parts of all replicas are equal.
        moments = context.all_reduce(tf.distribute.ReduceOp.MEAN, moments)
    mean, squares = moments
    return mean, tf.maximum(squares - tf.square(mean), 0.0)


def _means(
    rows: tf.Tensor, branches: int, sizes: Optional[Sequence[Size]]
) -> tf.Tensor:
    """Reduces [batch, channels] to each part's mean, [branches, channels]."""
    if sizes is None:
        parts = tf.reshape(rows, [branches, -1, rows.shape[-1]])
        return tf.reduce_mean(parts, axis=1)
    parts = _part_masks(sizes)
    sums = [tf.reduce_sum(tf.where(part, rows, 0.0), 0) for part in parts]
    counts = tf.cast(tf.stack(sizes), rows.dtype)
    return tf.stack(sums) / counts[:, tf.newaxis]


def _part_masks(sizes: Sequence[Size]) -> list[tf.Tensor]:
    """Returns for each part which examples are in it, bool [batch, 1].

    Selecting with masks is elementwise, while splitting and joining parts of
    unequal sizes would copy them.
    """
    ends = list(itertools.accumulate(sizes))
    index = tf.range(ends[-1])[:, tf.newaxis]
    return [
        (index >= end - size) & (index < end) for end, size in zip(ends, sizes)
    ]


def _per_example(
    coefficients: tf.Tensor, values: tf.Tensor, sizes: Optional[Sequence[Size]]
) -> tf.Tensor:
    """Expands [branches, channels] to [batch, 1, ..., channels]."""
    branches, channels = coefficients.shape
    size = tf.shape(values)[0]
    if sizes is None:
        rows = tf.broadcast_to(
            coefficients[:, tf.newaxis], [branches, size // branches, channels]
        )
    else:
        rows = coefficients[0]
        others = zip(_part_masks(sizes)[1:], tf.unstack(coefficients)[1:])
        for part, row in others:
            rows = tf.where(part, row, rows)
    ones = [1] * (values.shape.rank - 2)
    return tf.reshape(rows, [size, *ones, channels])


def _counts(
    values: tf.Tensor,
    layers: Sequence[tf.keras.layers.Layer],
    sizes: Optional[Sequence[Size]],
) -> list[tf.Tensor]:
    """Returns the number of values per channel in each part, as floats."""
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
    """Updates a layer's moving statistics as Keras does."""
    if layer.fused:  # Keras's fused kernel returns the unbiased variance.
        variance *= count / tf.maximum(count - 1.0, 1.0)
    for variable, value in (
        (layer.moving_mean, mean),
        (layer.moving_variance, variance),
    ):
        change = variable - tf.cast(value, variable.dtype)
        change *= 1.0 - layer.momentum
        # An empty batch changes nothing.
        variable.assign_sub(tf.where(count > 0, change, 0.0))
