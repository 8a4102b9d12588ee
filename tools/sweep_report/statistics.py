"""Statistics of a sweep: comparisons paired by seed, and corrections.

A seed fixes the first weights and the order of the batches, so two methods are
compared seed by seed: what a lucky seed gives to both cancels. Accuracies are
in percent, differences in points.
"""

import dataclasses
from typing import Optional

import numpy as np
from scipy import stats


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Differences of pairs of runs; None where n does not allow a value."""

    n: int
    mean: Optional[float] = None
    interval: Optional[tuple] = None
    p_t: Optional[float] = None
    p_equivalent: Optional[float] = None


def differences(values, others):
    """Differences of the seeds that both have: float64 [n], points.

    Rounded: accuracies are float32 fractions of counts, and what is a tie in
    counts must be one here.
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
      A `Comparison`: mean difference, its 95 % interval, the p value of the
      two-sided paired t test, and of two one-sided ones against +-margin
      (Schuirmann 1987) the larger one.
    """
    points = differences(values, others)
    if not len(points):
        return Comparison(0)
    # Equal differences leave the t statistic without a denominator.
    if len(points) == 1 or not np.ptp(points):
        return Comparison(len(points), float(points.mean()))

    def p_value(center, side):
        return float(stats.ttest_1samp(points, center, alternative=side).pvalue)

    p_equivalent = None
    if margin is not None:
        p_equivalent = max(p_value(-margin, "greater"), p_value(margin, "less"))
    return Comparison(
        len(points),
        float(points.mean()),
        t_interval(points),
        p_value(0.0, "two-sided"),
        p_equivalent,
    )


def t_interval(values, confidence=0.95):
    """Student's interval (low, high) for the mean of at least two values."""
    mean, error = np.mean(values), stats.sem(values)
    low, high = stats.t.interval(confidence, len(values) - 1, mean, error)
    return float(low), float(high)


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
