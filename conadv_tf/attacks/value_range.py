"""The range of valid pixels, and images that are not in it.

An assertion inside a step vanishes under XLA, so the step counts offenders and
the host raises.
"""

from collections.abc import Iterable

import tensorflow as tf

from conadv_tf.signatures import ValueRange


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
            "tf.cast(images, tf.float32) / 255."
        )
    return tf.cast(images, tf.float32)


def check(images: tf.Tensor, value_range: ValueRange) -> None:
    """Raises a ValueError if a pixel of eager `images` is out of range."""
    low, high = value_range
    outside = count_outside(images, value_range).numpy()
    if outside:
        raise out_of_range_error(
            int(outside),
            value_range,
            f"a batch with pixels from {float(tf.reduce_min(images)):g} to "
            f"{float(tf.reduce_max(images)):g}",
        )


def count_outside(images: tf.Tensor, value_range: ValueRange) -> tf.Tensor:
    """Counts images with a pixel outside the range or NaN; int32 scalar."""
    low, high = value_range
    inside = tf.logical_and(images >= low, images <= high)
    axes = list(range(1, images.shape.rank))
    return tf.reduce_sum(
        tf.cast(tf.logical_not(tf.reduce_all(inside, axis=axes)), tf.int32)
    )


def out_of_range_error(
    count: int, value_range: ValueRange, received: str
) -> ValueError:
    """The ValueError for images outside the attack's value range."""
    return ValueError(
        f"{count} image(s) lie outside value_range={tuple(value_range)}; "
        f"received {received}. The attack clips to that range, so epsilon "
        "would not mean what you think. Scale the images (divide by 255), "
        "move normalization into the network, or set the attack's "
        "value_range."
    )
