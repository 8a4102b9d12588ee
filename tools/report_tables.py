"""The tables of accuracies, rates and learning rates in a report."""

import numpy as np

from tools import report_runs
from tools.report_page import Table


def accuracy(references):
    """Methods by batch sizes, with the published numbers.

    Args:
      references: what `report_cells.references` returned.
    """
    return _by_batch_size(
        "Top-1 in %, mean +- standard deviation (number of seeds)",
        references,
        top1_text,
    )


def settings(cells, references, tuning):
    """Every setting that was run, one per line.

    Args:
      cells: list of `Cell`s.
      references: those of them that are compared.
      tuning: list of `Cell`s on validation data.
    """
    compared = [*references.values()]
    paper = any(cell.published is not None for cell in cells)
    rows = []
    for cell in cells:
        spread = cell.spread
        known = cell.published is not None
        rows.append(
            (
                report_runs.label(cell.method, cell.variant),
                str(cell.batch_size),
                _number(cell.epsilon),
                _number(cell.staleness),
                f"{cell.learning_rate:g}",
                _tried(cell, tuning),
                str(len(cell.top1)),
                f"{spread['mean']:.2f}",
                "" if spread["std"] is None else f"{spread['std']:.2f}",
                f"{cell.published:.1f}" if known else "",
                f"{spread['mean'] - cell.published:+.2f}" if known else "",
                "yes" if cell in compared else "no",
                cell.preset,
            )
        )
    return Table(
        "Every setting: learning rate, top-1 in %, the paper's number",
        (
            "method",
            "batch size",
            "epsilon",
            "tau",
            "learning rate",
            "rates tried",
            "n",
            "mean",
            "std",
            "paper",
            "ours - paper",
            "compared",
            "preset",
        ),
        rows,
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
            report_runs.label(method),
            str(size),
            *(
                top1_text(cells[value], with_paper) if value in cells else "-"
                for value in values
            ),
        )
        for (method, size), cells in curves.items()
    ]
    header = "method", "batch size", *(f"{name} {v:.4g}" for v in values)
    return Table(title, header, rows, note, num_labels=2)


def speed(references):
    """Median rates."""

    def median(cell):
        rates = np.asarray(cell.images_per_second)
        known = rates[np.isfinite(rates)]
        return f"{np.median(known):,.0f}" if len(known) else "-"

    return _by_batch_size(
        "Images per second, median over the runs", references, median
    )


def tuning(cells):
    """Accuracy on validation data by learning rate.

    Args:
      cells: list of `Cell`s on validation data.
    """
    groups = {}
    for cell in cells:
        key = (
            report_runs.label(cell.method, cell.variant),
            cell.batch_size,
            cell.epsilon,
            cell.staleness,
        )
        groups.setdefault(key, {})[cell.learning_rate] = cell
    tried = sorted({rate for members in groups.values() for rate in members})
    rows = []
    for (label, size, epsilon, staleness), members in groups.items():
        best = max(members, key=lambda rate: members[rate].spread["mean"])
        edge = len(members) > 1 and best in (min(members), max(members))
        rows.append(
            (
                label,
                str(size),
                _number(epsilon),
                _number(staleness),
                f"{best:g}" + (" (at the edge)" if edge else ""),
                *(
                    top1_text(members[rate], with_paper=False)
                    if rate in members
                    else "-"
                    for rate in tried
                ),
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
    spread = cell.spread
    text = f"{spread['mean']:.2f}"
    if spread["std"] is not None:
        text += f" +- {spread['std']:.2f}"
    text += f" ({len(cell.top1)})"
    if with_paper and cell.published is not None:
        text += f", paper {cell.published:.1f}"
    return text


def _by_batch_size(title, references, text):
    """Methods by batch sizes; `text` writes a cell."""
    sizes = sorted({size for _, size in references})
    rows = [
        (
            report_runs.label(method),
            *(
                text(references[method, size])
                if (method, size) in references
                else "-"
                for size in sizes
            ),
        )
        for method in dict.fromkeys(method for method, _ in references)
    ]
    return Table(
        title, ("method", *(f"batch size {size}" for size in sizes)), rows
    )


def _number(value):
    return "" if value is None else f"{value:.4g}"


def _tried(cell, tuning):
    same = {other.learning_rate for other in tuning if other.name == cell.name}
    return str(len(same)) if same else ""
