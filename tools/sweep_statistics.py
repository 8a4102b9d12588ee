"""Statistics of a sweep: cells, comparisons paired by seed, corrections.

A seed fixes the first weights and the order of the batches, so two methods are
compared seed by seed: what a lucky seed gives to both cancels. Accuracies are
in percent, differences in points.
"""

import dataclasses
import math
from typing import Optional

import numpy as np
from scipy import stats

from tools import comparison

# Sign flips of so few pairs are all counted: 2**16; beyond, so many are drawn.
_EXACT_PAIRS = 16


@dataclasses.dataclass(frozen=True)
class Cell:
    """The finished runs of one setting; they differ in the seed only."""

    method: str
    batch_size: int
    epsilon: Optional[float]  # None without an attack, like staleness.
    staleness: Optional[int]
    learning_rate: float
    preset: str
    published: Optional[float]  # Percent.
    top1: dict  # Percent by seed.
    images_per_second: tuple

    @property
    def spread(self):
        """Mean and standard deviation, as `comparison.spread`."""
        return comparison.spread([*self.top1.values()])


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Differences of pairs of runs; None where n does not allow a value."""

    n: int
    mean: Optional[float] = None
    interval: Optional[tuple] = None
    p_t: Optional[float] = None
    p_wilcoxon: Optional[float] = None
    p_equivalent: Optional[float] = None


def cells(runs):
    """Collects runs of one network and dataset into cells.

    Args:
      runs: objects with the attributes of `Cell`, where top1 is a number, and
        `seed`.

    Returns:
      List of `Cell`s in the order of method, batch size, staleness, epsilon
      and learning rate; methods in order of appearance.

    Raises:
      ValueError: if two runs share setting and seed.
    """
    members = {}
    for run in runs:
        key = (
            run.method,
            run.batch_size,
            run.epsilon,
            run.staleness,
            run.learning_rate,
            run.preset,
        )
        seeds = members.setdefault(key, {})
        if run.seed in seeds:
            raise ValueError(
                f"Expected one run for each setting and seed; found two of "
                f"{run.method}, batch size {run.batch_size}, epsilon "
                f"{run.epsilon}, staleness {run.staleness}, learning rate "
                f"{run.learning_rate:g}, seed {run.seed}. Remove one of the "
                "rows."
            )
        seeds[run.seed] = run
    methods = list(dict.fromkeys(key[0] for key in members))
    found = [
        Cell(
            *key,
            next(iter(seeds.values())).published,
            {seed: run.top1 for seed, run in sorted(seeds.items())},
            tuple(run.images_per_second for run in seeds.values()),
        )
        for key, seeds in members.items()
    ]
    return sorted(
        found,
        key=lambda cell: (
            methods.index(cell.method),
            cell.batch_size,
            *_order(cell),
        ),
    )


def references(cells, epsilon=None):
    """The cell that stands for each method and batch size.

    Never the best one: choosing by the accuracies that are then compared
    would flatter the methods with many settings. It is the one with the given
    epsilon, if any has it; of these the one with most seeds; then the one
    whose epsilon and staleness most runs of the sweep have; then the one with
    the smallest staleness, epsilon and learning rate.

    Args:
      cells: list of `Cell`s.
      epsilon: radius, or None.

    Returns:
      Dict from (method, batch_size) to a `Cell`.
    """

    def common(cell, name):
        return sum(
            len(other.top1)
            for other in cells
            if getattr(other, name) == getattr(cell, name)
        )

    candidates = {}
    for cell in cells:
        candidates.setdefault((cell.method, cell.batch_size), []).append(cell)
    return {
        key: min(
            members,
            key=lambda cell: (
                not same_epsilon(cell.epsilon, epsilon),
                -len(cell.top1),
                -common(cell, "epsilon"),
                -common(cell, "staleness"),
                *_order(cell),
            ),
        )
        for key, members in candidates.items()
    }


def same_epsilon(value, wanted):
    """Whether a radius is the one that was typed, in a few digits."""
    if value is None or wanted is None:
        return value is wanted
    return math.isclose(value, wanted, rel_tol=1e-3)


def curve(cells, reference, name):
    """Cells along one setting, the other being that of the reference.

    Args:
      cells: list of `Cell`s.
      reference: a `Cell`; method, batch size and the other of epsilon and
        staleness are its own. Learning rates may differ: they are tuned.
      name: "epsilon" or "staleness".

    Returns:
      Dict from each value, ascending, to the `Cell` with most seeds.
    """
    other = {"epsilon": "staleness", "staleness": "epsilon"}[name]
    fixed = ("method", "batch_size", other)
    found = {}
    for cell in cells:
        if all(getattr(cell, n) == getattr(reference, n) for n in fixed):
            value = getattr(cell, name)
            best = found.setdefault(value, cell)
            if len(cell.top1) > len(best.top1):
                found[value] = cell
    return dict(sorted(found.items()))


def differences(values, others):
    """Differences of the seeds that both have.

    Args:
      values: dict from seed to percent.
      others: the same.

    Returns:
      float64 [n], points. Rounded: accuracies are float32 fractions of counts,
      and what is a tie in counts must be one here.
    """
    seeds = sorted(values.keys() & others.keys())
    return np.round([values[seed] - others[seed] for seed in seeds], 4)


def compare(values, others, margin=None):
    """Compares two cells seed by seed.

    Args:
      values: dict from seed to percent.
      others: the same; subtracted.
      margin: points within which the two count as equal; None: no such test.

    Returns:
      A `Comparison`: mean difference, its 95 % interval, the p values of the
      two-sided paired t and Wilcoxon signed-rank tests, and of two one-sided
      t tests against +-margin (Schuirmann 1987), the larger one.
    """
    points = differences(values, others)
    if not len(points):
        return Comparison(0)
    interval = p_t = p_equivalent = None
    # Equal differences leave the t statistic without a denominator.
    if len(points) > 1 and np.ptp(points) > 0:
        interval = t_interval(points)
        p_t = float(stats.ttest_1samp(points, 0.0).pvalue)
        if margin is not None:
            sides = ((-margin, "greater"), (margin, "less"))
            p_equivalent = max(
                float(stats.ttest_1samp(points, bound, alternative=side).pvalue)
                for bound, side in sides
            )
    return Comparison(
        len(points),
        float(points.mean()),
        interval,
        p_t,
        signed_rank(points),
        p_equivalent,
    )


def t_interval(values, confidence=0.95):
    """Student's interval for the mean of at least two values.

    Args:
      values: float [n].
      confidence: in (0, 1).

    Returns:
      (low, high).
    """
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(
        values
    )
    mean = np.mean(values)
    return float(mean - half), float(mean + half)


def signed_rank(values):
    """Two-sided p value of Wilcoxon's signed-rank test.

    Accuracies have ties and zeros, for which SciPy's exact distribution does
    not hold: so all sign flips of the ranks are counted, as
    `scipy.stats.permutation_test` does. Zeros are left out.

    Args:
      values: float [n].

    Returns:
      float; None if no value differs from 0.
    """
    values = np.asarray(values)[np.asarray(values) != 0]
    if not len(values):
        return None
    ranks = stats.rankdata(np.abs(values)) * np.sign(values)
    if len(ranks) == 1:
        return 1.0  # SciPy wants two.
    result = stats.permutation_test(
        (ranks,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**_EXACT_PAIRS,
        random_state=0,
    )
    return float(result.pvalue)


def holm(p_values):
    """Adjusts the p values of a family of tests (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1, and is at least the one
    before it; so rejecting below alpha errs anywhere with probability alpha.

    Args:
      p_values: list of floats; None where there was no test.

    Returns:
      List of floats, at most 1, in the same order; None stays None.
    """
    order = sorted(
        (index for index, p in enumerate(p_values) if p is not None),
        key=lambda index: p_values[index],
    )
    adjusted, largest = [None] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, (len(order) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def _order(cell):
    return (
        cell.staleness if cell.staleness is not None else -1,
        cell.epsilon if cell.epsilon is not None else -1,
        cell.learning_rate,
        cell.preset,
    )
