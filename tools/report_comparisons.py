"""The tables of paired comparisons in a report."""

from tools import report_runs
from tools import report_tables
from tools import sweep_statistics
from tools.report_page import Table

_ALPHA = 0.05


def gains(gains):
    """Gains over the baseline.

    Args:
      gains: dict from (method, batch_size) to a `Comparison`.
    """
    adjusted = sweep_statistics.holm([gain.p_t for gain in gains.values()])
    rows = [
        (
            report_runs.label(method),
            str(size),
            *_difference(gain),
            p_text(gain.p_wilcoxon),
            p_text(gain.p_t),
            p_text(p_holm),
            _verdict(p_holm),
        )
        for ((method, size), gain), p_holm in zip(gains.items(), adjusted)
    ]
    count = sum(p is not None for p in adjusted)
    return Table(
        "Gain over the baseline of the same batch size, points of top-1",
        (
            "method",
            "batch size",
            "pairs",
            "mean gain",
            "95 % interval",
            "p (Wilcoxon)",
            "p (t)",
            "p (t, Holm)",
            "differs at 5 %",
        ),
        rows,
        "Paired by seed: Student's t on the differences, and Wilcoxon's "
        "signed-rank test as a check (with n pairs its p is at least "
        f"2^(1-n)). Holm's correction is for the {count} t tests of this "
        "table; the intervals are not corrected.",
        num_labels=2,
    )


def equality(pairs, margin):
    """ConAdv against DisAdv.

    Args:
      pairs: dict from batch size to a `Comparison`.
      margin: points, as in `sweep_statistics.compare`.
    """
    different = sweep_statistics.holm([pair.p_t for pair in pairs.values()])
    equal = sweep_statistics.holm(
        [pair.p_equivalent for pair in pairs.values()]
    )
    rows = [
        (
            str(size),
            *_difference(pair),
            p_text(pair.p_wilcoxon),
            p_text(p_different),
            _verdict(p_different),
            p_text(p_equal),
            _verdict(p_equal),
        )
        for (size, pair), p_different, p_equal in zip(
            pairs.items(), different, equal
        )
    ]
    return Table(
        "ConAdv minus DisAdv, points of top-1",
        (
            "batch size",
            "pairs",
            "mean difference",
            "95 % interval",
            "p (Wilcoxon)",
            "p (t, Holm)",
            "differs at 5 %",
            f"p (equal within {margin:g}, Holm)",
            f"equal within {margin:g} at 5 %",
        ),
        rows,
        "Paired by seed. That no difference is seen does not show equality: "
        "two one-sided t tests do, if both reject a difference of "
        f"{margin:g} points or more. Holm's correction is for the tests of a "
        "difference in one family and for those of equality in another.",
    )


def variants(pairs):
    """Variants of rows against the rows as they are.

    Args:
      pairs: list of (variant, `Cell` it is compared with, `Comparison`), a
        variant being a `Cell`.
    """
    adjusted = sweep_statistics.holm([pair.p_t for _, _, pair in pairs])
    rows = [
        (
            report_runs.label(cell.method),
            str(cell.batch_size),
            cell.variant,
            report_tables.top1_text(other, with_paper=False),
            report_tables.top1_text(cell, with_paper=False),
            *_difference(pair),
            p_text(pair.p_wilcoxon),
            p_text(p_holm),
            _verdict(p_holm),
        )
        for (cell, other, pair), p_holm in zip(pairs, adjusted)
    ]
    return Table(
        "Variants, top-1 in % and difference in points",
        (
            "method",
            "batch size",
            "variant",
            "as it is",
            "changed",
            "pairs",
            "mean difference",
            "95 % interval",
            "p (Wilcoxon)",
            "p (t, Holm)",
            "differs at 5 %",
        ),
        rows,
        "Paired by seed; otherwise the same epsilon, tau and learning rate, "
        "but for what the variant says.",
        num_labels=3,
    )


def p_text(p_value):
    """A p value, or a dash where there was no test."""
    if p_value is None:
        return "-"
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.4f}"


def _difference(pair):
    if pair.mean is None:
        return "0", "-", "-"
    interval = "-"
    if pair.interval is not None:
        low, high = pair.interval
        interval = f"[{low:+.2f}, {high:+.2f}]"
    return str(pair.n), f"{pair.mean:+.2f}", interval


def _verdict(p_value):
    if p_value is None:
        return "-"
    return "yes" if p_value < _ALPHA else "no"
