"""When the attack of a run starts, and what the run costs because of it."""

import dataclasses
from typing import Optional

from experiments import config_fields
from experiments.config_fields import bounded


@dataclasses.dataclass(frozen=True)
class StartConfig:
    """Conditions of `ca.Delayed`; without any the attack starts at once.

    The attack starts after the first epoch at whose end all given conditions
    hold. Until then the run is plain training.

    Attributes:
      accuracy: accuracy of the training images of an epoch.
      epoch: number of epochs.
      update: number of updates.
    """

    accuracy: Optional[float] = bounded(None, "(0, 1]")
    epoch: Optional[int] = bounded(None, "[1, inf)")
    update: Optional[int] = bounded(None, "[1, inf)")

    def __post_init__(self):
        """Raises a ValueError for wrong values."""
        config_fields.check(self, "start.")

    @property
    def is_delayed(self):
        """Whether there is a condition."""
        return (self.accuracy, self.epoch, self.update) != (None, None, None)


def summary(config, cost, rows):
    """Returns the entries of summary.json about the start of the attack.

    Args:
      config: a `RunConfig`.
      cost: arithmetic of a step that attacks, or of plain training without an
        attack.
      rows: list of {name: number}, the rows of history.csv.

    Returns:
      {"delayed": whether the attack had to wait for a condition;
      "attack_started": number of epochs before the attack, None without an
      attack or if it never started; "mean_cost": arithmetic of the run,
      relative to plain training with one view}.
    """
    if not config.conditions.is_delayed:
        started = None if config.tau is None else 0
        return {"delayed": False, "attack_started": started, "mean_cost": cost}
    attacked = [bool(row.get("attacked")) for row in rows]
    share = sum(attacked) / max(len(attacked), 1)
    return {
        "delayed": True,
        "attack_started": attacked.index(True) if True in attacked else None,
        "mean_cost": 1 + share * (cost - 1),
    }


def describe(start):
    """Returns a line that says when a delayed attack starts.

    Args:
      start: a `StartConfig` with a condition.
    """
    conditions = [
        f"{name} >= {value:g}"
        for name, value in dataclasses.asdict(start).items()
        if value is not None
    ]
    return (
        "the attack starts at the end of the first epoch with "
        f"{' and '.join(conditions)}"
    )


def table_rows(summary):
    """Returns {title: text} about the attack, for a printed summary.

    Args:
      summary: content of summary.json.
    """
    started = summary.get("attack_started")
    cost = summary.get("mean_cost")
    rows = {}
    if summary.get("delayed"):
        rows["attack started"] = (
            "never, so the run was plain training"
            if started is None
            else f"after epoch {started}"
        )
    if cost is not None and (rows or started is not None):
        rows["arithmetic"] = f"{cost:.2f} times plain training"
    return rows
