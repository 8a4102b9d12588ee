"""Multiplies the runs of a sweep by values of settings, variants and seeds."""

import collections
import re

from experiments import unused_settings
from experiments.sweeps import grid

# How the axes are called in the names of runs.
_SHORT_NAMES = {
    "attack.epsilon": "epsilon",
    "step.staleness": "staleness",
    "optimizer.learning_rate": "rate",
}


def with_axes(specs, axes):
    """Repeats each run for each combination of values.

    Args:
      specs: list of `grid.RunSpec`.
      axes: {setting: list of values}, where the settings are
        "attack.epsilon", "step.staleness" and
        "optimizer.learning_rate" as settings. An empty list has no effect.

    Returns:
      List of `grid.RunSpec`, whose names contain the values. A run is not
      repeated for a setting that has no effect on it, such as the epsilon of
      the baseline.

    Raises:
      ValueError: if an axis has no effect on any run.
    """
    given = {
        setting: list(dict.fromkeys(values))
        for setting, values in axes.items()
        if values
    }
    unused_settings.check_given([spec.config for spec in specs], given)
    for setting, values in given.items():
        repeated = []
        for spec in specs:
            if unused_settings.has_effect(spec.config, setting):
                repeated += [
                    spec.derive(f"{_SHORT_NAMES[setting]}{v:g}", {setting: v})
                    for v in values
                ]
            else:
                repeated.append(spec)
        specs = repeated
    return list(specs)


def with_variants(specs, variants):
    """Adds changed copies of the runs.

    Args:
      specs: list of `grid.RunSpec`, after `with_axes`.
      variants: strings "key=value[,key=value]", with keys and values as for
        `config_fields.override`.

    Returns:
      List of `grid.RunSpec`: the given runs, then for each variant the runs
      whose training it changes.

    Raises:
      ValueError: if a variant does not change the training of any run, or
        sets a setting that the sweep varies through its flags.
    """
    found = list(specs)
    for variant in dict.fromkeys(variants):
        changes = grid.parse_assignments(variant.split(","))
        suffix = re.sub(r"[^0-9A-Za-z.+]+", "-", variant)
        copies = [s.derive(suffix, changes, variant=variant) for s in specs]
        changed = [
            copy
            for spec, copy in zip(specs, copies)
            if copy.config != spec.config
            and any(unused_settings.has_effect(copy.config, n) for n in changes)
        ]
        if not changed:
            raise ValueError(
                "Expected each variant to change the training of at least one "
                f"run; received {variant!r}, which all runs have already or "
                "which has no effect on any of them. Leave it out."
            )
        found += changed
    return found


def with_seeds(specs, num_seeds):
    """Repeats each run with the seeds 0 to `num_seeds` - 1.

    All runs of one seed come before the next seed, so that an interrupted
    sweep has complete comparisons.

    Args:
      specs: list of `grid.RunSpec`.
      num_seeds: int, number of seeds.

    Returns:
      List of `grid.RunSpec`, whose names end with the seed.

    Raises:
      ValueError: if two runs have the same name, and thus the same folder.
    """
    counts = collections.Counter(spec.name for spec in specs)
    shared = [name for name, count in counts.items() if count > 1]
    if shared:
        raise ValueError(
            f"Expected unique names of runs; received several runs called "
            f"{', '.join(shared)}. Names show six digits of a value, and "
            "only letters and digits of a variant: choose values that differ "
            "more."
        )
    return [
        spec.derive(f"seed{seed}", {"seed": seed})
        for seed in range(num_seeds)
        for spec in specs
    ]
