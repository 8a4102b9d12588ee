"""The pieces of an attack, as pure functions of tensors.

Pixel units throughout: epsilon, step sizes and the value range are on one
scale.
"""

from collections.abc import Sequence
import math
from typing import Union

import tensorflow as tf

from conadv_tf.attacks import labels as classification
from conadv_tf.distribution import random
from conadv_tf.types import Size
from conadv_tf.types import ValueRange

NORMS = ("linf", "l2")
# Philox streams: every kind of draw of one step has its own.
_START, _START_RADIUS, _START_CHOICE, _TARGET = range(4)


def _per_example_norm(values: tf.Tensor) -> tf.Tensor:
    axes = list(range(1, values.shape.rank))
    return tf.sqrt(tf.reduce_sum(tf.square(values), axis=axes, keepdims=True))


def check_norm(norm: str) -> None:
    """Raises a ValueError for a norm that no formula here is for."""
    if norm not in NORMS:
        raise ValueError(
            f"Expected norm to be one of {NORMS}; received {norm!r}."
        )


def project(
    adversarial: tf.Tensor,
    images: tf.Tensor,
    epsilon: Union[float, tf.Tensor],
    norm: str,
    value_range: ValueRange,
) -> tf.Tensor:
    """Moves points to the epsilon ball around images, inside the value range.

    For L2 the range is clipped last: images lie in the range, a convex set,
    so clipping never moves a point away from its image.

    Args:
      adversarial: float32 [batch, ...], points to project.
      images: float32, same shape, centres of the balls.
      epsilon: radius in pixel units of `value_range`; >= 0.
      norm: "linf" or "l2".
      value_range: (low, high) of valid pixels.

    Returns:
      float32, same shape.
    """
    check_norm(norm)
    low, high = value_range
    if norm == "linf":
        projected = tf.clip_by_value(
            adversarial, images - epsilon, images + epsilon
        )
    else:
        perturbation = adversarial - images
        length = _per_example_norm(perturbation)
        scale = tf.minimum(1.0, epsilon / tf.maximum(length, 1e-12))
        projected = images + perturbation * scale
    return tf.clip_by_value(projected, low, high)


def ascent_step(
    adversarial: tf.Tensor,
    gradient: tf.Tensor,
    step_size: Union[float, tf.Tensor],
    norm: str,
) -> tf.Tensor:
    """One step of steepest ascent in the given norm.

        linf: x + step_size * sign(g)        l2: x + step_size * g / |g|

    The sign (and the L2 normalization) is a labelled deviation: Eqs. (3) and
    (5) of Liu et al. 2022 (arXiv 2106.00221) print `x + alpha * g`, while the
    text says FGSM/PGD and the authors' code takes the sign. An example with
    a zero gradient stays where it is.

    Args:
      adversarial: float32 [batch, ...].
      gradient: float32, same shape, of the loss to be increased.
      step_size: pixel units.
      norm: "linf" or "l2".

    Returns:
      float32, same shape.
    """
    check_norm(norm)
    if norm == "linf":
        return adversarial + step_size * tf.sign(gradient)
    # Scaling by the largest entry first keeps the squares from underflowing.
    axes = list(range(1, gradient.shape.rank))
    largest = tf.reduce_max(tf.abs(gradient), axis=axes, keepdims=True)
    scaled = tf.math.divide_no_nan(gradient, largest)
    return adversarial + step_size * tf.math.divide_no_nan(
        scaled, _per_example_norm(scaled)
    )


def random_start(
    images: tf.Tensor,
    epsilon: Union[float, tf.Tensor],
    norm: str,
    probability: float,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Moves each image to a uniform point of its epsilon ball.

    Args:
      images: float32 [batch, ...].
      epsilon: radius in pixel units.
      norm: "linf" (uniform in the cube) or "l2" (uniform in the ball).
      probability: chance, drawn for each example, that it moves at all.
      seed: int [2], (run seed, step). Draws are keyed by it and by the
        position in the global batch (see `conadv_tf.random`).

    Returns:
      float32, same shape; not clipped to the value range.
    """
    check_norm(norm)
    # `tf.shape` only where needed: XLA wants what can be static to be so.
    batch_size, *shape = (
        tf.shape(images)[axis] if size is None else size
        for axis, size in enumerate(images.shape)
    )
    offset = random.first_global_position(batch_size)

    def draw(stream: int, shape: Sequence[Size]) -> tf.Tensor:
        return random.uniform(seed, stream, offset, batch_size, shape)

    noise = 2.0 * draw(_START, shape) - 1.0
    ones = [1] * len(shape)
    if norm == "l2":
        # A normalized Gaussian is a uniform direction; radius**dimensions is
        # uniform for uniform points of a ball.
        gaussian = tf.math.ndtri(
            tf.clip_by_value((noise + 1.0) / 2.0, 2.0**-24, 1 - 2.0**-24)
        )
        direction = gaussian / tf.maximum(_per_example_norm(gaussian), 1e-12)
        dimensions = math.prod(shape)
        if tf.is_tensor(dimensions):
            dimensions = tf.cast(dimensions, tf.float32)
        radius = draw(_START_RADIUS, ones) ** (1.0 / dimensions)
        noise = direction * radius
    if probability < 1.0:
        chosen = draw(_START_CHOICE, ones) < probability
        noise = tf.where(chosen, noise, 0.0)
    return images + epsilon * noise


def random_wrong_labels(
    labels: tf.Tensor, num_classes: int, seed: tf.Tensor
) -> tf.Tensor:
    """Draws for each example a label other than its own, uniformly.

    Args:
      labels: class ids or rows (see `conadv_tf.attacks.labels`). What is
        wrong of a row is each class below its largest number, so that a row
        may have several ones; of a row of zeros each class is.
      num_classes: number of classes, at least 2.
      seed: int [2], (run seed, step).

    Returns:
      labels in the same format and dtype, rows with a single one.
    """
    batch_size = labels.shape[0] or tf.shape(labels)[0]
    offset = random.first_global_position(batch_size)
    draws = random.uniform(seed, _TARGET, offset, batch_size, ())

    def drawn(count: tf.Tensor) -> tf.Tensor:
        rank = tf.floor(draws * tf.cast(count, tf.float32))
        # Rounding can lift the product to the count itself.
        return tf.minimum(tf.cast(rank, tf.int64), count - 1)

    def wrong_ids() -> tf.Tensor:
        ids = classification.class_ids(labels, num_classes)
        count = tf.constant(num_classes - 1, tf.int64)
        wrong = (ids + 1 + drawn(count)) % num_classes
        return tf.cast(tf.reshape(wrong, tf.shape(labels)), labels.dtype)

    def wrong_rows() -> tf.Tensor:
        # From the class behind the row's own, as ids are counted.
        after = tf.range(1, num_classes + 1, dtype=tf.int64)
        order = (tf.argmax(labels, -1)[:, tf.newaxis] + after) % num_classes
        largest = tf.reduce_max(labels, axis=-1, keepdims=True)
        is_wrong = tf.cast((labels < largest) | (largest <= 0), tf.int64)
        number = tf.cumsum(tf.gather(is_wrong, order, batch_dims=1), axis=-1)
        rank = drawn(number[:, -1])[:, tf.newaxis]
        before = tf.math.count_nonzero(number <= rank, axis=-1)
        wrong = tf.gather(order, before, batch_dims=1)
        return tf.one_hot(wrong, num_classes, dtype=labels.dtype)

    return classification.by_format(labels, num_classes, wrong_ids, wrong_rows)


def logits_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Summed softmax cross-entropy of logits; the default attack loss.

    Args:
      labels: class ids or one-hot rows.
      logits: float32 [batch, classes]; one column is a binary logit.

    Returns:
      float32 scalar.
    """
    if logits.shape[-1] == 1:
        labels = tf.cast(tf.reshape(labels, tf.shape(logits)), logits.dtype)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
    elif classification.is_sparse(labels, logits.shape[-1]):
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            classification.class_ids(labels, logits.shape[-1]), logits
        )
    else:
        losses = tf.nn.softmax_cross_entropy_with_logits(
            tf.cast(labels, logits.dtype), logits
        )
    return tf.reduce_sum(losses)
