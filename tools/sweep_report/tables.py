"""The tables of accuracies, rates and learning rates in a report.

`cells` are lists of `Cell`s, `references` what `cells.references` returned.
"""

import math
import statistics

from tools.sweep_report import runs
from tools.sweep_report.page import Table


def accuracy(references):
    """Methods by batch sizes, with the published numbers."""
    return _by_batch_size(
        "Top-1 in %, mean +- standard deviation (number of seeds)",
        references,
        top1_text,
    )


def settings(cells, references, tuning):
    """Every setting that was run; `tuning`: cells on validation data."""
    compared = [*references.values()]
    paper = any(cell.published is not None for cell in cells)

    def tried(cell):
        same = (other for other in tuning if other.name == cell.name)
        return str(len({other.learning_rate for other in same}) or "")

    def difference(cell):
        known = cell.published is not None
        return f"{cell.spread.mean - cell.published:+.2f}" if known else ""

    return Table.of(
        "Every setting: learning rate, top-1 in %, the paper's number",
        {
            "method": lambda cell: cell.label,
            "batch size": lambda cell: str(cell.batch_size),
            "epsilon": lambda cell: _number(cell.epsilon),
            "tau": lambda cell: _number(cell.staleness),
            "learning rate": lambda cell: f"{cell.learning_rate:g}",
            "rates tried": tried,
            "n": lambda cell: str(len(cell.top1)),
            "mean": lambda cell: _number(cell.spread.mean, ".2f"),
            "std": lambda cell: _number(cell.spread.std, ".2f"),
            "paper": lambda cell: _number(cell.published, ".1f"),
            "ours - paper": lambda cell: (
                ""
                if cell.published is None
                else f"{cell.spread.mean - cell.published:+.2f}"
            ),
            "compared": lambda cell: "yes" if cell in compared else "no",
            "preset": lambda cell: cell.preset,
        },
        cells,
        "Rates tried: how many on validation data, where the rate was tuned."
        + ("" if paper else " The paper prints nothing for these settings."),
        num_labels=2,
    )


def curves(title, name, curves, note, with_paper):
    """Accuracy along a setting.

    Args:
      title: of the table.
      name: what is in the columns.
      curves: dict from (method, batch_size) to a dict from a value to a
        `Cell`.
      note: under the table.
      with_paper: whether what the paper prints is for these values.
    """
    values = sorted({value for cells in curves.values() for value in cells})
    rows = [
        (
            runs.label(method),
            str(size),
            *_cells(cells, values, lambda cell: top1_text(cell, with_paper)),
        )
        for (method, size), cells in curves.items()
    ]
    header = "method", "batch size", *(f"{name} {v:.4g}" for v in values)
    return Table(title, header, rows, note, num_labels=2)


def speed(references):
    """Median rates."""

    def median(cell):
        known = [*filter(math.isfinite, cell.images_per_second)]
        return f"{statistics.median(known):,.0f}" if known else "-"

    return _by_batch_size(
        "Images per second, median over the runs", references, median
    )


def tuning(cells):
    """Accuracy of cells on validation data by learning rate."""
    groups = {}
    for cell in cells:
        key = cell.label, cell.batch_size, cell.epsilon, cell.staleness
        groups.setdefault(key, {})[cell.learning_rate] = cell
    tried = sorted({rate for members in groups.values() for rate in members})
    rows = []
    for (label, size, epsilon, staleness), members in groups.items():
        best = max(members, key=lambda rate: members[rate].spread.mean)
        edge = len(members) > 1 and best in (min(members), max(members))
        rows.append(
            (
                label,
                str(size),
                _number(epsilon),
                _number(staleness),
                f"{best:g}" + (" (at the edge)" if edge else ""),
                *_cells(members, tried, lambda cell: top1_text(cell, False)),
            )
        )
    return Table(
        "Learning rates by top-1 in % on validation data",
        (
            "method",
            "batch size",
            "epsilon",
            "tau",
            "best rate",
            *(f"rate {rate:g}" for rate in tried),
        ),
        rows,
        "At the edge: the best may lie beyond the rates tried. Batch sizes "
        "are those of tuning, which has fewer images and so smaller batches.",
        num_labels=2,
    )


def top1_text(cell, with_paper=True):
    """Mean +- std (n), and the paper's number where there is one."""
    text = f"{cell.spread.text()} ({len(cell.top1)})"
    if with_paper and cell.published is not None:
        text += f", paper {cell.published:.1f}"
    return text


def _by_batch_size(title, references, text):
    """Methods by batch sizes; `text` writes a cell."""
    sizes = sorted({size for _, size in references})
    methods = dict.fromkeys(method for method, _ in references)
    rows = [
        (
            runs.label(method),
            *_cells(references, [(method, size) for size in sizes], text),
        )
        for method in methods
    ]
    return Table(
        title, ("method", *(f"batch size {size}" for size in sizes)), rows
    )


def _cells(found, keys, text):
    return [text(found[key]) if key in found else "-" for key in keys]


def _number(value, spec=".4g"):
    return "" if value is None else format(value, spec)
