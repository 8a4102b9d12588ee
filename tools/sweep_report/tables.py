"""The tables of a report.

`groups`, `representatives` and `tuning` are DataFrames of `seed_groups`, and
`pairs` is a DataFrame of `statistics.compare_pairs`.
"""

import numpy as np
import pandas as pd

from tools.sweep_report.page import Table
from tools.sweep_report.statistics import holm
from tools.sweep_report.sweep import label

_ALPHA = 0.05
_UNTESTED = (
    "Paired by seed. Not tested: a test needs two seeds and differences that "
    "are not all equal."
)


def accuracy(representatives):
    """Tabulates methods by batch sizes, with the published numbers."""
    return _by_batch_size(
        "Top-1 in %, mean +- standard deviation (number of seeds)",
        representatives,
        with_paper(representatives),
    )


def settings(groups, representatives, tuning):
    """Tabulates every setting that was run."""
    rates = tuning.groupby("name").learning_rate.nunique()
    has_paper = groups.published.notna().any()
    return Table.from_columns(
        "All settings: learning rate and top-1 in %"
        + (" beside the paper's" if has_paper else ""),
        {
            "method": groups.label,
            "batch size": groups.batch_size,
            "epsilon": _texts(groups.epsilon, "{:.4g}"),
            "tau": _texts(groups.staleness, "{:.4g}"),
            "learning rate": _texts(groups.learning_rate, "{:g}"),
            "rates tried": _texts(groups.name.map(rates), "{:.0f}"),
            "n": groups.num_runs,
            "mean": _texts(groups.top1_mean, "{:.2f}"),
            "std": _texts(groups.top1_std, "{:.2f}"),
            "training": _texts(groups.train_top1, "{:.1f}"),
            "paper": _texts(groups.published, "{:.1f}"),
            "ours - paper": _texts(
                groups.top1_mean - groups.published, "{:+.2f}"
            ),
            "compared": np.where(
                groups.index.isin(representatives.index), "yes", "no"
            ),
            "preset": groups.preset,
        },
        "Rates tried: how many learning rates were compared on validation "
        "data. Training: training accuracy of the last epoch. A baseline that "
        "is below 100 underfits, and an attack regularizes."
        + ("" if has_paper else " No results were published for these runs."),
        num_labels=2,
    )


def gains(pairs):
    """Tabulates gains over the baseline."""
    tests = pairs.p.notna().sum()
    return Table.from_columns(
        "Gain over the baseline at the same batch size in points of top-1",
        {
            "method": pairs.method_label,
            "batch size": pairs.batch_size,
            **_differences(pairs, "mean gain"),
            "p (t)": _p_texts(pairs.p),
            **_tests(pairs),
        },
        "Paired by seed: Student's t test on the differences, with Holm's "
        f"correction for the {tests} tests of this table. The intervals are "
        "not corrected."
        if tests
        else _UNTESTED,
        num_labels=2,
    )


def fit(pairs):
    """Tabulates gains by the baseline's training accuracy."""
    return Table.from_columns(
        "Gain over the baseline at the same batch size and variant, by the "
        "baseline's training accuracy",
        {
            "method": pairs.method_label,
            "batch size": pairs.batch_size,
            "variant": pairs.variant,
            "baseline's training accuracy in %": _texts(
                pairs.train_top1_other, "{:.1f}"
            ),
            **_differences(pairs, "mean gain"),
        },
        "Paired by seed, without tests.",
        num_labels=3,
    )


def equality(pairs, margin):
    """Tabulates ConAdv against DisAdv, equal within `margin` points."""
    within = f"equal within {margin:g}"
    return Table.from_columns(
        "ConAdv minus DisAdv in points of top-1",
        {
            "batch size": pairs.batch_size,
            **_differences(pairs, "mean difference"),
            **_tests(pairs),
            f"p ({within}, Holm)": _p_texts(holm(pairs.p_equivalent)),
            f"{within} at 5 %": _verdicts(holm(pairs.p_equivalent)),
        },
        "Paired by seed. The lack of a significant difference does not show "
        "equality. Two one-sided t tests do if both reject a difference of "
        f"{margin:g} points or more. Holm's correction is applied to the tests "
        "of a difference and, separately, to the tests of equality."
        if pairs.p.notna().any()
        else _UNTESTED,
    )


def variants(pairs):
    """Tabulates variants against the settings that they change."""
    return Table.from_columns(
        "Variants, top-1 in % and difference in points",
        {
            "method": pairs.method_label,
            "batch size": pairs.batch_size,
            "variant": pairs.variant,
            "original": pairs.summary_other,
            "changed": pairs.summary,
            **_differences(pairs, "mean difference"),
            **_tests(pairs),
        },
        "Paired by seed. Epsilon, tau and learning rate are the same unless "
        "the variant changes them.",
        num_labels=3,
    )


def curves(name, curves, note):
    """Tabulates accuracy along a setting.

    Args:
      name: name of the setting in the table.
      curves: DataFrame of seed groups with the columns `line`, the method of
        the row; `value`, of the setting; `text`, of the accuracy.
      note: str.

    Returns:
      A `Table`.
    """
    return _pivot(
        f"Top-1 in % by {name}, mean +- standard deviation (number of seeds)",
        {"method": curves.line.map(label), "batch size": curves.batch_size},
        f"{name} {{:.4g}}",
        curves.value,
        curves.text,
        note,
    )


def speed(representatives):
    """Tabulates median rates."""
    return _by_batch_size(
        "Images per second, median over the runs",
        representatives,
        _texts(representatives.images_per_second, "{:,.0f}", "-"),
    )


def tuning(groups):
    """Tabulates accuracy on validation data by learning rate."""
    keys = ["label", "batch_size", "epsilon", "staleness"]
    best_first = groups.sort_values("top1_mean", ascending=False, kind="stable")
    rates = best_first.groupby(keys, dropna=False).learning_rate
    best = rates.transform("first")
    at_edge = (best == rates.transform("min")) | (
        best == rates.transform("max")
    )
    at_edge &= rates.transform("nunique") > 1
    edge = at_edge.map({True: " (at the edge)", False: ""})
    return _pivot(
        "Learning rates by top-1 in % on validation data",
        {
            "method": groups.label,
            "batch size": groups.batch_size,
            "epsilon": _texts(groups.epsilon, "{:.4g}"),
            "tau": _texts(groups.staleness, "{:.4g}"),
            "best rate": _texts(best, "{:g}") + edge,
        },
        "rate {:g}",
        groups.learning_rate,
        groups.summary,
        "At the edge: the best rate may be outside the range that was tried. "
        "Tuning trains on fewer images and therefore with smaller batches.",
    )


def with_paper(groups):
    """Returns means and deviations with the published numbers."""
    return groups.summary + _texts(groups.published, ", paper {:.1f}")


def _texts(values, template, missing=""):
    """Formats a Series; `missing` stands for NaN."""
    texts = [
        missing if pd.isna(value) else template.format(value)
        for value in values
    ]
    return pd.Series(texts, values.index, dtype=object)


def _p_texts(p_values):
    texts = _texts(p_values, "{:.4f}", "-")
    return texts.mask(p_values < 1e-4, "< 0.0001")


def _verdicts(p_values):
    verdicts = (p_values < _ALPHA).map({True: "yes", False: "no"})
    return verdicts.where(p_values.notna(), "-")


def _differences(pairs, name):
    """Returns the columns of a comparison; `name`: heading of the mean."""
    low = _texts(pairs.low, "[{:+.2f}, ", "-")
    return {
        "pairs": pairs.num_pairs,
        name: _texts(pairs.difference, "{:+.2f}", "-"),
        "95 % interval": low + _texts(pairs.high, "{:+.2f}]"),
    }


def _tests(pairs):
    """Returns the columns of corrected tests."""
    return {
        "p (t, Holm)": _p_texts(holm(pairs.p)),
        "differs at 5 %": _verdicts(holm(pairs.p)),
    }


def _by_batch_size(title, representatives, texts):
    return _pivot(
        title,
        {"method": representatives.method_label},
        "batch size {}",
        representatives.batch_size,
        texts,
    )


def _pivot(title, labels, heading, values, texts, note=""):
    """Makes a table with a column for each value.

    Args:
      title: str.
      labels: {heading: Series} of the columns that name the rows.
      heading: template for the headings of the other columns.
      values: Series of numbers.
      texts: Series of the texts below the headings.
      note: str.

    Returns:
      A `Table`.
    """
    rows = pd.DataFrame(labels).astype(str)
    frame = rows.assign(value=values, text=texts)
    table = frame.pivot_table("text", [*labels], "value", aggfunc="last")
    table = table.rename(columns=heading.format).fillna("-").reset_index()
    # Pivoting sorts the rows.
    table = rows.drop_duplicates().merge(table)
    return Table(title, table, note, min(len(labels), 2))
