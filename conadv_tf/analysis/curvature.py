"""Sharpness of a minimum: the largest eigenvalues of the Hessian of a loss.

The paper's motivation is that large batches converge to sharp minima and
adversarial examples lead to flat ones (section 1). Yao et al. 2018 (arXiv
1802.08241) measure sharpness in the same way.
"""

from collections.abc import Callable
from collections.abc import Iterable
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.analysis.filters import filter_norms
from conadv_tf.analysis.objective import count_examples
from conadv_tf.analysis.objective import load_batches
from conadv_tf.analysis.objective import network_objective
from conadv_tf.analysis.objective import Objective
from conadv_tf.types import Batches
from conadv_tf.types import Loss


def top_eigenvalues(
    network: tf.keras.Model,
    data: Batches,
    k: int = 1,
    loss: Optional[Loss] = None,
    filter_normalized: bool = False,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> np.ndarray:
    """Computes the k largest eigenvalues of the Hessian of the mean loss.

    It uses SciPy's implicitly restarted Lanczos method (ARPACK) with
    Hessian-vector products over all data. The network runs in inference mode
    (see `objective.forward_function`) and is not changed.

    Networks with batch norm that compute the same function have different
    Hessians if their filters differ in scale. `filter_normalized` measures each
    weight in units of its filter's norm:

        eigenvalues of D H D,   D = diag(|filter of the weight|)

    This is the curvature along filter-normalized directions (see `filters`).
    It does not depend on the scale of filters, and it ignores the scales and
    offsets of batch norms and all biases.

    Args:
      network: Keras model, images to logits.
      data: iterable of (images, labels) batches; held in memory.
      k: number of eigenvalues, from 1 to the number of weights - 1.
      loss: callable (labels, logits) -> scalar, the sum over examples; None
        is the cross-entropy of logits.
      filter_normalized: whether to measure weights in units of the norms of
        their filters.
      tolerance: relative accuracy of the eigenvalues.
      seed: int, for the initial vector.

    Returns:
      float64 NumPy array [k], in descending algebraic order. If one is
      negative, fewer than k eigenvalues are positive.

    Raises:
      ValueError: if k is out of range or there are no data.
      scipy.sparse.linalg.ArpackNoConvergence: if the iteration does not
        converge; the error has the eigenvalues found so far.

    Example: the mean of (w_1 x_1 + w_2 x_2)^2 / 2 over two inputs.
      >>> network = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=0)])
      >>> network.build([None, 2])
      >>> eigenvalues = ca.analysis.top_eigenvalues(
      ...     network,
      ...     data=[([[1.0, 0.0], [0.0, 4.0]], [0, 0])],
      ...     loss=lambda labels, outputs: tf.reduce_sum(outputs**2) / 2,
      ... )
      >>> eigenvalues.round(3)
      array([8.])
    """
    from scipy.sparse import linalg

    objective = network_objective(network, loss)
    size = sum(
        variable.shape.num_elements() for variable in objective.variables
    )
    if not 0 < k < size:
        raise ValueError(
            f"Expected k from 1 to {size - 1}, the number of weights - 1; "
            f"received {k!r}."
        )
    product = hessian_product(objective, load_batches(data))
    scale = np.ones(size)
    if filter_normalized:
        scale = _flat([filter_norms(v) for v in objective.variables])
    operator = linalg.LinearOperator(
        (size, size),
        matvec=lambda vector: scale * product(scale * vector.ravel()),
        dtype=np.float64,
    )
    start = np.random.default_rng(seed).standard_normal(size)
    eigenvalues = linalg.eigsh(
        operator,
        k,
        which="LA",
        v0=start * (scale > 0),
        tol=tolerance,
        return_eigenvectors=False,
    )
    return np.sort(eigenvalues)[::-1]


def hessian_product(
    objective: Objective, batches: list[tuple[tf.Tensor, tf.Tensor]]
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that multiplies the Hessian of the mean loss.

        H v = grad_theta <grad_theta mean loss, v>

    It makes two backward passes for each batch, in the dtype of the weights,
    and sums over batches in float64. At a kink of a ReLU the result is the
    Hessian on one side of it.

    Args:
      objective: an `Objective`.
      batches: list of (images, labels) pairs of tensors.

    Returns:
      Function of a flat array [number of weights], in the order of the
      variables, that returns a float64 NumPy array of that shape.
    """
    variables = objective.variables
    shapes = [variable.shape for variable in variables]
    ends = np.cumsum([shape.num_elements() for shape in shapes])

    @tf.function(reduce_retracing=True)
    def batch_product(
        images: tf.Tensor, labels: tf.Tensor, vectors: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as outer:
            outer.watch(variables)
            with tf.GradientTape(watch_accessed_variables=False) as inner:
                inner.watch(variables)
                loss = objective.loss(images, labels)
            # Zeros for the auxiliary batch norm, which is not in use.
            gradients = inner.gradient(
                loss, variables, unconnected_gradients="zero"
            )
            inner_product = tf.add_n(
                [
                    tf.reduce_sum(gradient * vector)
                    for gradient, vector in zip(gradients, vectors)
                ]
            )
        return outer.gradient(
            inner_product, variables, unconnected_gradients="zero"
        )

    count = count_examples(batches)

    def product(vector: np.ndarray) -> np.ndarray:
        vectors = [
            tf.constant(part.reshape(shape), variable.dtype)
            for part, shape, variable in zip(
                np.split(vector, ends[:-1]), shapes, variables
            )
        ]
        total = np.zeros(ends[-1])
        for images, labels in batches:
            total += _flat(
                part.numpy() for part in batch_product(images, labels, vectors)
            )
        return total / count

    return product


def _flat(arrays: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(a).astype(np.float64) for a in arrays])
