"""The tables of paired comparisons in a report."""

from typing import Any
from typing import NamedTuple
from typing import Optional

from tools.sweep_report import runs
from tools.sweep_report import statistics
from tools.sweep_report import tables
from tools.sweep_report.page import Table

_ALPHA = 0.05
_UNTESTED = (
    "Paired by seed. Not tested: that takes two seeds, and differences that "
    "are not all the same."
)


class _Row(NamedTuple):
    key: Any  # What is compared.
    pair: statistics.Comparison
    p: Optional[float]  # That there is no difference; Holm's.
    p_equal: Optional[float]  # That there is one; Holm's.


def gains(gains):
    """Gains over the baseline: (method, batch_size) to a `Comparison`."""
    rows = _rows(gains, gains.values())
    count = sum(row.p is not None for row in rows)
    return Table.of(
        "Gain over the baseline of the same batch size, points of top-1",
        {
            "method": lambda row: runs.label(row.key[0]),
            "batch size": lambda row: str(row.key[1]),
            **_tests("mean gain", {"p (t)": lambda row: p_text(row.pair.p_t)}),
        },
        rows,
        "Paired by seed: Student's t on the differences. Holm's correction is "
        f"for the {count} tests of this table; the intervals are not "
        "corrected."
        if count
        else _UNTESTED,
        num_labels=2,
    )


def fit(fits):
    """Gains by how well the baseline fits: key to (percent, `Comparison`).

    A key is (method, batch_size, variant); the percent are of the training
    images that the baseline gets right.
    """
    return Table.of(
        "Gain over the baseline of the same batch size and variant, by how "
        "many training images the baseline gets right",
        {
            "method": lambda row: runs.label(row.key[0]),
            "batch size": lambda row: str(row.key[1]),
            "variant": lambda row: row.key[2],
            "baseline, training images in %": lambda row: (
                f"{fits[row.key][0]:.1f}"
            ),
            **_differences("mean gain"),
        },
        [_Row(key, pair, None, None) for key, (_, pair) in fits.items()],
        "Paired by seed; not tested here.",
        num_labels=3,
    )


def equality(pairs, margin):
    """ConAdv against DisAdv: batch size to a `Comparison` with a margin."""
    within = f"equal within {margin:g}"
    return Table.of(
        "ConAdv minus DisAdv, points of top-1",
        {
            "batch size": lambda row: str(row.key),
            **_tests("mean difference"),
            f"p ({within}, Holm)": lambda row: p_text(row.p_equal),
            f"{within} at 5 %": lambda row: _verdict(row.p_equal),
        },
        _rows(pairs, pairs.values()),
        "Paired by seed. That no difference is seen does not show equality: "
        "two one-sided t tests do, if both reject a difference of "
        f"{margin:g} points or more. Holm's correction is for the tests of a "
        "difference in one family and for those of equality in another."
        if any(pair.p_t is not None for pair in pairs.values())
        else _UNTESTED,
    )


def variants(cells, pairs):
    """Variants: (`Cell` of one, `Cell` it is compared with), `Comparison`."""
    return Table.of(
        "Variants, top-1 in % and difference in points",
        {
            "method": lambda row: runs.label(row.key[0].method),
            "batch size": lambda row: str(row.key[0].batch_size),
            "variant": lambda row: row.key[0].variant,
            "as it is": lambda row: tables.mean_text(row.key[1]),
            "changed": lambda row: tables.mean_text(row.key[0]),
            **_tests("mean difference"),
        },
        _rows(cells, pairs),
        "Paired by seed; otherwise the same epsilon, tau and learning rate, "
        "but for what the variant says.",
        num_labels=3,
    )


def p_text(p_value):
    """A p value, or a dash where there was no test."""
    if p_value is None:
        return "-"
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.4f}"


def _rows(keys, pairs):
    different = statistics.holm([pair.p_t for pair in pairs])
    equal = statistics.holm([pair.p_equivalent for pair in pairs])
    return [_Row(*row) for row in zip(keys, pairs, different, equal)]


def _differences(mean):
    """The columns of a comparison that is not tested."""

    def interval(row):
        known = row.pair.interval
        return "[{:+.2f}, {:+.2f}]".format(*known) if known else "-"

    def difference(row):
        known = row.pair.mean is not None
        return f"{row.pair.mean:+.2f}" if known else "-"

    return {
        "pairs": lambda row: str(row.pair.n),
        mean: difference,
        "95 % interval": interval,
    }


def _tests(mean, more=()):
    """The columns of a comparison, `more` before those of Holm's p."""
    return {
        **_differences(mean),
        **dict(more),
        "p (t, Holm)": lambda row: p_text(row.p),
        "differs at 5 %": lambda row: _verdict(row.p),
    }


def _verdict(p_value):
    if p_value is None:
        return "-"
    return "yes" if p_value < _ALPHA else "no"
