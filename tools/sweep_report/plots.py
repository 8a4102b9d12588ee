"""The figures of a report. Each function returns a Matplotlib figure.

`representatives` and `curves` are DataFrames of seed groups, and `pairs` is a
DataFrame of `statistics.compare_pairs`. Bars need `plots.MIN_RUNS` runs.
"""

import collections

import numpy as np
import pandas as pd

from experiments import plots
from experiments.methods import METHODS
from tools.sweep_report import sweep

_BASELINE = METHODS["baseline"]
_OTHERS = "#777777"  # Methods that METHODS lacks; their markers differ.
_DASHES = ("--", ":", "-.")  # Of the variants of a method.


def batch_sizes(representatives):
    """Draws every run, means and standard deviations by batch size.

    The variants of a method have its color, hollow markers and dashed lines.
    """
    means, deviations = _bars(representatives)
    figure, axis, positions, step = _by_batch_size(
        representatives, means, deviations, _top1_label(representatives)
    )
    for position, group in zip(positions, representatives.itertuples()):
        if group.num_runs == 1:
            continue  # The mean shows it.
        axis.scatter(
            [position * step**0.4] * group.num_runs,
            group.top1,
            s=7,
            alpha=0.35,
            linewidths=0,
            color=_style(group.method)["color"],
        )
    return figure


def gains(pairs):
    """Draws mean gains over the baseline and their intervals."""
    figure, axis, _, _ = _by_batch_size(
        pairs, *_intervals(pairs), _gain_label(pairs)
    )
    axis.axhline(0, color=_BASELINE.color, lw=0.8)
    return figure


def fit(pairs):
    """Draws gains against the baseline's training accuracy."""
    figure, (axis,) = _figure(1)
    drawn = pairs.assign(is_variant=pairs.variant != "")
    keys = ["method", "is_variant"]
    by_line = drawn.groupby(keys, sort=False, observed=True)
    for number, ((method, is_variant), drawn) in enumerate(by_line):
        # Lines stand apart, so that no bar hides another.
        positions = drawn.train_top1_other - 0.15 * number
        style = {**_style(method, number), "label": sweep.label(method)}
        if is_variant:
            style["label"] += ", variants"
            style["markerfacecolor"] = "white"
        _errorbar(axis, positions, *_intervals(drawn), **style, ls="")
    axis.axhline(0, color=_BASELINE.color, lw=0.8)
    axis.set_xlabel("baseline's training accuracy in %")
    axis.set_ylabel(_gain_label(pairs))
    axis.grid(alpha=0.3)
    _legend(axis)
    return figure


def curves(curves, baselines, label):
    """Draws accuracy along a setting, with a subplot for each batch size.

    Args:
      curves: DataFrame of seed groups with the columns `line`, the method whose
        line has the group, and `value`, of the setting.
      baselines: DataFrame of the baseline's representatives.
      label: name of the setting in the figure.
    """
    by_size = curves.groupby("batch_size")
    figure, axes = _figure(len(by_size))
    for axis, (size, groups) in zip(axes, by_size):
        _level(axis, baselines[baselines.batch_size == size])
        values = np.unique(groups.value)
        lines = groups.groupby("line", sort=False)
        for number, (method, drawn) in enumerate(lines):
            offset = number - (len(lines) - 1) / 2
            positions = drawn.value + 0.012 * offset * np.ptp(values)
            style = {**_style(method, number), "label": sweep.label(method)}
            _errorbar(axis, positions, *_bars(drawn), **style)
            # DisAdv at tau 0.
            for group in drawn[drawn.method != method].itertuples():
                axis.plot(
                    group.value,
                    group.top1_mean,
                    ls="",
                    ms=8,
                    zorder=3,
                    label=sweep.label(group.method),
                    **_style(group.method),
                )
        axis.set_title(f"batch size {size}", fontsize=10)
        axis.set_xticks(
            values,
            [f"{value:.3g}" for value in values],
            rotation=60 if len(values) > 6 else 0,
        )
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
        _legend(axis, columns=2, height=1.08)
    axes[0].set_ylabel(_top1_label(curves))
    return figure


def _bars(groups):
    """Returns means and deviations, which are NaN for a few runs."""
    known = groups.num_runs >= plots.MIN_RUNS
    return groups.top1_mean, groups.top1_std.where(known)


def _intervals(pairs):
    """Returns gains and halves of their intervals, NaN for a few pairs."""
    halves = pairs.high - pairs.difference
    return pairs.difference, halves.where(pairs.num_pairs >= plots.MIN_RUNS)


def _top1_label(groups):
    if _bars(groups)[1].isna().all():
        return f"top-1 in %, of fewer than {plots.MIN_RUNS} runs"
    return "top-1 in %, with standard deviation"


def _gain_label(pairs):
    if _intervals(pairs)[1].isna().all():
        return f"gain in points, from fewer than {plots.MIN_RUNS} pairs"
    return "gain in points, with 95 % interval"


def _figure(columns, num_lines=0):
    """Returns (figure, axes); many lines need room for a long legend."""
    width = 6.4 if columns == 1 else 4.2
    height = 4.2 + 0.1 * max(0, num_lines - 6)
    figure, (axes,) = plots.subplots(1, columns, width, height, sharey=True)
    return figure, axes


def _by_batch_size(groups, means, halves, label):
    """Draws a line with error bars for each method and variant.

    Args:
      groups: DataFrame with the columns method, variant, label and batch_size.
      means: Series of the middles of the bars.
      halves: Series of half the lengths of the bars.
      label: label of the vertical axis.

    Returns:
      (figure, axis, Series of the positions of the rows, ratio of neighbouring
      positions of one batch size).
    """
    lines = _line_styles(groups)
    figure, (axis,) = _figure(1, len(lines))
    sizes = sorted(groups.batch_size.unique())
    # Lines stand apart, so that no bar hides another. Together they take at
    # most half the way to the next batch size.
    nearest = min((b / a for a, b in zip(sizes, sizes[1:])), default=2.0)
    step = min(1.08, nearest ** (0.5 / len(lines)))
    offsets = pd.factorize(groups.label)[0] - (len(lines) - 1) / 2
    positions = groups.batch_size * step**offsets
    for name, style in lines.items():
        drawn = groups.label == name
        bars = positions[drawn], means[drawn], halves[drawn]
        _errorbar(axis, *bars, label=name, **style)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, sizes, rotation=45 if len(sizes) > 4 else 0)
    axis.set_xticks([], minor=True)
    # A band behind everything of one batch size.
    half = step ** (0.5 * len(lines) + 0.4)
    for size in sizes:
        axis.axvspan(size / half, size * half, color="0.93", zorder=0)
    axis.set_xlim(sizes[0] / half / 1.25, sizes[-1] * half * 1.25)
    axis.set_xlabel("global batch size")
    axis.set_ylabel(label)
    axis.grid(alpha=0.3)
    _legend(axis)
    return figure, axis, positions, step


def _style(method, number=0):
    """Returns color and marker; `number` differs for unknown methods."""
    if method in METHODS:
        known = METHODS[method]
        return {"color": known.color, "marker": known.marker}
    return {"color": _OTHERS, "marker": "p<>hd8"[number % 6]}


def _line_styles(groups):
    """Returns {label: style} for the methods and variants of seed groups."""
    styles, numbers = {}, collections.Counter()
    rows = groups.drop_duplicates("label").itertuples()
    for number, row in enumerate(rows):
        styles[row.label] = _style(row.method, number)
        if row.variant:
            dashes = _DASHES[numbers[row.method] % len(_DASHES)]
            numbers[row.method] += 1
            styles[row.label] |= {"ls": dashes, "markerfacecolor": "white"}
    return styles


def _errorbar(axis, positions, means, halves, **style):
    size = 8 if style["marker"] == "*" else 5  # A star looks smaller.
    axis.errorbar(positions, means, halves, ms=size, lw=1.2, capsize=3, **style)


def _level(axis, baselines):
    """Draws the baseline, which has no attack, as a line with a band."""
    color = _BASELINE.color
    for mean, half in zip(*_bars(baselines)):
        axis.axhline(mean, color=color, ls="--", lw=1, label=_BASELINE.label)
        if not np.isnan(half):
            axis.axhspan(mean - half, mean + half, color=color, alpha=0.08)


def _legend(axis, columns=3, height=1.0):
    """Adds a legend above the axis; long names leave room for fewer columns."""
    _, names = axis.get_legend_handles_labels()
    if max(map(len, names), default=0) >= 35:
        columns -= 1
    axis.legend(
        fontsize=8,
        ncols=columns,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, height),
    )
