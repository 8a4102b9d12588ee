"""The options of the training steps that a configuration can name.

Each class has the name, the options and the defaults of a step of conadv_tf;
`build.step` makes that step. Importing conadv_tf would import TensorFlow,
which takes seconds, so these classes check flags without it.
"""

import dataclasses

from experiments import config_fields
from experiments.config_fields import bounded


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """The options of a training step; subclasses have them as fields.

    Attributes:
      requires_attack: whether the step attacks.
      staleness: number of updates between the weights of an attack and the
        update that trains on its result; None without an attack.
      fraction: share of each local batch that is attacked.
      microbatches: number of batches of the dataset per update.
    """

    requires_attack = True
    staleness = None
    fraction = 1.0
    microbatches = 1

    def __post_init__(self):
        """Raises a ValueError for wrong values."""
        config_fields.check(self, "step.")


def _fraction(default):
    return bounded(
        default,
        "(0, 1]",
        lambda value: "To train without an attack use --method=baseline.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plain(Step):
    """The options of `ca.Plain`."""

    microbatches: int = bounded(1, "[1, inf)")
    requires_attack = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sequential(Step):
    """The options of `ca.Sequential`."""

    microbatches: int = bounded(1, "[1, inf)")
    fraction: float = _fraction(1.0)
    weight: float = bounded(1.0, "[0, inf)")
    staleness = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Concurrent(Step):
    """The options of `ca.Concurrent`."""

    microbatches: int = bounded(1, "[1, inf)")
    staleness: int = bounded(
        1,
        "[1, inf)",
        lambda value: "To attack with the current weights use --method=disadv.",
    )
    fraction: float = _fraction(1.0)
    weight: float = bounded(1.0, "[0, inf)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedPass(Step):
    """The options of `ca.SharedPass`."""

    fraction: float = _fraction(0.25)
    weight: float = bounded(
        1.0,
        "(0, inf)",
        lambda value: "To train without an attack use --method=baseline.",
    )
    replace_clean: bool = True
    staleness = 1

    def __post_init__(self):
        """Raises a ValueError for wrong values."""
        super().__post_init__()
        if self.replace_clean and self.fraction == 1:
            raise ValueError(
                "Expected step.fraction < 1 with step.replace_clean=true, "
                "because no clean image would remain; received 1. Set "
                "step.replace_clean=false, or a smaller fraction."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RotatingRoles(Step):
    """The options of `ca.RotatingRoles`."""

    weight: float = bounded(1.0, "[0, inf)")
    staleness = 1
