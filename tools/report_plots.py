"""Pictures of a report."""

import numpy as np

from experiments import figures
from tools import report_runs

# The palette of Okabe and Ito (2008), told apart by the colour-blind too. The
# baseline is black; a method has its colour and marker in every picture.
STYLES = {
    "baseline": {"color": "#000000", "marker": "o"},
    "aa": {"color": "#E69F00", "marker": "s"},
    "disadv": {"color": "#0072B2", "marker": "^"},
    "conadv": {"color": "#D55E00", "marker": "D"},
    "conadv_aa": {"color": "#009E73", "marker": "v"},
}
_OTHERS = "#CC79A7"  # Methods that are not the paper's, told by markers.


def batch_sizes(references, path):
    """Draws every run, means and standard deviations by batch size.

    Args:
      references: what `report_cells.references` returned.
      path: PNG file to write.
    """
    figure, (axis,) = _figure(1)
    methods = list(dict.fromkeys(method for method, _ in references))
    step = _dodge(references)
    for number, method in enumerate(methods):
        cells = {s: cell for (m, s), cell in references.items() if m == method}
        where = np.array([*cells]) * step ** (number - (len(methods) - 1) / 2)
        _errorbar(
            axis,
            method,
            number,
            where,
            [cell.spread["mean"] for cell in cells.values()],
            [cell.spread["std"] or 0.0 for cell in cells.values()],
        )
        for place, cell in zip(where, cells.values()):
            values = [*cell.top1.values()]
            axis.scatter(
                np.full(len(values), place * step**0.4),
                values,
                s=7,
                alpha=0.35,
                linewidths=0,
                color=_style(method, number)["color"],
            )
    _batch_size_axis(axis, {size for _, size in references})
    axis.set_ylabel("top-1, %; bars: standard deviation")
    _legend(axis)
    figure.savefig(path)


def gains(gains, path):
    """Draws mean gains over the baseline and their intervals.

    Args:
      gains: dict from (method, batch_size) to a `Comparison` with an interval.
      path: PNG file to write.
    """
    figure, (axis,) = _figure(1)
    methods = list(dict.fromkeys(method for method, _ in gains))
    step = _dodge(gains)
    for number, method in enumerate(methods):
        points = {s: gain for (m, s), gain in gains.items() if m == method}
        _errorbar(
            axis,
            method,
            number,
            np.array([*points]) * step ** (number - (len(methods) - 1) / 2),
            [gain.mean for gain in points.values()],
            [gain.interval[1] - gain.mean for gain in points.values()],
        )
    axis.axhline(0, color=STYLES["baseline"]["color"], lw=0.8)
    _batch_size_axis(axis, {size for _, size in gains})
    axis.set_ylabel("gain, points; bars: 95 % interval")
    _legend(axis)
    figure.savefig(path)


def curves(curves, baselines, label, path):
    """Draws accuracy along a setting, a panel for each batch size.

    Args:
      curves: dict from (method, batch_size) to a dict from a value to a
        `Cell`.
      baselines: dict from a batch size to the baseline's `Cell`.
      label: of the setting.
      path: PNG file to write.
    """
    sizes = sorted({size for _, size in curves})
    figure, axes = _figure(len(sizes))
    for axis, size in zip(axes, sizes):
        if size in baselines:
            _level(axis, baselines[size])
        members = {m: cells for (m, s), cells in curves.items() if s == size}
        values = sorted(
            {value for cells in members.values() for value in cells}
        )
        for number, (method, cells) in enumerate(members.items()):
            offset = number - (len(members) - 1) / 2
            _errorbar(
                axis,
                method,
                number,
                np.array([*cells]) + 0.012 * offset * np.ptp(values),
                [cell.spread["mean"] for cell in cells.values()],
                [cell.spread["std"] or 0.0 for cell in cells.values()],
            )
            _other_methods(axis, method, cells)
        axis.set_title(f"batch size {size}", fontsize=10)
        axis.set_xticks(
            values,
            [f"{value:.3g}" for value in values],
            rotation=60 if len(values) > 6 else 0,
        )
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
        _legend(axis, columns=2, height=1.08)
    axes[0].set_ylabel("top-1, %; bars: standard deviation")
    figure.savefig(path)


def _figure(columns):
    width = 6.4 if columns == 1 else 4.2
    figure, (axes,) = figures.panels(1, columns, width, 4.2, sharey=True)
    return figure, axes


def _style(method, number=0):
    """Color and marker; `number` tells other methods of a picture apart."""
    other = {"color": _OTHERS, "marker": "PX*p<>"[number % 6]}
    return STYLES.get(method, other)


def _errorbar(axis, method, number, where, means, bars):
    axis.errorbar(
        where,
        means,
        bars,
        ms=5,
        lw=1.2,
        capsize=3,
        label=report_runs.label(method),
        **_style(method, number),
    )


def _other_methods(axis, method, cells):
    """Marks the points of a line that are another method: DisAdv at tau 0."""
    for value, cell in cells.items():
        if cell.method != method:
            axis.plot(
                value,
                cell.spread["mean"],
                ls="",
                ms=8,
                zorder=3,
                label=report_runs.label(cell.method),
                **_style(cell.method),
            )


def _level(axis, cell):
    """The baseline, which has no attack: a line with a band around it."""
    mean, deviation = cell.spread["mean"], cell.spread["std"] or 0.0
    color = STYLES["baseline"]["color"]
    label = report_runs.label("baseline")
    axis.axhline(mean, color=color, ls="--", lw=1, label=label)
    axis.axhspan(mean - deviation, mean + deviation, color=color, alpha=0.08)


def _dodge(keys):
    """Ratio that keeps methods apart, so that no bar hides another.

    Together they take at most half the way to the next batch size.
    """
    sizes = sorted({size for _, size in keys})
    nearest = min((b / a for a, b in zip(sizes, sizes[1:])), default=2.0)
    return min(1.08, nearest ** (0.5 / len({method for method, _ in keys})))


def _legend(axis, columns=3, height=1.0):
    """Above the axis, where it hides nothing."""
    axis.legend(
        fontsize=8,
        ncols=columns,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, height),
    )


def _batch_size_axis(axis, sizes):
    axis.set_xscale("log", base=2)
    axis.set_xticks(
        sorted(sizes),
        [str(size) for size in sorted(sizes)],
        rotation=45 if len(sizes) > 4 else 0,
    )
    axis.set_xticks([], minor=True)
    axis.set_xlim(min(sizes) / 1.25, max(sizes) * 1.25)
    axis.set_xlabel("global batch size")
    axis.grid(alpha=0.3)
