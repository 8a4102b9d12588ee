"""Statistics of tools/report.py against SciPy and by hand."""

import numpy as np
import pytest
from scipy import stats

from tools.sweep_report import cells as cells_lib
from tools.sweep_report import statistics

POINTS = [0.2, 0.8, -0.4, 1.0, 0.6, 1.2, 0.1, 0.5]


def compare(points, margin=None):
    """Compares two cells whose pairs differ by these points."""
    others = {seed: 90 + 0.25 * seed for seed in range(len(points))}
    values = {seed: others[seed] + points[seed] for seed in others}
    return statistics.compare(values, others, margin)


def test_comparison_equals_scipy():
    result = compare(POINTS, margin=1.0)
    assert result.n == 8
    assert result.mean == pytest.approx(0.5)
    expected = stats.ttest_1samp(POINTS, 0.0)
    interval = expected.confidence_interval(0.95)
    assert result.interval == pytest.approx((interval.low, interval.high))
    assert result.p_t == pytest.approx(expected.pvalue)
    # Of a mean above 0 the upper bound is the one that is harder to reject.
    upper = stats.ttest_1samp(POINTS, 1.0, alternative="less").pvalue
    assert result.p_equivalent == pytest.approx(upper)
    assert compare([-p for p in POINTS], 1.0).p_equivalent == pytest.approx(
        upper
    )
    assert compare(POINTS).p_equivalent is None


def test_interval_by_hand():
    # Mean 2, standard error 1 / sqrt(3), 4.302653 from a table for 2 degrees.
    half = 4.302653 / 3**0.5
    low, high = statistics.t_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - half, 2 + half), rel=1e-6)


def test_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for sample in rng.normal(0.3, 0.7, size=(1000, 10)):
        low, high = statistics.t_interval(sample)
        covered += low < 0.3 < high
    # Three standard deviations of a proportion of 0.95 in 1000.
    assert abs(covered / 1000 - 0.95) < 3 * (0.95 * 0.05 / 1000) ** 0.5


def test_pairs_are_the_seeds_that_both_have():
    result = statistics.compare({1: 5.0, 2: 7.0, 4: 9.0}, {2: 6, 4: 6, 7: 1})
    assert (result.n, result.mean) == (2, 2.0)
    nothing = statistics.compare({1: 5.0}, {2: 6.0})
    assert nothing == statistics.Comparison(0)


@pytest.mark.parametrize("points", [[0.3], [0.3, 0.3, 0.3], [0.0, 0.0]])
def test_without_spread_there_is_no_interval(points):
    # In float32 0.972 - 0.966 is not 0.960 - 0.954, so equal differences of
    # counts had a tiny spread and p values of 1e-9.
    values = {s: 100 * float(np.float32(0.95 + s / 500)) for s in range(9)}
    others = {s: 100 * float(np.float32(0.95 + s / 500)) for s in range(9)}
    values = {s: values[s] + points[s] for s in range(len(points))}
    result = statistics.compare(values, others, 0.5)
    assert (result.n, result.mean) == (len(points), pytest.approx(points[0]))
    assert result.interval is result.p_t is result.p_equivalent is None
    float32 = {s: 100 * float(np.float32(0.954 + s / 500)) for s in range(9)}
    assert np.ptp(statistics.differences(float32, others)) == 0


def test_holm_on_a_worked_example():
    # 4 x 0.005; 3 x 0.01; 2 x 0.03; 0.04 rises to the one before it.
    p_values = [0.01, 0.04, None, 0.03, 0.005]
    expected = [0.03, 0.06, None, 0.06, 0.02]
    assert statistics.holm(p_values) == pytest.approx(expected)
    assert statistics.holm([0.6, 0.7]) == [1.0, 1.0]


def cell(method, epsilon, staleness, seeds, top1):
    return cells_lib.Cell(
        method,
        batch_size=8,
        epsilon=epsilon,
        staleness=staleness,
        variant="",
        learning_rate=4.0,
        preset="",
        name="",
        published=None,
        top1=dict.fromkeys(range(seeds), top1),
        train_top1=[],
        images_per_second=(),
    )


def test_what_is_compared_is_not_the_best():
    cells = [
        cell("disadv", 0.1, 0, 3, 50.0),
        cell("conadv", 0.05, 1, 3, 90.0),
        cell("conadv", 0.1, 1, 3, 50.0),
        cell("conadv", 0.1, 2, 2, 99.0),
        cell("conadv", 0.2, 1, 2, 99.0),
        cell("conadv", 0.3, 2, 2, 99.0),  # On neither curve.
    ]
    # As many seeds at 0.05, but most runs of the sweep are at 0.1.
    reference = cells_lib.references(cells)["conadv", 8]
    assert (reference.epsilon, reference.staleness) == (0.1, 1)
    chosen = cells_lib.references(cells, epsilon=0.2)
    assert chosen["conadv", 8].epsilon == 0.2
    assert chosen["disadv", 8].epsilon == 0.1
    curve = cells_lib.curve(cells, reference, "epsilon")
    assert {epsilon: len(cell.top1) for epsilon, cell in curve.items()} == {
        0.05: 3,
        0.1: 3,
        0.2: 2,
    }
    assert [*cells_lib.curve(cells, reference, "staleness")] == [1, 2]


def test_epsilon_as_it_is_typed():
    assert cells_lib.same_epsilon(4 / 255, 0.01569)
    assert not cells_lib.same_epsilon(4 / 255, 5 / 255)
    assert not cells_lib.same_epsilon(0.0, 0.1)
    assert cells_lib.same_epsilon(None, None)
    assert not cells_lib.same_epsilon(None, 0.1)
