"""Groups the runs of a sweep and chooses the groups to compare.

A seed group consists of the runs that differ only in the seed. A DataFrame of
seed groups has one row per group.
"""

import itertools

import numpy as np
import pandas as pd

from tools.sweep_report import statistics

# The columns in which seed groups differ, in the order of a report.
SETTING = [
    "method",
    "batch_size",
    "staleness",
    "epsilon",
    "learning_rate",
    "variant",
    "preset",
]


# Groups of settings that plain training does not have.
_ATTACK_SETTINGS = ("attack.", "start.", "step.")


class ComparableRuns:
    """The runs of one network on one dataset.

    Attributes:
      failed: DataFrame of the runs without an accuracy.
      diverged: DataFrame of the runs with an accuracy and a loss that is not
        finite.
      groups: DataFrame of the seed groups of the runs with an accuracy.
      tuning: DataFrame of the seed groups of the runs on validation data.
      candidates: rows of `groups`, a representative for each method, batch
        size and variant.
      representatives: rows of `candidates` without a variant.
      methods: list of names in the order of a report.
      batch_sizes: sorted list.
      seeds: set.
      margin: points of top-1 within which ConAdv and DisAdv count as equal.
    """

    def __init__(self, runs, tuning, epsilon=None, margin=0.5):
        finished = runs.top1.notna()
        self.failed = runs[~finished]
        self.diverged = runs[finished & ~np.isfinite(runs.final_loss)]
        self.groups = seed_groups(runs[finished])
        self.tuning = seed_groups(tuning[tuning.top1.notna()])
        self.candidates = representatives(self.groups, epsilon)
        self.representatives = self.candidates[self.candidates.variant == ""]
        self.methods = list(runs.method.unique())
        self.batch_sizes = sorted(runs.batch_size.unique())
        self.seeds = set(runs.seed)
        self.margin = margin

    def of_method(self, method):
        """Returns the representatives of a method."""
        return self.representatives[self.representatives.method == method]

    def missing(self):
        """Returns {(method, batch size): sorted seeds that only others ran}."""
        grid = itertools.product(self.methods, self.batch_sizes)
        seeds = {key: set(self.seeds) for key in grid}
        for group in self.representatives.itertuples():
            seeds[group.method, group.batch_size] -= set(group.top1.index)
        for run in self.failed[self.failed.variant == ""].itertuples():
            seeds[run.method, run.batch_size].discard(run.seed)
        return {key: sorted(lacks) for key, lacks in seeds.items() if lacks}


def comparable_runs(sweep, epsilon=None, margin=0.5):
    """Splits the runs of a sweep by network and dataset.

    Args:
      sweep: a `sweep.Sweep`.
      epsilon: radius at which to compare methods that have several, or None.
      margin: points of top-1 within which ConAdv and DisAdv count as equal.

    Returns:
      {comparison key: `ComparableRuns`}.

    Raises:
      ValueError: if two runs share all settings and the seed, or if no run
        has the given epsilon.
    """
    found = sweep.runs.epsilon.dropna().unique()
    if epsilon is not None and not is_epsilon(found, epsilon).any():
        raise ValueError(
            f"No run has --epsilon={epsilon:g}; the runs have "
            f"{sorted(found.tolist())}."
        )
    tuning = sweep.tuning
    return {
        key: ComparableRuns(
            runs, tuning[tuning.comparison_key == key], epsilon, margin
        )
        for key, runs in sweep.runs.groupby("comparison_key", sort=False)
    }


def seed_groups(runs):
    """Groups finished runs by their settings.

    Args:
      runs: DataFrame of `sweep.read_runs`, of one network and dataset.

    Returns:
      DataFrame sorted by and with the columns `SETTING`, and with
        method_label, label, name, published: values that the runs share.
        top1: Series of percent by seed.
        num_runs: number of seeds.
        top1_mean: percent.
        top1_std: sample standard deviation in points; NaN for one run.
        summary: text with the mean, the deviation and the number of runs.
        train_top1: mean over the runs, percent; NaN if unknown.
        mean_cost: mean over the runs; NaN if unknown.
        images_per_second: median over the runs; NaN if unknown.

    Raises:
      ValueError: if two runs share all settings and the seed.
    """
    for run in runs[runs.duplicated([*SETTING, "seed"])].itertuples():
        raise ValueError(
            f"Expected one run for each setting and seed; found two of "
            f"{run.method}, batch size {run.batch_size}, epsilon "
            f"{run.epsilon}, staleness {run.staleness:g}, learning rate "
            f"{run.learning_rate:g}, seed {run.seed}. Remove one of the "
            "rows."
        )
    runs = runs.sort_values([*SETTING, "seed"], na_position="first")
    by_setting = runs.groupby(SETTING, sort=False, dropna=False, observed=True)
    groups = by_setting.agg(
        method_label=("method_label", "first"),
        label=("label", "first"),
        name=("name", "first"),
        published=("published", "first"),
        num_runs=("top1", "size"),
        top1_mean=("top1", "mean"),
        top1_std=("top1", "std"),
        train_top1=("train_top1", "mean"),
        mean_cost=("mean_cost", "mean"),
        images_per_second=("images_per_second", "median"),
    ).reset_index()
    groups["top1"] = [group.set_index("seed").top1 for _, group in by_setting]
    groups["summary"] = [
        f"{group.top1_mean:.2f}"
        + (f" +- {group.top1_std:.2f}" if group.num_runs > 1 else "")
        + f" ({group.num_runs})"
        for group in groups.itertuples()
    ]
    return groups


def representatives(groups, epsilon=None):
    """Chooses a seed group for each method, batch size and variant.

    The choice ignores the accuracy, because choosing the best would flatter
    methods with many settings. It prefers, in this order, the given epsilon,
    the most seeds, the epsilon and then the staleness of the most runs of the
    sweep, and the smallest staleness, epsilon and learning rate.

    Args:
      groups: DataFrame of `seed_groups`.
      epsilon: radius, or None.

    Returns:
      The chosen rows of `groups`; the variants in their order, and the rows of
      a variant in theirs.
    """

    def num_runs_with(name):
        return groups.groupby(name, dropna=False).num_runs.transform("sum")

    ranked = groups.assign(
        variant_order=pd.factorize(groups.variant)[0],
        given_epsilon=is_epsilon(groups.epsilon, epsilon),
        with_epsilon=num_runs_with("epsilon"),
        with_staleness=num_runs_with("staleness"),
    )
    largest = ["given_epsilon", "num_runs", "with_epsilon", "with_staleness"]
    ranked = ranked.sort_values(
        [*largest, *SETTING],
        ascending=[False] * len(largest) + [True] * len(SETTING),
        na_position="first",
    )
    chosen = ranked.drop_duplicates(["method", "batch_size", "variant"])
    chosen = chosen.sort_index().sort_values("variant_order", kind="stable")
    return groups.loc[chosen.index]


def is_epsilon(values, epsilon):
    """Returns which radii equal one that was typed with a few digits."""
    return np.isclose(values, np.nan if epsilon is None else epsilon, 1e-3, 0)


def with_baselines(groups):
    """Compares seed groups with the baseline of the same batch size.

    A variant that changes only the attack is compared with the baseline, which
    has no attack; any other variant with the baseline of the same variant.

    Returns:
      DataFrame of `statistics.compare_pairs`; the columns of the baseline end
      in `_other`.
    """
    is_baseline = groups.method == "baseline"
    others = groups[~is_baseline]
    pairs = others.assign(same=others.variant.map(_without_attack)).merge(
        groups[is_baseline],
        left_on=["batch_size", "same"],
        right_on=["batch_size", "variant"],
        suffixes=("", "_other"),
    )
    return statistics.compare_pairs(pairs)


def _without_attack(variant):
    """Returns the variant of the baseline for a variant of another method."""
    names = (change.partition("=")[0] for change in variant.split(","))
    if all(
        name.startswith(_ATTACK_SETTINGS) and name != "step.microbatches"
        for name in names
    ):
        return ""
    return variant


def with_originals(groups):
    """Compares variants with a seed group of the same method and batch size.

    That seed group, the original, has no variant. It is one that shares the
    epsilon, then the staleness, then the learning rate with the variant, as far
    as there is one, and then the one with the most seeds.

    Returns:
      DataFrame of `statistics.compare_pairs`; the columns of the original end
      in `_other`.
    """
    is_original = groups.variant == ""
    pairs = groups[~is_original].reset_index()
    pairs = pairs.merge(
        groups[is_original],
        on=["method", "batch_size"],
        suffixes=("", "_other"),
    )
    names = ["epsilon", "staleness", "learning_rate"]
    differs = {name: pairs[name] != pairs[f"{name}_other"] for name in names}
    order = pairs[["index"]].assign(**differs, runs=-pairs.num_runs_other)
    ranked = pairs.loc[order.sort_values([*order], kind="stable").index]
    return statistics.compare_pairs(ranked.drop_duplicates("index"))


def curves(groups, representatives, name):
    """Selects the seed groups along one setting.

    Args:
      groups: DataFrame of `seed_groups`.
      representatives: rows of `groups`. A curve shares method, batch size,
        variant and the other of epsilon and staleness with one of them.
        Learning rates may differ, because they are tuned for each setting.
      name: "epsilon" or "staleness".

    Returns:
      DataFrame of the seed groups of all curves, sorted by `name`. A curve has
      the seed group with the most seeds for each value, and several values.
    """
    other = {"epsilon": "staleness", "staleness": "epsilon"}[name]
    fixed = ["method", "batch_size", "variant", other]
    found = (
        groups.merge(representatives[fixed])
        .sort_values("num_runs", ascending=False, kind="stable")
        .drop_duplicates([*fixed, name])
        .sort_values(["method", "batch_size", name])
    )
    return found[found.duplicated(["method", "batch_size"], keep=False)]
