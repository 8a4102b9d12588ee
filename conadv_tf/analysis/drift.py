"""The effect of stale weights on examples, and the paper's constants.

All measurements use two points theta_t and theta_t-tau and one batch. Constants
are therefore local estimates: the smallest values for which Assumptions 1 and 2
hold there. See `theory` for symbols and errata.
"""

from collections.abc import Sequence
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.analysis.lanczos import extreme_eigenvalues
from conadv_tf.analysis.objective import Objective
from conadv_tf.types import TensorLike

_LANCZOS_STEPS = 20


def measure_drift(
    current: Objective,
    stale: Objective,
    images: TensorLike,
    labels: TensorLike,
    current_examples: TensorLike,
    stale_examples: TensorLike,
    box: Optional[tuple[tf.Tensor, tf.Tensor]] = None,
) -> dict[str, tf.Tensor]:
    """Measures Assumptions 1 to 4 and both sides of Lemmas 1 and 3.

    It uses TensorFlow operations only; call it in a `tf.function`. It costs 20
    Hessian-vector products of twice the batch and 4 gradients of each example.

    Args:
      current: `Objective` at theta_t.
      stale: `Objective` at theta_t-tau, its variables in the same order.
      images: [batch, ...], clean images x. The batch size must be static.
      labels: labels of the images, in the format of the objectives.
      current_examples: x_hat(theta_t), same shape as images.
      stale_examples: x_hat(theta_t-tau), same shape as images.
      box: (low, high), tensors with the bounds of the set X_i that the attack
        searches; if None, `lambda_` is NaN.

    Returns:
      Dict of these scalar tensors.

        weight_drift: |theta_t - theta_t-tau|.
        relative_weight_drift: weight_drift / |theta_t|.
        example_drift: the largest |x_hat(theta_t) - x_hat(theta_t-tau)| of
          the batch: the left side of Lemma 1, (10), for approximate examples.
        mean_example_drift: the mean of these norms.
        sign_agreement: the fraction of pixels that both examples change in the
          same direction.
        loss_gap: mean L(theta_t, x_hat(theta_t)) - L(theta_t,
          x_hat(theta_t-tau)): the loss that the attack misses by being stale.
        L_xtheta, L_thetatheta: the largest quotient between theta_t and
          theta_t-tau at x_hat(theta_t-tau), where (15) and (21) use them.
        L_thetax: the largest quotient between x_hat(theta_t-tau) and x, or
          x_hat(theta_t), at theta_t.
        L_xx: the largest modulus of an eigenvalue of the Hessian in x, at
          theta_t, over x and x_hat(theta_t-tau).
        mu: minus the largest eigenvalue of these Hessians.
        lambda_: the largest max over x in X_i of <x - x_hat, grad_x L(x_hat)>,
          at theta_t-tau (Lemma 3).
        M: |g_hat|, (8), on this batch.
        sigma: the standard error of g, (9), for a batch of this size.
        gradient_norm: |g|, with x_hat(theta_t) in place of x*.
        gradient_error: |g - g_hat|, the left side of (31).
        L_D: the loss of Assumption 4, with x_hat(theta_t) in place of x*.
    """
    images, labels, current_examples, stale_examples = map(
        tf.convert_to_tensor, (images, labels, current_examples, stale_examples)
    )
    weight_drift = _global_norm(
        [a - b for a, b in zip(current.variables, stale.variables)]
    )
    example_drift = _norms(current_examples - stale_examples)
    count = tf.cast(tf.shape(images)[0], weight_drift.dtype)
    slope, stale_slope = (
        _gradient(objective, stale_examples, labels, stale_examples)
        for objective in (current, stale)
    )
    smallest, largest = _input_curvature(
        current,
        tf.concat([images, stale_examples], axis=0),
        tf.concat([labels, labels], axis=0),
    )
    clean_loss, current_loss, stale_loss = (
        current.loss(points, labels)
        for points in (images, current_examples, stale_examples)
    )
    agrees = tf.equal(
        tf.sign(current_examples - images), tf.sign(stale_examples - images)
    )
    return {
        "weight_drift": weight_drift,
        "relative_weight_drift": tf.math.divide_no_nan(
            weight_drift, _global_norm(current.variables)
        ),
        "example_drift": tf.reduce_max(example_drift),
        "mean_example_drift": tf.reduce_mean(example_drift),
        "sign_agreement": tf.reduce_mean(tf.cast(agrees, weight_drift.dtype)),
        "loss_gap": (current_loss - stale_loss) / count,
        "L_xtheta": tf.math.divide_no_nan(
            tf.reduce_max(_norms(slope - stale_slope)), weight_drift
        ),
        "L_xx": tf.reduce_max(tf.maximum(tf.abs(smallest), tf.abs(largest))),
        "mu": -tf.reduce_max(largest),
        "lambda_": _optimality_gap(stale_examples, stale_slope, box),
        "L_D": (clean_loss + current_loss) / (2 * count),
        **_gradient_statistics(
            current,
            stale,
            (images, current_examples, stale_examples),
            labels,
            weight_drift,
        ),
    }


def _gradient_statistics(
    current: Objective,
    stale: Objective,
    points: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
    labels: tf.Tensor,
    weight_drift: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Computes the statistics that need the gradient of each example.

    It takes one example at a time, because a batch of gradients of a large
    network would not fit into memory.

    Args:
      current: `Objective` at theta_t.
      stale: `Objective` at theta_t-tau.
      points: (x, x_hat(theta_t), x_hat(theta_t-tau)), each [batch, ...].
      labels: labels of the images.
      weight_drift: scalar, |theta_t - theta_t-tau|.
    """
    images, _, stale_examples = points
    size = images.shape[0]
    zero = tf.zeros_like(weight_drift)
    zeros = tf.zeros_like(_flat(current.variables))

    def body(index: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
        g_sum, g_hat_sum, squares, thetatheta, thetax = sums

        def gradient(objective: Objective, examples: tf.Tensor) -> tf.Tensor:
            one = slice(index, index + 1)
            weights = objective.variables
            return _flat(
                _gradient(objective, examples[one], labels[one], weights)
            )

        at_clean, at_current, at_stale = (
            gradient(current, examples) for examples in points
        )
        change = at_stale - gradient(stale, stale_examples)
        g = (at_clean + at_current) / 2
        quotients = [
            tf.math.divide_no_nan(
                tf.norm(at_stale - other),
                tf.norm(stale_examples[index] - examples[index]),
            )
            for other, examples in zip((at_clean, at_current), points)
        ]
        return (
            index + 1,
            g_sum + g,
            g_hat_sum + (at_clean + at_stale) / 2,
            squares + tf.reduce_sum(tf.square(g)),
            tf.maximum(
                thetatheta,
                tf.math.divide_no_nan(tf.norm(change), weight_drift),
            ),
            tf.reduce_max([thetax, *quotients]),
        )

    _, g_sum, g_hat_sum, squares, thetatheta, thetax = tf.while_loop(
        lambda index, *_: index < size,
        body,
        (0, zeros, zeros, zero, zero, zero),
        parallel_iterations=1,
    )
    g, g_hat = g_sum / size, g_hat_sum / size
    # Rounding can make the variance of equal gradients negative.
    variance = tf.maximum(squares / size - tf.reduce_sum(tf.square(g)), 0.0)
    return {
        "L_thetatheta": thetatheta,
        "L_thetax": thetax,
        "M": tf.norm(g_hat),
        "sigma": tf.sqrt(variance / max(size - 1, 1)),
        "gradient_norm": tf.norm(g),
        "gradient_error": tf.norm(g - g_hat),
    }


def _gradient(
    objective: Objective, points: tf.Tensor, labels: tf.Tensor, sources: Any
) -> Any:
    """Returns the gradient of the loss with respect to `sources`."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        loss = objective.loss(points, labels)
    return tape.gradient(loss, sources, unconnected_gradients="zero")


def _input_curvature(
    objective: Objective, points: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the extreme eigenvalues [batch] of each Hessian in x."""

    def product(vectors: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as outer:
            outer.watch(points)
            gradient = _gradient(objective, points, labels, points)
        return tf.reshape(
            outer.gradient(
                gradient,
                points,
                tf.reshape(vectors, tf.shape(points)),
                unconnected_gradients="zero",
            ),
            tf.shape(vectors),
        )

    start = tf.random.stateless_normal(
        [points.shape[0], points.shape[1:].num_elements()],
        seed=[0, 1],
        dtype=points.dtype,
    )
    return extreme_eigenvalues(product, start, _LANCZOS_STEPS)


def _optimality_gap(
    examples: tf.Tensor,
    slope: tf.Tensor,
    box: Optional[tuple[tf.Tensor, tf.Tensor]],
) -> tf.Tensor:
    """Returns the largest max over the box of <x - x_hat, grad>."""
    if box is None:
        return tf.constant(float("nan"), examples.dtype)
    low, high = box
    best = tf.maximum((low - examples) * slope, (high - examples) * slope)
    return tf.reduce_max(tf.reduce_sum(_rows(best), axis=1))


def _rows(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, [tf.shape(values)[0], -1])


def _norms(values: tf.Tensor) -> tf.Tensor:
    return tf.norm(_rows(values), axis=1)


def _flat(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)


def _global_norm(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.norm(_flat(tensors))
