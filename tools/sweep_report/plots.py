"""Pictures of a report, each a PNG file at `path`."""

import numpy as np

from experiments import plots
from experiments.methods import METHODS
from tools.sweep_report import runs

_TOP1 = "top-1, %; bars: standard deviation"
_GAIN = "gain, points; bars: 95 % interval"
_BASELINE = METHODS["baseline"]
_OTHERS = "#777777"  # Methods that METHODS has not, told by markers.


def batch_sizes(references, path):
    """Draws every run, means and standard deviations by batch size."""
    bars = {key: _bar(cell) for key, cell in references.items()}
    figure, axis, places, step = _by_batch_size(bars, _TOP1)
    for key, cell in references.items():
        if len(cell.top1) == 1:
            continue  # It is the mean.
        axis.scatter(
            [places[key] * step**0.4] * len(cell.top1),
            [*cell.top1.values()],
            s=7,
            alpha=0.35,
            linewidths=0,
            color=_style(key[0])["color"],
        )
    plots.save(figure, path)


def gains(gains, path):
    """Draws mean gains over the baseline and their intervals."""
    bars = {key: _gain_bar(gain) for key, gain in gains.items()}
    figure, axis, _, _ = _by_batch_size(bars, _GAIN)
    axis.axhline(0, color=_BASELINE.color, lw=0.8)
    plots.save(figure, path)


def fit(fits, path):
    """Draws gains against how many training images the baseline gets right.

    Args:
      fits: from (method, batch_size, variant) to (percent, comparison), with
        intervals.
      path: file to write.
    """
    figure, (axis,) = _figure(1)
    methods = list(dict.fromkeys(method for method, *_ in fits))
    for number, method in enumerate(methods):
        drawn = [value for key, value in fits.items() if key[0] == method]
        places = [percent - 0.15 * number for percent, _ in drawn]
        bars = [_gain_bar(gain) for _, gain in drawn]
        _errorbar(axis, method, number, places, bars, ls="")
    axis.axhline(0, color=_BASELINE.color, lw=0.8)
    axis.set_xlabel("training images that the baseline gets right, %")
    axis.set_ylabel(_GAIN)
    axis.grid(alpha=0.3)
    _legend(axis)
    plots.save(figure, path)


def curves(curves, baselines, label, path):
    """Draws accuracy along a setting, a panel for each batch size.

    Args:
      curves: from (method, batch_size) to a dict from a value to a `Cell`.
      baselines: from a batch size to the baseline's `Cell`.
      label: of the setting.
      path: file to write.
    """
    sizes = sorted({size for _, size in curves})
    figure, axes = _figure(len(sizes))
    for axis, size in zip(axes, sizes):
        if size in baselines:
            _level(axis, baselines[size])
        members = {m: cells for (m, s), cells in curves.items() if s == size}
        values = sorted({v for cells in members.values() for v in cells})
        for number, (method, cells) in enumerate(members.items()):
            offset = number - (len(members) - 1) / 2
            where = np.array([*cells]) + 0.012 * offset * np.ptp(values)
            drawn = [_bar(cell) for cell in cells.values()]
            _errorbar(axis, method, number, where, drawn)
            # DisAdv at tau 0.
            for value, cell in cells.items():
                if cell.method != method:
                    axis.plot(
                        value,
                        cell.spread.mean,
                        ls="",
                        ms=8,
                        zorder=3,
                        label=runs.label(cell.method),
                        **_style(cell.method),
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
    axes[0].set_ylabel(_TOP1)
    plots.save(figure, path)


def _figure(columns):
    width = 6.4 if columns == 1 else 4.2
    figure, (axes,) = plots.subplots(1, columns, width, 4.2, sharey=True)
    return figure, axes


def _by_batch_size(bars, label):
    """Draws a line with bars for each method.

    Args:
      bars: dict from (method, batch_size) to (middle, half length).
      label: of the vertical axis.

    Returns:
      (figure, axis, dict from the keys of `bars` to where they stand, ratio
      of places that are beside each other).
    """
    figure, (axis,) = _figure(1)
    methods = list(dict.fromkeys(method for method, _ in bars))
    sizes = sorted({size for _, size in bars})
    # Methods stand apart, so that no bar hides another; together they take at
    # most half the way to the next batch size.
    nearest = min((b / a for a, b in zip(sizes, sizes[1:])), default=2.0)
    step = min(1.08, nearest ** (0.5 / len(methods)))
    places = {
        (method, size): size
        * step ** (methods.index(method) - (len(methods) - 1) / 2)
        for method, size in bars
    }
    for number, method in enumerate(methods):
        keys = [key for key in bars if key[0] == method]
        where, drawn = [places[k] for k in keys], [bars[k] for k in keys]
        _errorbar(axis, method, number, where, drawn)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, sizes, rotation=45 if len(sizes) > 4 else 0)
    axis.set_xticks([], minor=True)
    # A band for each batch size: all in it are of the same.
    half = step ** (0.5 * len(methods) + 0.4)
    for size in sizes:
        axis.axvspan(size / half, size * half, color="0.93", zorder=0)
    axis.set_xlim(sizes[0] / half / 1.25, sizes[-1] * half * 1.25)
    axis.set_xlabel("global batch size")
    axis.set_ylabel(label)
    axis.grid(alpha=0.3)
    _legend(axis)
    return figure, axis, places, step


def _bar(cell):
    return cell.spread.mean, cell.spread.std or 0.0


def _gain_bar(gain):
    return gain.mean, gain.interval[1] - gain.mean


def _style(method, number=0):
    """Color and marker; `number` tells other methods of a picture apart."""
    if method in METHODS:
        known = METHODS[method]
        return {"color": known.color, "marker": known.marker}
    return {"color": _OTHERS, "marker": "p<>hd8"[number % 6]}


def _errorbar(axis, method, number, where, bars, **line):
    axis.errorbar(
        where,
        *zip(*bars),
        ms=5,
        lw=1.2,
        capsize=3,
        label=runs.label(method),
        **_style(method, number),
        **line,
    )


def _level(axis, cell):
    """The baseline, which has no attack: a line with a band around it."""
    mean, deviation = _bar(cell)
    color = _BASELINE.color
    axis.axhline(mean, color=color, ls="--", lw=1, label=_BASELINE.label)
    axis.axhspan(mean - deviation, mean + deviation, color=color, alpha=0.08)


def _legend(axis, columns=3, height=1.0):
    """Above the axis, where it hides nothing; long names take a column."""
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
