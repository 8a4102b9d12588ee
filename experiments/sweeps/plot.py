"""The picture of a sweep: top-1 against batch size."""

import collections

import numpy as np

from conadv_tf import csv_file
from experiments import methods
from experiments import plots
from experiments.results import MeanStd
from experiments.sweeps import table

_STYLES = ("-", "--", ":", "-.")  # Of several lines of one method.


def draw(results_path, path):
    """Draws top-1 against batch size: every run, means and deviations.

    Args:
      results_path: results.csv of a sweep.
      path: PNG file to write.
    """
    rows = csv_file.read(results_path)
    lines = table.lines(rows)
    sizes = sorted({size for by_size in lines.values() for size in by_size})
    figure, axes = plots.subplots(1, 1, width=5.5, height=4.0)
    axis = axes[0][0]
    drawn = collections.Counter()
    step = min(0.12, 0.7 / len(lines))
    for number, (label, by_size) in enumerate(lines.items()):
        values = [by_size[size] for size in sizes if size in by_size]
        spreads = [MeanStd.of(cell) for cell in values]
        # Side by side, so that bars do not hide one another.
        shift = step * (number - (len(lines) - 1) / 2)
        where = [sizes.index(size) + shift for size in sizes if size in by_size]
        name = label.split(",")[0]
        # Others than the paper's have Matplotlib's next colour.
        method = methods.METHODS.get(name)
        bars = axis.errorbar(
            where,
            [spread.mean for spread in spreads],
            [spread.std or 0 for spread in spreads],
            color=method and method.color,
            marker=method.marker if method else "o",
            linestyle=_STYLES[drawn[name] % len(_STYLES)],
            capsize=4,
            label=f"{label} (n={min(map(len, values))})",
        )
        drawn[name] += 1
        for position, cell in zip(where, values):
            if len(cell) == 1:
                continue  # It is the mean.
            axis.scatter(
                np.full(len(cell), position + step / 3),
                cell,
                s=9,
                alpha=0.5,
                color=bars[0].get_color(),
            )
    axis.set_xticks(range(len(sizes)), sizes)
    # A band for each batch size: all in it are of the same.
    axis.set_xlim(-0.5, len(sizes) - 0.5)
    for place in range(0, len(sizes), 2):
        axis.axvspan(place - 0.5, place + 0.5, color="0.95", zorder=0)
    if table.is_smoke_test(rows):
        axis.set_title("smoke test: not a result")
    axis.set_xlabel("global batch size")
    axis.set_ylabel("top-1, %")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    plots.save(figure, path)
