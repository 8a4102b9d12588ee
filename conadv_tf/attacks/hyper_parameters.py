"""Checks the hyper-parameters of an attack."""

import math
from typing import Optional
from typing import Union
import warnings

from conadv_tf import keras_3
from conadv_tf.attacks import attack_ops
from conadv_tf.attacks.value_range import GREY_LEVELS
from conadv_tf.types import ValueRange

# An epsilon below this fraction of the range's width hardly changes a pixel.
_SMALL_EPSILON = 1e-3
# Relative rounding error of an epsilon that equals the width.
_ROUNDING = 1e-6


def check(
    epsilon: float,
    step_size: Optional[float],
    num_steps: int,
    random_start: Union[bool, float],
    norm: str,
    targeted: Optional[str],
    value_range: ValueRange,
) -> None:
    """Checks the constructor arguments of `PGD`; warns of a tiny epsilon.

    Args:
      epsilon: radius, in pixel units of `value_range`; >= 0, for "linf" at
        most the width of the range.
      step_size: length of a step in the same units, > 0, or None.
      num_steps: number of gradient steps, >= 1.
      random_start: probability of a random start; True is 1, False is 0.
      norm: "linf" or "l2".
      targeted: None or "random".
      value_range: (low, high) of valid pixels.

    Raises:
      ValueError: if an argument is out of its range.
    """
    if num_steps != int(num_steps) or num_steps < 1:
        raise ValueError(
            f"Expected num_steps to be an integer >= 1; received {num_steps!r}."
            " To train without an attack use ConAdvModel(attack=None)."
        )
    if not 0 <= float(random_start) <= 1:
        raise ValueError(
            "Expected random_start to be True, False or a probability in "
            f"[0, 1]; received {random_start!r}."
        )
    attack_ops.check_norm(norm)
    if targeted not in (None, "random"):
        raise ValueError(
            "Expected targeted to be None (ascend on the true label) or "
            '"random" (descend towards a random wrong label); received '
            f"{targeted!r}. To attack towards labels of your choice, pass "
            "targets= when calling the attack."
        )
    if isinstance(epsilon, str):
        raise ValueError(
            f"Expected epsilon to be a number; received {epsilon!r}. Write it "
            "without quotation marks."
        )
    if callable(epsilon):
        origin = " of Keras 3" if keras_3.is_keras_3(epsilon) else ""
        raise ValueError(
            "Expected epsilon to be a number; received "
            f"{type(epsilon).__name__}{origin}. Write ca.ScheduledAttack("
            "ca.PGD(epsilon), schedule) with a schedule from 0 to 1."
        )
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
    _check_radius_fits(epsilon, step_size, norm, value_range)
    _warn_if_small(epsilon, value_range)


def _check_radius_fits(
    epsilon: float,
    step_size: Optional[float],
    norm: str,
    value_range: ValueRange,
) -> None:
    """Raises a ValueError for an L-infinity length wider than the range.

    The L2 norm is not checked: its largest useful radius depends on the size
    of the images.

    Args:
      epsilon: radius, in pixel units of `value_range`.
      step_size: length of a step in the same units, or None.
      norm: "linf" or "l2".
      value_range: (low, high) of valid pixels.
    """
    width = value_range[1] - value_range[0]
    for name, value in (("epsilon", epsilon), ("step_size", step_size)):
        value = value or 0.0
        if norm != "linf" or value <= width * (1 + _ROUNDING):
            continue
        remedy = ""
        if value <= GREY_LEVELS:
            remedy = (
                f" Did you mean grey levels? {value:g} of 255 grey levels are "
                f"{value * width / GREY_LEVELS:.4g}."
            )
        raise ValueError(
            f"Expected {name} in [0, {width:g}], the width of "
            f"value_range={tuple(value_range)}; received {value:g}.{remedy}"
        )


def _warn_if_small(epsilon: float, value_range: ValueRange) -> None:
    width = value_range[1] - value_range[0]
    if not 0 < epsilon < _SMALL_EPSILON * width:
        return
    remedy = ""
    if epsilon >= _SMALL_EPSILON and width > 1:
        remedy = (
            f" Did you mean a fraction of the range? {epsilon:.4g} of it is "
            f"{epsilon * width:.4g}."
        )
    warnings.warn(
        f"epsilon={epsilon:.4g} is under a thousandth of "
        f"value_range={tuple(value_range)}, where one of 255 grey levels is "
        f"{width / GREY_LEVELS:.4g}. The attack will hardly change the "
        f"images.{remedy}",
        # The caller of PGD: past `check` and PGD.__init__.
        stacklevel=4,
    )
