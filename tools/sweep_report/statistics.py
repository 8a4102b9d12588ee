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
      others: the same; subtracted.

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
    mean, p_wilcoxon = float(points.mean()), signed_rank(points)
    # Equal differences leave the t statistic without a denominator.
    if len(points) == 1 or not np.ptp(points):
        return Comparison(len(points), mean, p_wilcoxon=p_wilcoxon)

    def p_value(center, alternative):
        return float(
            stats.ttest_1samp(points, center, alternative=alternative).pvalue
        )

    return Comparison(
        len(points),
        mean,
        t_interval(points),
        p_value(0.0, "two-sided"),
        p_wilcoxon,
        None
        if margin is None
        else max(p_value(-margin, "greater"), p_value(margin, "less")),
    )


def t_interval(values, confidence=0.95):
    """Student's interval (low, high) for the mean of at least two values."""
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
    if len(values) < 2:  # SciPy wants two.
        return 1.0 if len(values) else None
    result = stats.permutation_test(
        (stats.rankdata(np.abs(values)) * np.sign(values),),
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
    known = [index for index, p in enumerate(p_values) if p is not None]
    adjusted, largest = [None] * len(p_values), 0.0
    for rank, index in enumerate(sorted(known, key=p_values.__getitem__)):
        largest = max(largest, (len(known) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted
