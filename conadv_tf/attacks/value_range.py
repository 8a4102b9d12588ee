"""The range of valid pixels, and errors for images outside it.

An assertion inside a compiled step vanishes under XLA. So the step only
measures pixels (`measure`), and the host raises the errors that are made here.
"""

from collections.abc import Iterable
from typing import NamedTuple
import warnings

import numpy as np
import tensorflow as tf

from conadv_tf.types import ValueRange

# The largest pixel of an 8-bit image.
GREY_LEVELS = 255.0
# What to do where the network scales grey levels, so that they would be scaled
# twice.
_RESCALED_INSIDE = (
    "If the network rescales them inside (Rescaling, Normalization, "
    "preprocess_input of keras.applications), keep the images and use "
    "value_range=(0, 255) with epsilon in grey levels, for example 8 instead "
    "of 8/255; or remove that layer and scale the images."
)
# Rounding errors of pixels that are accepted, in units in the last place of
# float32 at the end of the range with the larger magnitude.
_ROUNDING_UNITS = 8
# Bicubic interpolation overshoots by at most this fraction of the width.
_OVERSHOOT = 0.25
# Images that use less than this fraction of the width are suspicious.
_LITTLE = 0.01


class PixelStatistics(NamedTuple):
    """Summary of the pixels of some images.

    Attributes:
      nan: number of images with a pixel that is NaN or infinite.
      outside: number of images with a finite pixel out of range.
      smallest: the smallest finite pixel.
      largest: the largest finite pixel.
    """

    nan: int
    outside: int
    smallest: float
    largest: float

    def use_little_of(self, value_range: ValueRange) -> bool:
        """Whether they span under 1% of a range; False for constant images."""
        low, high = value_range
        return 0 < self.largest - self.smallest < _LITTLE * (high - low)

    def __str__(self) -> str:
        return f"from {self.smallest:.8g} to {self.largest:.8g}"


def checked_range(value_range: Iterable[float]) -> ValueRange:
    """Returns (low, high) as floats; raises a ValueError unless low < high."""
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
    """Casts images to float32.

    Integers are grey levels, so they are accepted if the range is (0, 255).

    Raises:
      ValueError: for integer images and another range.
    """
    is_grey_levels = images.dtype.is_integer and value_range == (0, GREY_LEVELS)
    if not images.dtype.is_floating and not is_grey_levels:
        scaled = scaling("tf.cast(images, tf.float32)", value_range)
        raise ValueError(
            f"Expected float images in {value_range}; received dtype "
            f"{images.dtype.name}. Scale integer pixels first, for example "
            f"{scaled}. {_RESCALED_INSIDE}"
        )
    return tf.cast(images, tf.float32)


def check_images(images: tf.Tensor, value_range: ValueRange) -> None:
    """Checks the pixels of eager images.

    Warns if the images use under 1% of the range.

    Args:
      images: float32 [batch, ...].
      value_range: (low, high) of valid pixels.

    Raises:
      ValueError: if a pixel is NaN, infinite or out of range.
    """
    counts, ends = measure(images, value_range)
    pixels = PixelStatistics(*counts.numpy().tolist(), *ends.numpy().tolist())
    if pixels.nan or pixels.outside:
        raise out_of_range_error(pixels, value_range, "a batch")
    if pixels.use_little_of(value_range):
        warnings.warn(little_used_message(pixels, value_range))


def measure(
    images: tf.Tensor, value_range: ValueRange
) -> tuple[tf.Tensor, tf.Tensor]:
    """Counts bad images and finds the smallest and the largest pixel.

    A pixel that exceeds an end of the range by a rounding error is in range.

    Args:
      images: float32 [batch, ...].
      value_range: (low, high) of valid pixels.

    Returns:
      A tuple of
      - int32 [2], the numbers of images with a pixel that is NaN or infinite
        and of images with a finite pixel out of range;
      - float32 [2], the smallest and the largest finite pixel (inf and -inf
        if there is none).
    """
    low, high = value_range
    unit = np.finfo(np.float32).eps / 2 * max(abs(low), abs(high))
    rounding = _ROUNDING_UNITS * unit
    axes = list(range(1, images.shape.rank))
    finite = tf.math.is_finite(images)
    smallest = tf.reduce_min(tf.where(finite, images, np.inf), axis=axes)
    largest = tf.reduce_max(tf.where(finite, images, -np.inf), axis=axes)
    outside = tf.logical_or(
        smallest < low - rounding, largest > high + rounding
    )
    # A minimum of floats, which XLA computes in one pass with the others.
    whole = tf.reduce_min(tf.cast(finite, tf.float32), axis=axes) > 0
    bad = tf.stack([tf.logical_not(whole), outside])
    counts = tf.reduce_sum(tf.cast(bad, tf.int32), axis=1)
    return counts, tf.stack([tf.reduce_min(smallest), tf.reduce_max(largest)])


def scaling(images: str, value_range: ValueRange) -> str:
    """Returns the expression that scales grey levels, 0 to 255, to a range.

    Args:
      images: expression of the grey levels.
      value_range: (low, high) of valid pixels.
    """
    low, high = value_range
    divisor = GREY_LEVELS / (high - low)
    shift = f" {'-' if low < 0 else '+'} {abs(low):g}" if low else ""
    return (f"{images} / {divisor:g}" if divisor != 1 else images) + shift


def out_of_range_error(
    pixels: PixelStatistics, value_range: ValueRange, where: str
) -> ValueError:
    """Returns the error for images with pixels that are NaN or out of range.

    Args:
      pixels: statistics of all images.
      value_range: (low, high) of valid pixels, the attack's.
      where: the source of the images, such as "training".
    """
    outside = f"{pixels.outside} image(s) lie outside value_range={value_range}"
    outside += f"; received pixels {pixels} in {where}"
    if pixels.nan:
        return ValueError(
            f"Expected pixels in value_range={value_range}; received "
            f"{pixels.nan} image(s) with NaN or infinite pixels in {where}. "
            "Scaling does not remove them. Look for a division by 0 (a "
            "constant image by its standard deviation), a logarithm of 0, or "
            "missing values." + (f" Also, {outside}." if pixels.outside else "")
        )
    return ValueError(
        f"{outside}. The attack clips to that range, so the perturbation would "
        f"not have the size epsilon. {_remedy(pixels, value_range)}"
    )


def _remedy(pixels: PixelStatistics, value_range: ValueRange) -> str:
    low, high = value_range
    overshoot = max(low - pixels.smallest, pixels.largest - high)
    if overshoot <= _OVERSHOOT * (high - low):
        return (
            "Bicubic resizing overshoots. Clip the images: "
            f"tf.clip_by_value(images, {low:g}, {high:g})."
        )
    if pixels.smallest >= 0 and 2 < pixels.largest <= GREY_LEVELS:
        scaled = scaling("images", value_range)
        return f"Scale grey levels: {scaled}. {_RESCALED_INSIDE}"
    return (
        "Scale the images to this range, move normalization into the network, "
        "or set value_range to the range of the images and epsilon to its "
        "units."
    )


def little_used_message(
    pixels: PixelStatistics, value_range: ValueRange
) -> str:
    """Returns the message for images that use under 1% of the range."""
    low, high = value_range
    fraction = (pixels.largest - pixels.smallest) / (high - low)
    remedy = (
        "Scale the images to this range, or set value_range to the range of "
        "the images and epsilon to its units."
    )
    if 0 <= pixels.smallest and pixels.largest <= 1:
        remedy = (
            "For images in [0, 1] use value_range=(0, 1) and an epsilon in "
            "its units, for example 8/255; or, if the network rescales them "
            "inside, keep value_range and scale them: "
            f"{scaling('(images * 255)', value_range)}."
        )
    return (
        f"Expected images that use value_range={value_range}; received pixels "
        f"{pixels}, {100 * fraction:.2g}% of it. epsilon is in units of that "
        f"range, so the attack would overwhelm the images. {remedy}"
    )
