"""Filter normalization: directions with the scale of the weights.

The output of a network with batch norm does not depend on the scale of its
filters. Distances between weights and curvatures are therefore only meaningful
relative to the norms of the filters (Li et al. 2018, arXiv 1712.09913).
"""

from collections.abc import Iterable
from typing import Optional

import numpy as np
import tensorflow as tf


def filter_norms(variable: tf.Variable) -> np.ndarray:
    """Returns the norm of the filter that each weight belongs to.

    A filter has all weights of one output: a column of a dense kernel, the
    [height, width, in] of one output channel of a convolution, the [height,
    width] of one channel of a depthwise convolution. The norm is 0 for scales,
    offsets and biases (rank 0 and 1), which are not moved, as in the code of Li
    et al.

    Args:
      variable: a weight.

    Returns:
      NumPy array of the variable's shape and dtype.
    """
    return _norms(variable.numpy(), _axes(variable))


def filter_normalized_direction(
    variables: Iterable[tf.Variable], seed: int
) -> list[np.ndarray]:
    """Draws a random direction, each filter with the norm of the weights'.

        d_ij <- d_ij / |d_ij| * |theta_ij|,   filter j of layer i

    Implements section 4 of Li et al. 2018 (arXiv 1712.09913). At distance 1
    along the direction, each filter is perturbed by a vector of its norm.

    Args:
      variables: the weights, for example `network.trainable_variables`.
      seed: int; the same seed draws the same direction.

    Returns:
      List of NumPy arrays of the variables' shapes; 0 for scales, offsets and
      biases.

    Example: the columns of a dense kernel are its filters.
      >>> kernel = tf.Variable([[3.0, 0.6], [4.0, 0.8]])
      >>> (direction,) = ca.analysis.filter_normalized_direction([kernel], 0)
      >>> np.linalg.norm(direction, axis=0).round(3)
      array([5., 1.], dtype=float32)
    """
    rng = np.random.default_rng(seed)
    direction = []
    for variable in variables:
        weights, axes = variable.numpy(), _axes(variable)
        draw = rng.standard_normal(weights.shape).astype(weights.dtype)
        # The norm of a Gaussian filter is never 0.
        direction.append(
            draw / (_norms(draw, axes) + (axes is None)) * _norms(weights, axes)
        )
    return direction


def _axes(variable: tf.Variable) -> Optional[tuple[int, ...]]:
    """Returns the axes within a filter; None if there are no filters."""
    rank = len(variable.shape)
    if rank < 2:
        return None
    # The name that Keras gives the weight, whatever its layer is called.
    is_depthwise = variable.name.split(":")[0].endswith("depthwise_kernel")
    return tuple(range(rank - (2 if is_depthwise else 1)))


def _norms(values: np.ndarray, axes: Optional[tuple[int, ...]]) -> np.ndarray:
    if axes is None:
        return np.zeros_like(values)
    norms = np.sqrt(np.sum(np.square(values), axis=axes, keepdims=True))
    return np.broadcast_to(norms, values.shape)
