"""Statistics of a sweep: comparisons paired by seed, and corrections.

A seed fixes the first weights and the order of the batches, so two methods are
compared seed by seed: what a lucky seed gives to both cancels. Accuracies are
in percent, differences in points.
"""

import dataclasses
from typing import Optional

import numpy as np
from scipy import stats

# Sign flips of so few pairs are all counted: 2**16; beyond, so many are drawn.
_EXACT_PAIRS = 16


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Differences of pairs of runs; None where n does not allow a value."""

    n: int
    mean: Optional[float] = None
    interval: Optional[tuple] = None
    p_t: Optional[float] = None
    p_wilcoxon: Optional[float] = None
    p_equivalent: Optional[float] = None


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
    low, high = stats.t.interval(
        confidence, len(values) - 1, np.mean(values), stats.sem(values)
    )
    return float(low), float(high)


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
