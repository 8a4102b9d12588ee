"""The options of the attack of a run."""

import dataclasses
from typing import Optional

from experiments import config_fields
from experiments.config_fields import bounded

# Relative rounding error of an epsilon of 1.
_ROUNDING = 1e-6
_GREY_LEVELS = 255


@dataclasses.dataclass(frozen=True)
class AttackConfig:
    """Arguments of `ca.PGD` for pixels in [0, 1], and its warm-up.

    Attributes:
      epsilon: radius in pixel units; 0.1 is 25 of 255 grey levels.
      num_steps: number of gradient steps.
      step_size: length of a step in pixel units; None is the default of
        `ca.PGD`, which is `epsilon` for one step.
      random_start: probability of a random start; 0.8 is that of the authors'
        code.
      norm: "linf" or "l2".
      targeted: None ascends on the true label; "random", as in the authors'
        code, descends towards a random wrong label.
      warmup_epochs: first epochs, in which the radius grows to epsilon.
    """

    epsilon: float = bounded(0.1, "[0, inf)")
    num_steps: int = bounded(1, "[1, inf)")
    step_size: Optional[float] = bounded(None, "(0, inf)")
    random_start: float = bounded(0.8, "[0, 1]")
    norm: str = bounded("linf", ("linf", "l2"))
    targeted: Optional[str] = bounded(None, ("random",))
    warmup_epochs: float = bounded(0.0, "[0, inf)")

    def __post_init__(self):
        """Raises a ValueError for wrong values."""
        config_fields.check(self, "attack.")
        for name in ("epsilon", "step_size"):
            value = getattr(self, name) or 0.0
            if self.norm != "linf" or value <= 1 + _ROUNDING:
                continue
            remedy = ""
            if value <= _GREY_LEVELS:
                remedy = (
                    f" Did you mean grey levels? {value:g} of 255 grey levels "
                    f"are {value / _GREY_LEVELS:.4g}."
                )
            raise ValueError(
                f"Expected attack.{name} in [0, 1], the range of the pixels; "
                f"received {value:g}.{remedy}"
            )
