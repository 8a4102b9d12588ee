"""The loss around the weights of a network, along given directions."""

from collections.abc import Sequence
import itertools
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.analysis.objective import count_examples
from conadv_tf.analysis.objective import load_batches
from conadv_tf.analysis.objective import network_objective
from conadv_tf.types import Batches
from conadv_tf.types import Loss


def loss_surface(
    network: tf.keras.Model,
    data: Batches,
    directions: Sequence[Sequence[np.ndarray]],
    offsets: Sequence[float],
    loss: Optional[Loss] = None,
) -> np.ndarray:
    """Computes the mean loss at theta + a_1 d_1 [+ a_2 d_2] on a grid.

    Use it with `filter_normalized_direction`, because networks can only be
    compared along directions with the scale of their filters. The network runs
    in inference mode (`objective.forward_function`). As in the code of Li et
    al. 2018 (arXiv 1712.09913), the moving statistics of batch norms are not
    changed, nor scales, offsets and biases if the direction is zero there.

    Args:
      network: Keras model, images to logits. Its weights are changed and
        restored.
      data: iterable of (images, labels) batches; held in memory.
      directions: one or two lists of arrays, each with the shapes of
        `network.trainable_variables`.
      offsets: values of a_1 (and of a_2), in units of the directions.
      loss: callable (labels, logits) -> scalar, the sum over examples; None
        is the cross-entropy of logits.

    Returns:
      float64 NumPy array [len(offsets)] for one direction, [len(offsets),
      len(offsets)] for two, indexed by a_1 and a_2.

    Raises:
      ValueError: if a direction does not fit the weights, there are not one
        or two of them, or there are no data.

    Example: the parabola of a squared error.
      >>> network = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=0)])
      >>> network.build([None, 1])
      >>> network.set_weights([np.zeros([1, 1])])
      >>> ca.analysis.loss_surface(
      ...     network,
      ...     data=[([[1.0]], [[0.0]])],
      ...     directions=[[np.ones([1, 1])]],
      ...     offsets=[-2, -1, 0, 1],
      ...     loss=lambda labels, outputs: tf.reduce_sum(outputs**2),
      ... )
      array([4., 1., 0., 1.])
    """
    objective = network_objective(network, loss)
    _check_directions(directions, objective.variables)
    batches = load_batches(data)
    count = count_examples(batches)
    total_loss = tf.function(objective.loss, reduce_retracing=True)
    origin = [variable.numpy() for variable in objective.variables]
    losses = []
    try:
        for point in itertools.product(offsets, repeat=len(directions)):
            for index, variable in enumerate(objective.variables):
                steps = [
                    a * direction[index]
                    for a, direction in zip(point, directions)
                ]
                variable.assign(origin[index] + sum(steps))
            losses.append(
                sum(float(total_loss(*batch)) for batch in batches) / count
            )
    finally:
        for variable, values in zip(objective.variables, origin):
            variable.assign(values)
    return np.reshape(losses, [len(offsets)] * len(directions))


def _check_directions(
    directions: Sequence[Sequence[np.ndarray]], variables: Sequence[tf.Variable]
) -> None:
    if len(directions) not in (1, 2):
        raise ValueError(
            "Expected one or two directions, each a list of arrays; received "
            f"{len(directions)}."
        )
    expected = [tuple(variable.shape) for variable in variables]
    for direction in directions:
        received = [np.shape(part) for part in direction]
        if received != expected:
            raise ValueError(
                "Expected a direction with one array for each trainable "
                f"variable, of shapes {expected}; received {received}. Make "
                "it with filter_normalized_direction("
                "network.trainable_variables, seed)."
            )
