"""The training methods: one table for flags, presets, sweeps and reports."""

from collections.abc import Mapping
import dataclasses
from typing import Any

_STALENESS = {"baseline": None, "disadv": 0, "conadv": 1}


@dataclasses.dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
      name: name in flags, presets and files.
      label: name in tables and plots.
      base: value of `--method` in run.py: "baseline", "disadv" or "conadv".
      summary: description of a training step in a few words.
      color: color in plots, from the palette of Okabe and Ito (2008), which
        color-blind readers can tell apart.
      marker: Matplotlib marker in plots.
      autoaugment: whether AutoAugment is applied to the training images, for
        adversarial methods to a second view of each.
      settings: {name: value} of the settings in which the method differs from
        its base; empty for the paper's methods.
    """

    name: str
    label: str
    base: str
    summary: str
    color: str
    marker: str
    autoaugment: bool = False
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def staleness(self):
        """Number of updates by which the attack's weights are behind.

        None without an attack. If it is not 0, a run may choose a larger one.
        """
        return _STALENESS[self.base]


_QUARTER = {"adversarial_fraction": 0.25}
_SHARED = {**_QUARTER, "attack_pass": "shared"}
METHODS = {
    method.name: method
    for method in (
        Method(
            "baseline",
            "baseline",
            "baseline",
            "no attack",
            "#000000",
            "o",
        ),
        Method(
            "aa",
            "AutoAugment",
            "baseline",
            "no attack, augmented images",
            "#E69F00",
            "s",
            autoaugment=True,
        ),
        Method(
            "disadv",
            "DisAdv",
            "disadv",
            "attack, then update",
            "#0072B2",
            "^",
        ),
        Method(
            "conadv",
            "ConAdv",
            "conadv",
            "update and, at the same time, attack with stale weights",
            "#D55E00",
            "D",
        ),
        Method(
            "conadv_aa",
            "ConAdv + AutoAugment",
            "conadv",
            "conadv with augmented images as a second view",
            "#009E73",
            "v",
            autoaugment=True,
        ),
        Method(
            "conadv_quarter",
            "ConAdv, a quarter",
            "conadv",
            "conadv that attacks a quarter of each batch",
            "#CC79A7",
            "P",
            settings=_QUARTER,
        ),
        Method(
            "conadv_shared",
            "ConAdv, shared pass",
            "conadv",
            "conadv_quarter with attack and update in a single pass",
            "#56B4E9",
            "X",
            settings=_SHARED,
        ),
        Method(
            "conadv_shared_instead",
            "ConAdv, shared pass replacing clean",
            "conadv",
            "conadv_shared with start images in place of their clean images",
            "#B8A900",
            "*",
            settings={**_SHARED, "start_replaces_clean": True},
        ),
    )
}
# The methods of the paper's tables.
PAPER_METHODS = {
    name: method for name, method in METHODS.items() if not method.settings
}
# The values of `--method` in run.py. The other methods add AutoAugment or other
# settings to one of these.
BASE_METHODS = {
    name: method
    for name, method in PAPER_METHODS.items()
    if not method.autoaugment
}
# Settings that distinguish methods with one base, and the paper's values.
SETTINGS = {
    "adversarial_fraction": 1.0,
    "attack_pass": "own",
    "start_replaces_clean": False,
}


def describe(methods):
    """Returns the names and summaries of methods, for the help of a flag.

    Args:
      methods: {name: `Method`}.
    """
    return "; ".join(
        f"{each.name}: {each.summary}" for each in methods.values()
    )
