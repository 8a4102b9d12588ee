"""Comparisons paired by seed, and corrections for several tests.

A seed fixes the initial weights and the order of the batches, so two methods
are compared seed by seed: the luck of a seed that both share cancels.
Accuracies are in percent, differences in points.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

_NAN = float("nan")


class Comparison(NamedTuple):
    """Differences of runs paired by seed; NaN where there are too few pairs.

    Attributes:
      num_pairs: number of seeds that both sides have.
      difference: mean difference, points.
      low: lower bound of the 95 % interval of the mean, points.
      high: upper bound, points.
      p: p value of the two-sided paired t test.
      p_equivalent: p value of the test for equivalence (Schuirmann 1987): the
        larger one of two one-sided t tests against the margins.
    """

    num_pairs: int
    difference: float = _NAN
    low: float = _NAN
    high: float = _NAN
    p: float = _NAN
    p_equivalent: float = _NAN


def compare(values, others, margin=None):
    """Compares two seed groups seed by seed.

    Args:
      values: Series of percent by seed.
      others: Series of percent by seed; subtracted.
      margin: points within which the two count as equal; None for no test.

    Returns:
      A `Comparison`.
    """
    # Accuracies are float32 fractions of counts. Equal differences of counts
    # have to be equal here.
    points = (values - others).dropna().round(4)
    # Equal differences leave the t statistic without a denominator.
    if points.nunique() < 2:
        return Comparison(len(points), points.mean())

    def p_value(center, side):
        return float(stats.ttest_1samp(points, center, alternative=side).pvalue)

    p_equivalent = _NAN
    if margin is not None:
        p_equivalent = max(p_value(-margin, "greater"), p_value(margin, "less"))
    return Comparison(
        len(points),
        points.mean(),
        *t_interval(points),
        p_value(0.0, "two-sided"),
        p_equivalent,
    )


def compare_pairs(pairs, margin=None):
    """Compares the two seed groups in each row of a table.

    Args:
      pairs: DataFrame with the columns `top1` and `top1_other`: Series of
        percent by seed.
      margin: points within which the two count as equal; None for no test.

    Returns:
      `pairs` with the columns of `Comparison`.
    """
    top1 = zip(pairs.top1, pairs.top1_other)
    found = [compare(values, others, margin) for values, others in top1]
    names = list(Comparison.__annotations__)
    return pairs.join(pd.DataFrame(found, pairs.index, names))


def t_interval(values, confidence=0.95):
    """Returns Student's interval (low, high) for the mean of several values."""
    mean, error = np.mean(values), stats.sem(values)
    low, high = stats.t.interval(confidence, len(values) - 1, mean, error)
    return float(low), float(high)


def holm(p_values):
    """Adjusts the p values of a family of tests (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1, and is at least the one
    before it. Rejecting below alpha then errs anywhere with probability alpha.

    Args:
      p_values: Series of floats; NaN where there was no test.

    Returns:
      Series of floats, at most 1, with the same index; NaN stays NaN.
    """
    known = p_values.dropna().sort_values()
    adjusted = known * np.arange(len(known), 0, -1)
    return adjusted.cummax().clip(upper=1.0).reindex(p_values.index)
