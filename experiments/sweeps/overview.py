"""Shows the results of a sweep as a Markdown table and as a plot."""

import collections

import numpy as np

from experiments import markdown_table
from experiments import methods
from experiments import plots
from experiments import smoke_test
from experiments.results import MeanStd

# Columns that may distinguish several series of one method.
_AXES = (
    "network",
    "dataset",
    "epsilon",
    "staleness",
    "learning_rate",
    "variant",
)
# Distinguish several series of one method in the plot.
_LINE_STYLES = ("-", "--", ":", "-.")


def series(rows):
    """Groups accuracies by method and batch size.

    Args:
      rows: list of {column: value}, new or read from results.csv.

    Returns:
      {label: {batch size: [top-1 in percent of each seed]}}. A label consists
      of the method and of the columns that differ between runs with the same
      method and batch size. A learning rate that was tuned for each batch size
      is therefore not part of it.
    """
    groups = collections.defaultdict(list)
    for row in rows:
        groups[row["method"], int(row["batch_size"])].append(row)
    axes = [
        axis
        for axis in _AXES
        if any(
            len({row[axis] for row in group}) > 1 for group in groups.values()
        )
    ]
    found = {}
    for row in rows:
        parts = (
            f"{axis.replace('_', ' ')} {row[axis] or 'none'}" for axis in axes
        )
        label = ", ".join([row["method"], *parts])
        by_size = found.setdefault(label, collections.defaultdict(list))
        by_size[int(row["batch_size"])].append(100 * float(row["top1"]))
    return found


def _batch_sizes(rows):
    return sorted({int(row["batch_size"]) for row in rows})


def _is_smoke_test(rows):
    return any(str(row.get("smoke_test")) == "True" for row in rows)


def markdown(rows):
    """Returns a table of top-1 in percent: mean +- standard deviation (n).

    Args:
      rows: list of {column: value}.

    Returns:
      Markdown text. A note precedes the table of a smoke test.
    """
    sizes = _batch_sizes(rows)
    note = f"{smoke_test.NOTE}\n\n" if _is_smoke_test(rows) else ""
    lines = []
    for label, by_size in series(rows).items():
        values = (by_size.get(size) for size in sizes)
        texts = (
            f"{MeanStd.of(v).text()} (n={len(v)})" if v else "" for v in values
        )
        lines.append([label, *texts])
    header = ["method", *(f"batch {size}" for size in sizes)]
    return note + markdown_table.table(header, lines)


def plot(rows, path):
    """Plots top-1 against batch size: means, deviations and single runs.

    Deviations need `plots.MIN_RUNS` runs.

    Args:
      rows: list of {column: value}.
      path: path of the PNG file.
    """
    sizes = _batch_sizes(rows)
    found = series(rows)
    # The legend is below the axis.
    height = 3.6 + 0.17 * len(found)
    figure, ((axis,),) = plots.subplots(1, 1, width=5.5, height=height)
    num_drawn = collections.Counter()
    step = min(0.12, 0.7 / len(found))
    for number, (label, by_size) in enumerate(found.items()):
        # Shifted sideways, so that error bars do not hide each other.
        shift = step * (number - (len(found) - 1) / 2)
        positions = [sizes.index(size) + shift for size in sorted(by_size)]
        values = [by_size[size] for size in sorted(by_size)]
        stats = [MeanStd.of(each) for each in values]
        name = label.split(",")[0]
        # Names outside the table get Matplotlib's next color.
        method = methods.METHODS.get(name)
        bars = axis.errorbar(
            positions,
            [each.mean for each in stats],
            [
                each.std if len(runs) >= plots.MIN_RUNS else np.nan
                for each, runs in zip(stats, values)
            ],
            color=method and method.color,
            marker=method.marker if method else "o",
            linestyle=_LINE_STYLES[num_drawn[name] % len(_LINE_STYLES)],
            capsize=4,
            label=f"{label} (n={min(map(len, values))})",
        )
        num_drawn[name] += 1
        for position, runs in zip(positions, values):
            if len(runs) > 1:  # A single run is the mean.
                axis.scatter(
                    np.full(len(runs), position + step / 3),
                    runs,
                    s=9,
                    alpha=0.5,
                    color=bars[0].get_color(),
                )
    axis.set_xticks(range(len(sizes)), sizes)
    # A band for each batch size.
    axis.set_xlim(-0.5, len(sizes) - 0.5)
    for position in range(len(sizes)):
        axis.axvspan(position - 0.45, position + 0.45, color="0.95", zorder=0)
    axis.set_xlabel("global batch size")
    axis.set_ylabel("top-1, %")
    axis.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside lower left")
    plots.save(figure, path, _is_smoke_test(rows))
