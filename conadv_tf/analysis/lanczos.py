"""Extreme eigenvalues of a batch of symmetric matrices.

SciPy's Lanczos method takes one matrix at a time, but one product computes the
Hessians of a batch of images times a vector each.
"""

from collections.abc import Callable

import tensorflow as tf

from conadv_tf.types import TensorLike


def extreme_eigenvalues(
    product: Callable[[tf.Tensor], tf.Tensor], start: tf.Tensor, num_steps: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the smallest and largest eigenvalue of each matrix.

    It builds Lanczos's Krylov space with full reorthogonalization and returns
    the extreme eigenvalues within it. They lie inside the true range, and are
    exact once num_steps reaches the number of distinct eigenvalues (or the
    size).

    Args:
      product: callable [batch, size] -> [batch, size], each matrix times its
        vector. Traced once.
      start: [batch, size], random; the size must be static.
      num_steps: number of products, >= 1.

    Returns:
      (smallest, largest), two tensors [batch].
    """
    num_steps = min(num_steps, start.shape[1])

    def body(
        step: tf.Tensor, basis: tf.Tensor, images: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        vector = basis[step]
        image = product(vector)
        images = _with_row(images, step, image)
        following = _orthogonal_to(basis, image)
        # If the space is exhausted, continue in any new direction.
        is_empty = _norm(following) <= 1e-6 * _norm(image)
        fresh = tf.random.stateless_normal(
            tf.shape(start), tf.stack([step, 0]), dtype=start.dtype
        )
        following = _unit(tf.where(is_empty, fresh, following))
        # Again, because dividing by a small norm amplifies rounding errors.
        following = _unit(_orthogonal_to(basis, following))
        return step + 1, _with_row(basis, step + 1, following), images

    # Rows that are still zero have no effect. The last one is not used.
    empty = tf.zeros(
        tf.concat([[num_steps + 1], tf.shape(start)], axis=0), start.dtype
    )
    _, basis, images = tf.while_loop(
        lambda step, *_: step < num_steps,
        body,
        (tf.constant(0), _with_row(empty, 0, _unit(start)), empty),
        parallel_iterations=1,
    )
    projected = tf.einsum("ibn,jbn->bij", basis[:num_steps], images[:num_steps])
    eigenvalues = tf.linalg.eigvalsh(
        (projected + tf.transpose(projected, [0, 2, 1])) / 2
    )
    return eigenvalues[:, 0], eigenvalues[:, -1]


def _with_row(rows: tf.Tensor, index: TensorLike, row: tf.Tensor) -> tf.Tensor:
    return tf.tensor_scatter_nd_update(
        rows, tf.reshape(index, [1, 1]), row[tf.newaxis]
    )


def _orthogonal_to(basis: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    """Applies Gram-Schmidt twice, which is enough (Kahan)."""
    for _ in range(2):
        overlap = tf.einsum("ibn,bn->ib", basis, vector)
        vector -= tf.einsum("ib,ibn->bn", overlap, basis)
    return vector


def _norm(vectors: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(vectors), axis=1, keepdims=True))


def _unit(vectors: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(vectors, _norm(vectors))
