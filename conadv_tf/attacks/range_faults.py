"""What is said about pixels that do not go with a range, and the remedy."""

from typing import NamedTuple

from conadv_tf.types import ValueRange

# The smallest part of a range that images in earnest use.
_LITTLE = 0.01
# What interpolation overshoots, in widths of the range.
_OVERSHOOT = 0.25
_LEVELS = 255.0


class Pixels(NamedTuple):
    """What was measured of images.

    nan: images with a pixel that is NaN or infinite.
    outside: images with another pixel that is out of range.
    smallest, largest: of the finite pixels.
    """

    nan: int
    outside: int
    smallest: float
    largest: float

    def use_little_of(self, value_range: ValueRange) -> bool:
        """Whether they use under 1% of a range; images of one value do not."""
        low, high = value_range
        return 0 < self.largest - self.smallest < _LITTLE * (high - low)

    def __str__(self) -> str:
        return f"from {self.smallest:.8g} to {self.largest:.8g}"


def scaling(images: str, value_range: ValueRange) -> str:
    """The expression that takes grey levels, 0 to 255, to a range.

    Args:
      images: expression of the grey levels.
      value_range: (low, high).
    """
    low, high = value_range
    divisor = _LEVELS / (high - low)
    shift = f" {'-' if low < 0 else '+'} {abs(low):g}" if low else ""
    return (f"{images} / {divisor:g}" if divisor != 1 else images) + shift


def error(pixels: Pixels, value_range: ValueRange, where: str) -> ValueError:
    """The ValueError for images with pixels that are NaN or out of range.

    Args:
      pixels: those of all images.
      value_range: (low, high) of the attack.
      where: the images were met, in words.
    """
    outside = f"{pixels.outside} image(s) lie outside value_range={value_range}"
    outside += f"; received pixels {pixels} in {where}"
    if pixels.nan:
        return ValueError(
            f"Expected pixels in value_range={value_range}; received "
            f"{pixels.nan} image(s) with NaN or infinite pixels in {where}. "
            "Scaling does not mend them: look for a division by 0 (a constant "
            "image by its standard deviation), a logarithm of 0, or missing "
            "values." + (f" Besides, {outside}." if pixels.outside else "")
        )
    return ValueError(
        f"{outside}. The attack clips to that range, so epsilon would not mean "
        f"what you think. {_remedy(pixels, value_range)}"
    )


def _remedy(pixels: Pixels, value_range: ValueRange) -> str:
    low, high = value_range
    overshoot = max(low - pixels.smallest, pixels.largest - high)
    if overshoot <= _OVERSHOOT * (high - low):
        return (
            "Clip them, as bicubic resizing overshoots: "
            f"tf.clip_by_value(images, {low:g}, {high:g})."
        )
    if pixels.smallest >= 0 and 2 < pixels.largest <= _LEVELS:
        return f"Scale grey levels: {scaling('images', value_range)}."
    return (
        "Scale them into it, move normalization into the network, or set the "
        "attack's value_range to theirs, and epsilon to its units."
    )


def little_used(pixels: Pixels, value_range: ValueRange) -> str:
    """What is wrong with images that use next to nothing of a range."""
    low, high = value_range
    part = (pixels.largest - pixels.smallest) / (high - low)
    remedy = (
        "Scale them to it, or set the attack's value_range to theirs, and "
        "epsilon to its units."
    )
    if 0 <= pixels.smallest and pixels.largest <= 1:
        remedy = (
            "Images in [0, 1] take an attack with value_range=(0, 1) and an "
            "epsilon in its units, for example 8/255; or scale them: "
            f"{scaling('(images * 255)', value_range)}."
        )
    return (
        f"Expected images that use value_range={value_range}; received pixels "
        f"{pixels}, {100 * part:.2g}% of it. epsilon is in units of that "
        f"range, so the attack would bury the images. {remedy}"
    )
