"""The range of valid pixels, and images that are not in it.

An assertion inside a step vanishes under XLA, so the step measures pixels and
the host raises; what it says is in `range_faults`.
"""

from collections.abc import Iterable
import warnings

import numpy as np
import tensorflow as tf

from conadv_tf.attacks import range_faults
from conadv_tf.attacks.range_faults import Pixels
from conadv_tf.types import ValueRange

# Rounding, in units of float32 at the end of the range that is larger.
_UNITS = 8


def checked_range(value_range: Iterable[float]) -> ValueRange:
    """(low, high) as floats; a ValueError unless low < high."""
    try:
        low, high = (float(bound) for bound in value_range)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not low < high:
        raise ValueError(
            "Expected value_range=(low, high) with low < high, for example "
            f"(0.0, 1.0); received {value_range!r}."
        )
    return low, high


def float_images(images: tf.Tensor, value_range: ValueRange) -> tf.Tensor:
    """Images as float32; a ValueError if they are integers."""
    if not images.dtype.is_floating:
        raise ValueError(
            f"Expected float images in {value_range}; received dtype "
            f"{images.dtype.name}. Scale integer pixels first, for example "
            + range_faults.scaling("tf.cast(images, tf.float32)", value_range)
        )
    return tf.cast(images, tf.float32)


def check(images: tf.Tensor, value_range: ValueRange) -> None:
    """Looks at the pixels of eager `images`.

    Raises:
      ValueError: if one is NaN or out of range.
    Warns if they use next to nothing of the range.
    """
    counts, ends = measure(images, value_range)
    pixels = Pixels(*counts.numpy().tolist(), *ends.numpy().tolist())
    if pixels.nan or pixels.outside:
        raise range_faults.error(pixels, value_range, "a batch")
    if pixels.use_little_of(value_range):
        warnings.warn(range_faults.little_used(pixels, value_range))


def measure(
    images: tf.Tensor, value_range: ValueRange
) -> tuple[tf.Tensor, tf.Tensor]:
    """Counts bad images and finds the ends of all pixels.

    What rounding adds to a pixel at an end of the range is not out of range.

    Args:
      images: float32 [batch, ...].
      value_range: (low, high).

    Returns:
      int32 [2], images with a pixel that is NaN or infinite and images with
      another one outside the range; and float32 [2], the smallest and the
      largest finite pixel (inf and -inf where there is none).
    """
    low, high = value_range
    rounding = _UNITS * np.finfo(np.float32).eps / 2 * max(abs(low), abs(high))
    axes = list(range(1, images.shape.rank))
    finite = tf.math.is_finite(images)
    smallest = tf.reduce_min(tf.where(finite, images, np.inf), axis=axes)
    largest = tf.reduce_max(tf.where(finite, images, -np.inf), axis=axes)
    outside = tf.logical_or(
        smallest < low - rounding, largest > high + rounding
    )
    whole = tf.reduce_all(finite, axis=axes)
    bad = tf.stack([tf.logical_not(whole), outside])
    counts = tf.reduce_sum(tf.cast(bad, tf.int32), axis=1)
    return counts, tf.stack([tf.reduce_min(smallest), tf.reduce_max(largest)])
