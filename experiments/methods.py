"""The training methods: one table for flags, presets, sweeps and reports."""

import dataclasses

from experiments import steps
from experiments.start import StartConfig

# {value of `--method` in run.py: class of its options}.
STEP_CLASSES = {
    "baseline": steps.Plain,
    "disadv": steps.Sequential,
    "conadv": steps.Concurrent,
    "shared_pass": steps.SharedPass,
    "delayed": steps.SharedPass,
    "rotating_roles": steps.RotatingRoles,
}


@dataclasses.dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
      name: name in flags, presets and files.
      label: name in tables and plots.
      step: the training step, a `steps.Step`.
      summary: description of a training step in a few words.
      color: color in plots, from the palette of Okabe and Ito (2008), which
        color-blind readers can tell apart.
      marker: Matplotlib marker in plots.
      autoaugment: whether AutoAugment is applied to the training images, for
        adversarial methods to a second view of each.
      start: when the attack starts if a configuration has no condition.
    """

    name: str
    label: str
    step: steps.Step
    summary: str
    color: str
    marker: str
    autoaugment: bool = False
    start: StartConfig = StartConfig()

    @property
    def base(self):
        """The value of `--method` in run.py."""
        if self.name in STEP_CLASSES:
            return self.name
        return next(
            name
            for name, step_class in STEP_CLASSES.items()
            if type(self.step) is step_class
        )

    @property
    def settings(self):
        """{setting: value} of the options that are no defaults of the step."""
        return {
            f"step.{field.name}": getattr(self.step, field.name)
            for field in dataclasses.fields(self.step)
            if getattr(self.step, field.name) != field.default
        }


METHODS = {
    method.name: method
    for method in (
        Method(
            "baseline",
            "baseline",
            steps.Plain(),
            "no attack",
            "#000000",
            "o",
        ),
        Method(
            "aa",
            "AutoAugment",
            steps.Plain(),
            "no attack, augmented images",
            "#E69F00",
            "s",
            autoaugment=True,
        ),
        Method(
            "disadv",
            "DisAdv",
            steps.Sequential(),
            "attack, then update",
            "#0072B2",
            "^",
        ),
        Method(
            "conadv",
            "ConAdv",
            steps.Concurrent(),
            "update and, at the same time, attack with stale weights",
            "#D55E00",
            "D",
        ),
        Method(
            "conadv_aa",
            "ConAdv + AutoAugment",
            steps.Concurrent(),
            "conadv with augmented images as a second view",
            "#009E73",
            "v",
            autoaugment=True,
        ),
        Method(
            "conadv_quarter",
            "ConAdv, a quarter",
            steps.Concurrent(fraction=0.25),
            "conadv that attacks a quarter of each batch",
            "#CC79A7",
            "P",
        ),
        Method(
            "shared_pass",
            "shared pass",
            steps.SharedPass(),
            "attack of a quarter and update in one forward and backward pass",
            "#B8A900",
            "*",
        ),
        Method(
            "shared_pass_keep_clean",
            "shared pass, keep clean",
            steps.SharedPass(replace_clean=False),
            "shared_pass that also trains on the clean images of the quarter",
            "#56B4E9",
            "X",
        ),
        Method(
            "delayed",
            "delayed",
            steps.SharedPass(),
            "plain training until the training accuracy of an epoch is 95% "
            "and for 50 updates at least, then shared_pass; start.accuracy, "
            "start.epoch and start.update replace these conditions",
            "#882255",
            "p",
            start=StartConfig(accuracy=0.95, update=50),
        ),
    )
}
# The methods of the paper's tables.
PAPER_METHODS = {
    name: METHODS[name]
    for name in ("baseline", "aa", "disadv", "conadv", "conadv_aa")
}
# The methods that sweeps and tools compare by default.
COMPARED = ("baseline", "disadv", "conadv")
# {value of `--method` in run.py: Method}. The other methods add AutoAugment to
# one of these, or change an option of its step.
BASE_METHODS = {
    **{name: METHODS[name] for name in STEP_CLASSES if name in METHODS},
    "rotating_roles": Method(
        "rotating_roles",
        "rotating roles",
        steps.RotatingRoles(),
        "one third of the replicas attacks, one third trains on adversarial "
        "images, one third on clean images",
        "#999999",
        "h",
    ),
}


def describe(methods):
    """Returns the names and summaries of methods, for the help of a flag.

    Args:
      methods: {name: `Method`}.
    """
    return "; ".join(
        f"{each.name}: {each.summary}" for each in methods.values()
    )
