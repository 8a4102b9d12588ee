"""The operations of an attack, as pure functions of tensors.

epsilon, step sizes and the value range are all in pixel units.
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
# Philox streams, one for each kind of draw in a step.
_START, _START_RADIUS, _START_CHOICE, _TARGET = range(4)


def _per_example_norm(values: tf.Tensor) -> tf.Tensor:
    axes = list(range(1, values.shape.rank))
    return tf.sqrt(tf.reduce_sum(tf.square(values), axis=axes, keepdims=True))


def check_norm(norm: str) -> None:
    """Raises a ValueError unless the norm is "linf" or "l2"."""
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
    """Projects points onto the epsilon balls around images and the range.

    For L2, clipping to the range comes last. Images lie in the range, which is
    a convex set, so clipping never moves a point away from its image.

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
    """Takes one step of steepest ascent in the given norm.

        linf: x + step_size * sign(g)        l2: x + step_size * g / |g|

    The sign and the L2 normalization deviate from Eqs. (3) and (5) of Liu et
    al. 2022 (arXiv 2106.00221), which print `x + alpha * g`. The text of the
    paper says FGSM/PGD, and the authors' code takes the sign. An example with
    a zero gradient does not move.

    Args:
      adversarial: float32 [batch, ...].
      gradient: float32, same shape, gradient of the loss to increase.
      step_size: length of the step in pixel units.
      norm: "linf" or "l2".

    Returns:
      float32, same shape.
    """
    check_norm(norm)
    if norm == "linf":
        return adversarial + step_size * tf.sign(gradient)
    # Dividing by the largest entry first keeps the squares from underflowing.
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
    """Moves each image to a uniformly drawn point of its epsilon ball.

    Args:
      images: float32 [batch, ...].
      epsilon: radius in pixel units.
      norm: "linf" (uniform in the cube) or "l2" (uniform in the ball).
      probability: probability with which an example moves at all.
      seed: int [2], (run seed, step). Draws are keyed by it and by the
        position in the global batch (`conadv_tf.distribution.random`).

    Returns:
      float32, same shape; not clipped to the value range.
    """
    check_norm(norm)
    # `tf.shape` only where needed: XLA compiles static shapes better.
    batch_size, *shape = (
        tf.shape(images)[axis] if size is None else size
        for axis, size in enumerate(images.shape)
    )
    offset = random.first_global_position(batch_size)

    def draw(stream: int, shape: Sequence[Size]) -> tf.Tensor:
        return random.uniform(seed, stream, offset, batch_size, shape)

    offsets = 2.0 * draw(_START, shape) - 1.0
    ones = [1] * len(shape)
    if norm == "l2":
        # A normalized Gaussian has a uniform direction. For uniform points of
        # a ball, radius**dimensions is uniform.
        gaussian = tf.math.ndtri(
            tf.clip_by_value((offsets + 1.0) / 2.0, 2.0**-24, 1 - 2.0**-24)
        )
        direction = gaussian / tf.maximum(_per_example_norm(gaussian), 1e-12)
        dimensions = math.prod(shape)
        if tf.is_tensor(dimensions):
            dimensions = tf.cast(dimensions, tf.float32)
        radius = draw(_START_RADIUS, ones) ** (1.0 / dimensions)
        offsets = direction * radius
    if probability < 1.0:
        chosen = draw(_START_CHOICE, ones) < probability
        offsets = tf.where(chosen, offsets, 0.0)
    return images + epsilon * offsets


def random_wrong_labels(
    labels: tf.Tensor, num_classes: int, seed: tf.Tensor
) -> tf.Tensor:
    """Draws a wrong label for each example, uniformly.

    Args:
      labels: class ids [batch] or [batch, 1], or rows [batch, num_classes].
        Rows may have several ones: the wrong classes of a row are those below
        its largest entry. In a row of zeros every class is wrong.
      num_classes: number of classes, at least 2.
      seed: int [2], (run seed, step).

    Returns:
      Labels in the same format and dtype; each row has a single one.

    Raises:
      ValueError: if labels are strings.
    """
    if labels.dtype == tf.string:
        raise ValueError(
            'A targeted attack with targeted="random" needs class ids or '
            "one-hot rows to draw targets; received labels of dtype string."
        )
    batch_size = labels.shape[0] or tf.shape(labels)[0]
    offset = random.first_global_position(batch_size)
    draws = random.uniform(seed, _TARGET, offset, batch_size, ())

    def drawn(count: tf.Tensor) -> tf.Tensor:
        rank = tf.floor(draws * tf.cast(count, tf.float32))
        # Rounding can raise the product to `count`.
        return tf.minimum(tf.cast(rank, tf.int64), count - 1)

    def wrong_ids() -> tf.Tensor:
        ids = classification.class_ids(labels, num_classes)
        count = tf.constant(num_classes - 1, tf.int64)
        wrong = (ids + 1 + drawn(count)) % num_classes
        return tf.cast(tf.reshape(wrong, tf.shape(labels)), labels.dtype)

    def wrong_rows() -> tf.Tensor:
        # Counts from the class after the row's label, as `wrong_ids` does.
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
    """Computes the summed cross-entropy of logits, the default attack loss.

    Args:
      labels: class ids [batch] or [batch, 1], or one-hot rows
        [batch, classes].
      logits: float32 [batch, classes]; a single column is a binary logit.

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
