"""The update rule of LARS as pure functions; see `LARS` for its sources."""

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
    """The factor by which LARS scales a layer's learning rate.

        trust_coefficient * |w| / (|g| + weight_decay * |w| + epsilon)

    or, with `decay_in_norm` (where g already holds the decay),

        trust_coefficient * |w| / (|g| + epsilon)

    and 1 where |w| or |g| is 0.

    Args:
      weight: float32 tensor w.
      gradient: float32 tensor g of the same shape.
      weight_decay: float.
      trust_coefficient: float.
      epsilon: float.
      decay_in_norm: bool.

    Returns:
      float32 scalar.
    """
    weight_norm = tf.norm(weight)
    gradient_norm = tf.norm(gradient)
    denominator = gradient_norm + epsilon
    if not decay_in_norm:
        denominator += weight_decay * weight_norm
    defined = tf.logical_and(weight_norm > 0.0, gradient_norm > 0.0)
    ratio = (
        trust_coefficient * weight_norm / tf.where(defined, denominator, 1.0)
    )
    return tf.where(defined, ratio, 1.0)


def lars_update(
    weight: tf.Tensor,
    gradient: tf.Tensor,
    buffer: tf.Tensor,
    learning_rate: tf.Tensor,
    *,
    momentum: float,
    weight_decay: float,
    trust_coefficient: float,
    epsilon: float,
    nesterov: bool,
    decay_in_norm: bool,
    adapt: bool,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """One LARS step for one weight; see `LARS` for the rule.

    Args:
      weight: float32 tensor w.
      gradient: float32 tensor g.
      buffer: float32 tensor m, the momentum buffer.
      learning_rate: float32 scalar.
      momentum: float.
      weight_decay: float.
      trust_coefficient: float.
      epsilon: float.
      nesterov: bool.
      decay_in_norm: bool.
      adapt: bool; False is momentum SGD at the plain rate without decay.

    Returns:
      (new weight, new buffer, trust ratio).
    """
    ratio = tf.constant(1.0)
    if adapt:
        decayed = gradient + weight_decay * weight
        ratio = trust_ratio(
            weight,
            decayed if decay_in_norm else gradient,
            weight_decay=weight_decay,
            trust_coefficient=trust_coefficient,
            epsilon=epsilon,
            decay_in_norm=decay_in_norm,
        )
        scaled = learning_rate * ratio * decayed
    else:
        scaled = learning_rate * gradient
    buffer = momentum * buffer + scaled
    step = momentum * buffer + scaled if nesterov else buffer
    return weight - step, buffer, ratio
