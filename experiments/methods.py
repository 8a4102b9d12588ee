"""The methods: one table for flags, presets, sweeps, reports and tools."""

from collections.abc import Mapping
import dataclasses
from typing import Any
from typing import Optional


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to train: the paper's, and those that attack a quarter.

    name: in flags, presets and files.
    label: in tables and pictures.
    trains: the value of `--method`: "baseline", "disadv" or "conadv".
    staleness: tau, how many updates the attack's weights are behind; None
      without an attack. Where it is not 0 a run may ask for more.
    augmented: whether training images (of adversarial methods: of a second
      view) go through AutoAugment.
    color: in pictures; the palette of Okabe and Ito (2008), told apart by the
      colour-blind too.
    marker: likewise, Matplotlib's.
    does: what a step does, in a few words.
    settings: {setting: value} of its own; empty for the paper's.
    """

    name: str
    label: str
    trains: str
    staleness: Optional[int]
    augmented: bool
    color: str
    marker: str
    does: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_QUARTER = {"adversarial_fraction": 0.25}
_SHARED = {**_QUARTER, "attack_pass": "shared"}
METHODS = {
    method.name: method
    for method in (
        Method(
            "baseline",
            "baseline",
            "baseline",
            None,
            False,
            "#000000",
            "o",
            "no attack",
        ),
        Method(
            "aa",
            "AutoAugment",
            "baseline",
            None,
            True,
            "#E69F00",
            "s",
            "no attack, augmented images",
        ),
        Method(
            "disadv",
            "DisAdv",
            "disadv",
            0,
            False,
            "#0072B2",
            "^",
            "attack, then update",
        ),
        Method(
            "conadv",
            "ConAdv",
            "conadv",
            1,
            False,
            "#D55E00",
            "D",
            "attack with stale weights beside the update",
        ),
        Method(
            "conadv_aa",
            "ConAdv + AutoAugment",
            "conadv",
            1,
            True,
            "#009E73",
            "v",
            "conadv with augmented images too",
        ),
        Method(
            "conadv_quarter",
            "ConAdv, a quarter",
            "conadv",
            1,
            False,
            "#CC79A7",
            "P",
            "conadv on a quarter of each batch",
            _QUARTER,
        ),
        Method(
            "conadv_shared",
            "ConAdv, one pass",
            "conadv",
            1,
            False,
            "#56B4E9",
            "X",
            "on a quarter, attack and update in one pass",
            _SHARED,
        ),
        Method(
            "conadv_shared_instead",
            "ConAdv, one pass, start for clean",
            "conadv",
            1,
            False,
            "#B8A900",
            "*",
            "and start images instead of that quarter's clean ones",
            {**_SHARED, "start_replaces_clean": True},
        ),
    )
}
# Those of the paper's tables.
PAPER = {
    name: method for name, method in METHODS.items() if not method.settings
}
# Values of --method: those that are no other one on augmented images or with
# other settings.
TRAINED = {
    name: method for name, method in PAPER.items() if not method.augmented
}
# What tells methods apart besides, and the paper's values.
SETTINGS = {
    "adversarial_fraction": 1.0,
    "attack_pass": "own",
    "start_replaces_clean": False,
}


def explained(table):
    """What each method of a table does, for the help of a flag."""
    return "; ".join(f"{name}: {each.does}" for name, each in table.items())
