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
        "Every setting: learning rate, top-1 in %"
        + (", the paper's number" if paper else ""),
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
            "training": lambda cell: (
                f"{statistics.mean(cell.train_top1):.1f}"
                if cell.train_top1
                else ""
            ),
            "paper": lambda cell: _number(cell.published, ".1f"),
            "ours - paper": difference,
            "compared": lambda cell: "yes" if cell in compared else "no",
            "preset": lambda cell: cell.preset,
        },
        cells,
        "Rates tried: how many on validation data, where the rate was tuned. "
        "Training: how many training images the last epoch got right; a "
        "baseline that misses some underfits, and an attack regularizes."
        + ("" if paper else " Nothing was published of these trainings."),
        num_labels=2,
    )


def curves(title, name, curves, note, with_paper):
    """Accuracy along the setting `name`; see `plots.curves`."""
    found = curves.items()
    rows = {(runs.label(m), str(size)): cells for (m, size), cells in found}
    labels = "method", "batch size"
    text = top1_text if with_paper else mean_text
    return _pivot(title, labels, f"{name} {{:.4g}}", rows, text, note)


def speed(references):
    """Median rates."""

    def median(cell):
        known = [*filter(math.isfinite, cell.images_per_second)]
        return f"{statistics.median(known):,.0f}" if known else "-"

    title = "Images per second, median over the runs"
    return _by_batch_size(title, references, median)


def tuning(cells):
    """Accuracy of cells on validation data by learning rate."""
    groups = {}
    for cell in cells:
        key = cell.label, cell.batch_size, cell.epsilon, cell.staleness
        groups.setdefault(key, {})[cell.learning_rate] = cell
    rows = {}
    for (label, size, epsilon, staleness), members in groups.items():
        best = max(members, key=lambda rate: members[rate].spread.mean)
        edge = len(members) > 1 and best in (min(members), max(members))
        rate = f"{best:g}" + (" (at the edge)" if edge else "")
        key = label, str(size), _number(epsilon), _number(staleness), rate
        rows[key] = members
    return _pivot(
        "Learning rates by top-1 in % on validation data",
        ("method", "batch size", "epsilon", "tau", "best rate"),
        "rate {:g}",
        rows,
        mean_text,
        "At the edge: the best may lie beyond the rates tried. Batch sizes "
        "are those of tuning, which has fewer images and so smaller batches.",
    )


def mean_text(cell):
    """Mean +- std (n)."""
    return f"{cell.spread.text()} ({len(cell.top1)})"


def top1_text(cell):
    """Mean +- std (n), and the paper's number where there is one."""
    known = cell.published is not None
    return mean_text(cell) + (f", paper {cell.published:.1f}" if known else "")


def _by_batch_size(title, references, text):
    """Methods by batch sizes; `text` writes a cell."""
    rows = {}
    for (method, size), cell in references.items():
        rows.setdefault((runs.label(method),), {})[size] = cell
    return _pivot(title, ("method",), "batch size {}", rows, text)


def _pivot(title, labels, heading, rows, text, note=""):
    """A column for each value; `rows`: texts of `labels` to {value: cell}."""
    values = sorted({value for cells in rows.values() for value in cells})
    texts = [
        (*key, *(text(cells[v]) if v in cells else "-" for v in values))
        for key, cells in rows.items()
    ]
    header = *labels, *map(heading.format, values)
    return Table(title, header, texts, note, min(len(labels), 2))


def _number(value, spec=".4g"):
    return "" if value is None else format(value, spec)
