"""Whether a radius is in the units of the pixels."""

import math
from typing import Optional
import warnings

from conadv_tf.types import ValueRange

# A smaller part of the range hardly moves a pixel.
_SMALL = 1e-3
_LEVELS = 255.0
# Of a radius as wide as the range, computed in other ways.
_ROUNDING = 1e-6


def check(
    epsilon: float,
    step_size: Optional[float],
    norm: str,
    value_range: ValueRange,
) -> None:
    """Raises a ValueError for wrong lengths; warns of one that is too small.

    Args:
      epsilon: radius.
      step_size: length of a step, or None.
      norm: "linf" or "l2".
      value_range: (low, high) of valid pixels.
    """
    if not 0 <= epsilon < math.inf:
        raise ValueError(
            f"Expected epsilon >= 0 in pixel units; received {epsilon!r}."
        )
    if step_size is not None and not (
        0 < step_size < math.inf or (step_size == 0 and epsilon == 0)
    ):
        raise ValueError(
            "Expected step_size > 0 in pixel units, or None for a default; "
            f"received {step_size!r}."
        )
    check_largest(epsilon, step_size, norm, value_range)
    _warn_if_small(epsilon, value_range)


def check_largest(
    epsilon: float,
    step_size: Optional[float],
    norm: str,
    value_range: ValueRange,
    prefix: str = "",
) -> None:
    """Raises a ValueError for an L-infinity length wider than the range.

    Of an L2 ball the largest radius depends on the size of the images.

    Args:
      epsilon: as in `check`.
      step_size: as in `check`.
      norm: as in `check`.
      value_range: as in `check`.
      prefix: before the names of the two, as "attack.".
    """
    width = value_range[1] - value_range[0]
    for name, value in (("epsilon", epsilon), ("step_size", step_size)):
        value = value or 0.0
        if norm != "linf" or value <= width * (1 + _ROUNDING):
            continue
        meaning = ""
        if value <= _LEVELS:
            meaning = (
                f" Did you mean grey levels? {value:g} of 255 grey levels are "
                f"{value * width / _LEVELS:.4g}."
            )
        raise ValueError(
            f"Expected {prefix}{name} in [0, {width:g}], the width of "
            f"value_range={tuple(value_range)}; received {value:g}.{meaning}"
        )


def _warn_if_small(epsilon: float, value_range: ValueRange) -> None:
    width = value_range[1] - value_range[0]
    if not 0 < epsilon < _SMALL * width:
        return
    meaning = ""
    if epsilon >= _SMALL and width > 1:
        meaning = (
            f" Did you mean a part of the range? {epsilon:.4g} of it is "
            f"{epsilon * width:.4g}."
        )
    warnings.warn(
        f"epsilon={epsilon:.4g} is under a thousandth of "
        f"value_range={tuple(value_range)}, where one of 255 grey levels is "
        f"{width / _LEVELS:.4g}: the attack will change next to nothing."
        + meaning,
        # Of who made the attack: past this, `check` and PGD.
        stacklevel=4,
    )
