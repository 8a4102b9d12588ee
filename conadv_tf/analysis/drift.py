"""What stale weights change: the weights, the examples, the paper's constants.

Everything is at two points theta_t and theta_t-tau and on one batch, so that
constants are local estimates: the smallest that Assumptions 1 and 2 allow
there. See `theory` for symbols and errata.
"""

from collections.abc import Sequence
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
    fresh: TensorLike,
    outdated: TensorLike,
    box: Optional[tuple[tf.Tensor, tf.Tensor]] = None,
) -> dict[str, tf.Tensor]:
    """Measures Assumptions 1 to 4 and both sides of Lemmas 1 and 3.

    Pure TensorFlow: call it in a `tf.function`. It costs 20 Hessian-vector
    products of twice the batch and 4 gradients of each single example.

    Args:
      current: `Objective` at theta_t.
      stale: `Objective` at theta_t-tau, its variables in the same order.
      images: [batch, ...], clean images x. The batch size must be static.
      labels: their labels, as the objectives take them.
      fresh: x_hat(theta_t), same shape as images.
      outdated: x_hat(theta_t-tau), likewise.
      box: (low, high), tensors of the bounds of the set X_i that x_hat is
        sought in; None leaves `lambda_` NaN.

    Returns:
      Dict of these scalar tensors.

        weight_drift: |theta_t - theta_t-tau|.
        relative_weight_drift: the same over |theta_t|.
        example_drift: the largest |x_hat(theta_t) - x_hat(theta_t-tau)| of
          the batch: the left side of Lemma 1, (10), for approximate examples.
        mean_example_drift: the mean of it.
        sign_agreement: the share of pixels that both examples move the same
          way.
        loss_gap: mean L(theta_t, x_hat(theta_t)) - L(theta_t,
          x_hat(theta_t-tau)): what the attack loses by being stale.
        L_xtheta, L_thetatheta: the largest quotient between theta_t and
          theta_t-tau at x_hat(theta_t-tau), where (15) and (21) use them.
        L_thetax: the largest quotient between x_hat(theta_t-tau) and x, and
          x_hat(theta_t), at theta_t.
        L_xx: the largest eigenvalue in modulus of the Hessian in x.
        mu: minus its largest eigenvalue; both at theta_t, over x and
          x_hat(theta_t-tau).
        lambda_: the largest max over x in X_i of <x - x_hat, grad_x L(x_hat)>,
          at theta_t-tau; see Lemma 3.
        M: |g_hat|, (8), on this batch.
        sigma: the standard error of g, (9), for a batch of this size.
        gradient_norm: |g|, where g has x_hat(theta_t) for x*.
        gradient_error: |g - g_hat|, the left side of (31).
        L_D: the loss of Assumption 4, with x_hat(theta_t) for x*.
    """
    images, labels, fresh, outdated = (
        tf.convert_to_tensor(part) for part in (images, labels, fresh, outdated)
    )
    weight_drift = _global_norm(
        [a - b for a, b in zip(current.variables, stale.variables)]
    )
    example_drift = _norms(fresh - outdated)
    count = tf.cast(tf.shape(images)[0], weight_drift.dtype)

    slope = _input_gradient(current, outdated, labels)
    stale_slope = _input_gradient(stale, outdated, labels)
    smallest, largest = _input_curvature(
        current,
        tf.concat([images, outdated], axis=0),
        tf.concat([labels, labels], axis=0),
    )
    clean_loss = current.loss(images, labels)
    fresh_loss = current.loss(fresh, labels)
    return {
        "weight_drift": weight_drift,
        "relative_weight_drift": tf.math.divide_no_nan(
            weight_drift, _global_norm(current.variables)
        ),
        "example_drift": tf.reduce_max(example_drift),
        "mean_example_drift": tf.reduce_mean(example_drift),
        "sign_agreement": tf.reduce_mean(
            tf.cast(
                tf.equal(tf.sign(fresh - images), tf.sign(outdated - images)),
                weight_drift.dtype,
            )
        ),
        "loss_gap": (fresh_loss - current.loss(outdated, labels)) / count,
        "L_xtheta": tf.math.divide_no_nan(
            tf.reduce_max(_norms(slope - stale_slope)), weight_drift
        ),
        "L_xx": tf.reduce_max(tf.maximum(tf.abs(smallest), tf.abs(largest))),
        "mu": -tf.reduce_max(largest),
        "lambda_": _optimality_gap(outdated, stale_slope, box),
        "L_D": (clean_loss + fresh_loss) / (2 * count),
        **_gradient_statistics(
            current, stale, images, labels, fresh, outdated, weight_drift
        ),
    }


def _gradient_statistics(
    current: Objective,
    stale: Objective,
    images: tf.Tensor,
    labels: tf.Tensor,
    fresh: tf.Tensor,
    outdated: tf.Tensor,
    weight_drift: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """What needs the gradient of each single example.

    One example at a time: a batch of gradients of a large network would not
    fit in memory.
    """
    size = images.shape[0]
    zero = tf.zeros_like(weight_drift)
    total = tf.zeros_like(_flat(current.variables))

    def body(
        index: tf.Tensor,
        sums: tf.Tensor,
        ghat_sums: tf.Tensor,
        squares: tf.Tensor,
        thetatheta: tf.Tensor,
        thetax: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        one = slice(index, index + 1)

        def gradient(objective: Objective, points: tf.Tensor) -> tf.Tensor:
            return _weight_gradient(objective, points[one], labels[one])

        clean = gradient(current, images)
        at_fresh = gradient(current, fresh)
        at_outdated = gradient(current, outdated)
        g = (clean + at_fresh) / 2
        change = tf.norm(at_outdated - gradient(stale, outdated))
        quotients = [
            tf.math.divide_no_nan(
                tf.norm(at_outdated - other),
                tf.norm(outdated[index] - points[index]),
            )
            for other, points in ((clean, images), (at_fresh, fresh))
        ]
        return (
            index + 1,
            sums + g,
            ghat_sums + (clean + at_outdated) / 2,
            squares + tf.reduce_sum(tf.square(g)),
            tf.maximum(thetatheta, tf.math.divide_no_nan(change, weight_drift)),
            tf.reduce_max([thetax, *quotients]),
        )

    _, sums, ghat_sums, squares, thetatheta, thetax = tf.while_loop(
        lambda index, *_: index < size,
        body,
        (0, total, total, zero, zero, zero),
        parallel_iterations=1,
    )
    g, g_hat = sums / size, ghat_sums / size
    # Rounding can make the spread of equal gradients negative.
    variance = tf.maximum(squares / size - tf.reduce_sum(tf.square(g)), 0.0)
    return {
        "L_thetatheta": thetatheta,
        "L_thetax": thetax,
        "M": tf.norm(g_hat),
        "sigma": tf.sqrt(variance / max(size - 1, 1)),
        "gradient_norm": tf.norm(g),
        "gradient_error": tf.norm(g - g_hat),
    }


def _input_gradient(
    objective: Objective, points: tf.Tensor, labels: tf.Tensor
) -> tf.Tensor:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(points)
        loss = objective.loss(points, labels)
    return tape.gradient(loss, points)


def _weight_gradient(
    objective: Objective, points: tf.Tensor, labels: tf.Tensor
) -> tf.Tensor:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(objective.variables)
        loss = objective.loss(points, labels)
    return _flat(
        tape.gradient(loss, objective.variables, unconnected_gradients="zero")
    )


def _input_curvature(
    objective: Objective, points: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Extreme eigenvalues [batch] of each example's Hessian in x."""

    def product(vectors: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as outer:
            outer.watch(points)
            gradient = _input_gradient(objective, points, labels)
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
    """The largest of each example's max <x - x_hat, grad> over the box."""
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
