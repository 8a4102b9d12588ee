"""Statistics of a sweep's report against SciPy and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.sweep_rows import row
from tests.sweep_rows import write
from tools.sweep_report import seed_groups
from tools.sweep_report import statistics
from tools.sweep_report import sweep

POINTS = [0.2, 0.8, -0.4, 1.0, 0.6, 1.2, 0.1, 0.5]


def compare(points, margin=None):
    """Compares seed groups whose pairs differ by these points."""
    others = 90 + 0.25 * pd.Series(range(len(points)))
    return statistics.compare(others + points, others, margin)


def test_comparison_equals_scipy():
    result = compare(POINTS, margin=1.0)
    assert result.num_pairs == 8
    assert result.difference == pytest.approx(0.5)
    expected = stats.ttest_1samp(POINTS, 0.0)
    interval = expected.confidence_interval(0.95)
    assert (result.low, result.high) == pytest.approx(
        (interval.low, interval.high)
    )
    assert result.p == pytest.approx(expected.pvalue)
    # With a mean above 0 the upper bound is harder to reject.
    upper = stats.ttest_1samp(POINTS, 1.0, alternative="less").pvalue
    assert result.p_equivalent == pytest.approx(upper)
    assert compare([-p for p in POINTS], 1.0).p_equivalent == pytest.approx(
        upper
    )
    assert np.isnan(compare(POINTS).p_equivalent)


def test_interval_by_hand():
    # Mean 2, standard error 1 / sqrt(3); 4.302653 is from a table for 2 degrees
    # of freedom.
    half = 4.302653 / 3**0.5
    assert statistics.t_interval([1.0, 2.0, 3.0]) == pytest.approx(
        (2 - half, 2 + half), rel=1e-6
    )


def test_interval_covers_the_mean_in_95_percent_of_samples():
    rng = np.random.default_rng(0)
    covered = 0
    for sample in rng.normal(0.3, 0.7, size=(1000, 10)):
        low, high = statistics.t_interval(sample)
        covered += low < 0.3 < high
    # Within three standard deviations of a proportion of 0.95 in 1000.
    assert abs(covered / 1000 - 0.95) < 3 * (0.95 * 0.05 / 1000) ** 0.5


def test_seeds_that_only_one_side_has_are_left_out():
    values = pd.Series({1: 5.0, 2: 7.0, 4: 9.0})
    result = statistics.compare(values, pd.Series({2: 6, 4: 6, 7: 1}))
    assert (result.num_pairs, result.difference) == (2, 2.0)
    nothing = statistics.compare(values[[1]], values[[2]])
    assert nothing.num_pairs == 0 and np.isnan(nothing[1:]).all()


@pytest.mark.parametrize("points", [[0.3], [0.3, 0.3, 0.3], [0.0, 0.0]])
def test_equal_differences_have_no_interval(points):
    result = compare(points, margin=0.5)
    assert result.num_pairs == len(points)
    assert result.difference == pytest.approx(points[0])
    assert np.isnan(result[2:]).all()


# In float32 0.972 - 0.966 is not 0.960 - 0.954, so equal differences of
# counts once had a tiny deviation and p values of 1e-9.
def test_equal_differences_of_counts_have_no_interval():
    counts = np.arange(9) / 500
    values, others = (
        pd.Series(100 * np.float32(first + counts).astype(float))
        for first in (0.954, 0.95)
    )
    assert (values - others).nunique() > 1
    assert np.isnan(statistics.compare(values, others).low)


def test_holm_on_a_worked_example():
    # 4 x 0.005; 3 x 0.01; 2 x 0.03; 0.04 rises to the one before it.
    p_values = pd.Series([0.01, 0.04, np.nan, 0.03, 0.005])
    expected = [0.03, 0.06, np.nan, 0.06, 0.02]
    np.testing.assert_allclose(statistics.holm(p_values), expected)
    assert [*statistics.holm(pd.Series([0.6, 0.7]))] == [1.0, 1.0]


def test_representatives_are_not_the_best(tmp_path):
    rows = [
        row(method, 8, seed, top1, epsilon=epsilon, staleness=staleness)
        for method, epsilon, staleness, seeds, top1 in (
            ("disadv", 0.1, 0, 3, 0.5),
            ("conadv", 0.05, 1, 3, 0.9),
            ("conadv", 0.1, 1, 3, 0.5),
            ("conadv", 0.1, 2, 2, 0.99),
            ("conadv", 0.2, 1, 2, 0.99),
            ("conadv", 0.3, 2, 2, 0.99),  # On neither curve.
        )
        for seed in range(seeds)
    ]
    runs = sweep.read_runs(write(tmp_path, rows) / "results.csv")
    groups = seed_groups.seed_groups(runs)
    chosen = seed_groups.representatives(groups, epsilon=0.2)
    assert dict(zip(chosen.method, chosen.epsilon)) == {
        "disadv": 0.1,
        "conadv": 0.2,
    }
    # Epsilon 0.05 has as many seeds, but most runs of the sweep have 0.1.
    conadv = seed_groups.representatives(groups)[1:]
    assert (*conadv.epsilon, *conadv.staleness) == (0.1, 1)
    curve = seed_groups.curves(groups, conadv, "epsilon")
    assert [*curve.epsilon] == [0.05, 0.1, 0.2]
    assert [*curve.num_runs] == [3, 3, 2]
    curve = seed_groups.curves(groups, conadv, "staleness")
    assert [*curve.staleness] == [1, 2]


def test_a_variant_is_compared_with_the_most_similar_settings(tmp_path):
    rows = [
        row("conadv", 8, seed, 0.5, **settings)
        for settings, seeds in (
            ({"epsilon": 0.1}, 3),
            ({"epsilon": 0.2, "learning_rate": 1.0}, 3),
            ({"epsilon": 0.2}, 2),
            ({"epsilon": 0.2, "variant": "a=1"}, 3),
            ({"epsilon": 0.2, "variant": "a=1", "learning_rate": 2.0}, 3),
        )
        for seed in range(seeds)
    ]
    runs = sweep.read_runs(write(tmp_path, rows) / "results.csv")
    pairs = seed_groups.with_originals(seed_groups.seed_groups(runs))
    assert [*pairs.epsilon_other] == [0.2, 0.2]
    # No original has rate 2, so the number of seeds decides.
    rates = zip(pairs.learning_rate, pairs.learning_rate_other)
    assert dict(rates) == {4.0: 4.0, 2.0: 1.0}


def test_epsilon_as_it_is_typed():
    values = pd.Series([4 / 255, 5 / 255, 0.0, np.nan])
    is_given = seed_groups.is_epsilon(values, 0.01569)
    assert [*is_given] == [True, False, False, False]
    assert not seed_groups.is_epsilon(values, None).any()
    assert [*seed_groups.is_epsilon(values, 0.0)] == [False, False, True, False]
