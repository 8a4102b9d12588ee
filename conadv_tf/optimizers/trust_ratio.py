"""The update rule of LARS as pure functions.

The docstring of `LARS` names the sources of the rule.
"""

import tensorflow as tf


def trust_ratio(
    weight: tf.Tensor,
    gradient: tf.Tensor,
    *,
    weight_decay: float,
    trust_coefficient: float,
    epsilon: float,
    decay_in_norm: bool,
) -> tf.Tensor:
    """Computes the factor by which LARS scales a weight's learning rate.

        trust_coefficient * |w| / (|g| + weight_decay * |w| + epsilon)

    or, with `decay_in_norm`,

        trust_coefficient * |w| / (|g| + epsilon)

    and 1 if |w| or |g| is 0.

    Args:
      weight: float32 tensor w.
      gradient: float32 tensor g of the same shape; with `decay_in_norm`, the
        gradient including the weight decay.
      weight_decay: L2 coefficient, >= 0.
      trust_coefficient: factor of the ratio, > 0.
      epsilon: added to the denominator, >= 0.
      decay_in_norm: whether |g| includes the weight decay.

    Returns:
      float32 scalar.
    """
    # `tf.norm` has more operations, and there are many weights.
    weight_norm = tf.sqrt(tf.reduce_sum(weight * weight))
    gradient_norm = tf.sqrt(tf.reduce_sum(gradient * gradient))
    denominator = gradient_norm + epsilon if epsilon else gradient_norm
    if not decay_in_norm:
        denominator += weight_decay * weight_norm
    defined = tf.logical_and(weight_norm > 0.0, gradient_norm > 0.0)
    ratio = (
        trust_coefficient * weight_norm / tf.where(defined, denominator, 1.0)
    )
    return tf.where(defined, ratio, 1.0)


def scaled_gradient(
    weight: tf.Tensor,
    gradient: tf.Tensor,
    learning_rate: tf.Tensor,
    *,
    weight_decay: float,
    trust_coefficient: float,
    epsilon: float,
    decay_in_norm: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the term that LARS adds to the momentum buffer of a weight.

    Args:
      weight: float32 tensor w.
      gradient: float32 tensor g of the same shape.
      learning_rate: float32 scalar.
      weight_decay: L2 coefficient, >= 0.
      trust_coefficient: factor of the trust ratio, > 0.
      epsilon: added to the ratio's denominator, >= 0.
      decay_in_norm: whether the gradient's norm in the ratio includes the
        weight decay.

    Returns:
      (term, trust ratio); the term has the shape of the weight, and the ratio
      is a float32 scalar.
    """
    decayed = gradient + weight_decay * weight
    ratio = trust_ratio(
        weight,
        decayed if decay_in_norm else gradient,
        weight_decay=weight_decay,
        trust_coefficient=trust_coefficient,
        epsilon=epsilon,
        decay_in_norm=decay_in_norm,
    )
    return learning_rate * ratio * decayed, ratio
