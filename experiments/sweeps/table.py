"""A sweep's rows as lines of a table or picture, with means over seeds."""

import collections

from experiments import markdown_table
from experiments import smoke_test
from experiments.results import MeanStd

# Of results.csv and tuning.csv.
COLUMNS = (
    "preset",
    "network",
    "dataset",
    "method",
    "batch_size",
    "epsilon",
    "staleness",
    "learning_rate",
    "variant",
    "seed",
    "split",
    "smoke_test",
    "top1",
    "train_top1",
    "final_loss",
    "steps",
    "images_per_second",
    "step_time_ms",
    "seconds",
    "published",
    "model_dir",
)
# What may tell two lines of one method apart.
_AXES = (
    "network",
    "dataset",
    "epsilon",
    "staleness",
    "learning_rate",
    "variant",
)


def lines(rows):
    """Rows by line and batch size.

    Args:
      rows: list of {column: value} of a sweep.

    Returns:
      {label: {batch size: [top-1 in percent of each seed]}}. A label is the
      method, with those other columns in which rows of one method and batch
      size differ: not a rate that was tuned for each.
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
        sizes = found.setdefault(label, {})
        sizes.setdefault(int(row["batch_size"]), []).append(
            100 * float(row["top1"])
        )
    return found


def is_smoke_test(rows):
    """Whether rows, just made or read, are of a smoke test."""
    return any(str(row.get("smoke_test")) == "True" for row in rows)


def markdown(rows):
    """Table of top-1 in percent, mean +- standard deviation (n).

    Says above it if it is of a smoke test.
    """
    sizes = sorted({int(row["batch_size"]) for row in rows})
    note = f"{smoke_test.NOTE}\n\n" if is_smoke_test(rows) else ""
    cells = (
        [label, *(_cell(by_size.get(size, ())) for size in sizes)]
        for label, by_size in lines(rows).items()
    )
    header = ["method", *(f"batch {size}" for size in sizes)]
    return note + markdown_table.table(header, cells)


def _cell(values):
    return f"{MeanStd.of(values).text()} (n={len(values)})" if values else ""
