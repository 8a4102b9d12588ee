"""The methods: one table for flags, presets, sweeps, reports and tools."""

import dataclasses
from typing import Optional


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to train, as the paper's tables have them.

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
    """

    name: str
    label: str
    trains: str
    staleness: Optional[int]
    augmented: bool
    color: str
    marker: str
    does: str


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
    )
}
# Values of --method: those that are no other one on augmented images.
TRAINED = {
    name: method for name, method in METHODS.items() if not method.augmented
}


def explained(table):
    """What each method of a table does, for the help of a flag."""
    return "; ".join(f"{name}: {each.does}" for name, each in table.items())
