"""The sections of a report: what the runs support, the rest in words."""

import os
import platform
import shlex

import matplotlib
import numpy as np
import scipy

from tools import report_cells
from tools import report_comparisons
from tools import report_groups
from tools import report_plots
from tools import report_tables
from tools import sweep_statistics
from tools.report_page import Code
from tools.report_page import Section

_TAU = "staleness"


def state(sweep, groups):
    """How much is there, and what to know before reading on."""
    notes = []
    for name, group in groups.items():
        prefix = f"{name}: " if len(groups) > 1 else ""
        notes += [f"{prefix}{note}" for note in report_groups.notes(group)]
    if sweep.unfinished:
        notes.append(
            "Running, cut off or failed, as their logs say: "
            + ", ".join(sweep.unfinished)
            + "."
        )
    if sweep.num_left_out:
        notes.append(
            f"{sweep.num_left_out} rows of results.csv are of another split "
            f"than {sweep.split} and are left out."
        )
    failed = sum(len(group.failed) for group in groups.values())
    missing = sum(
        len(seeds) for group in groups.values() for _, seeds in group.missing()
    )
    summary = (
        f"{len(sweep.runs) - failed} runs finished, {failed} failed, "
        f"{missing} missing from the full grid of methods, batch sizes and "
        f"seeds. Accuracies are on {sweep.split} data."
    )
    return Section(
        "State of the sweep", [summary, notes or "Nothing is missing."]
    )


def accuracy(group, draw):
    """Accuracy against batch size.

    Args:
      group: a `Group`.
      draw: function of a function that draws, its arguments, and the rest of
        a `Picture`; see report.py. So in all sections.
    """
    blocks = [report_tables.accuracy(group.references)]
    if len(group.sizes) > 1:
        blocks.append(
            draw(
                "batch_size",
                "Every run (dots), means and standard deviations.",
                "Top-1 against batch size, a line for each method; the table "
                "above has its numbers.",
                report_plots.batch_sizes,
                group.references,
            )
        )
    else:
        blocks.append("No picture against batch size: there is one only.")
    if len(group.cells) > len(group.references):
        blocks.append(
            "Where a method has several settings at a batch size, one is "
            "compared, and never because it came out best: that of "
            "--epsilon, else that with most seeds, then with the epsilon and "
            "staleness that most runs have, then with the smallest."
        )
    blocks.append(
        report_tables.settings(group.cells, group.references, group.tuning)
    )
    return Section("Accuracy against batch size", blocks)


def gains(group, draw):
    """Gains over the baseline, paired by seed."""
    title = "Gain over the baseline"
    baseline = group.of_method("baseline")
    compared = {
        (method, size): sweep_statistics.compare(cell.top1, baseline[size].top1)
        for (method, size), cell in group.references.items()
        if method != "baseline" and size in baseline
    }
    if not compared:
        return Section(
            title, ["No batch size has runs of the baseline and of a method."]
        )
    blocks = [report_comparisons.gains(compared)]
    drawn = {key: g for key, g in compared.items() if g.interval is not None}
    if drawn:
        blocks.append(
            draw(
                "gain",
                "Mean gain over the baseline of the same batch size and its "
                "95 % interval, paired by seed.",
                "Gain in top-1 over the baseline against batch size, a line "
                "for each method; the table above has its numbers.",
                report_plots.gains,
                drawn,
            )
        )
    else:
        blocks.append(
            "No picture: an interval needs two pairs that differ, and none "
            "has them."
        )
    return Section(title, blocks)


def equality(group, margin):
    """Whether ConAdv is as good as DisAdv."""
    title = "ConAdv against DisAdv"
    disadv = group.of_method("disadv")
    compared = {
        size: sweep_statistics.compare(cell.top1, disadv[size].top1, margin)
        for size, cell in group.of_method("conadv").items()
        if size in disadv
    }
    if not compared:
        return Section(title, ["No batch size has runs of both."])
    blocks = [report_comparisons.equality(compared, margin)]
    other = [
        str(size)
        for size in compared
        if group.references["conadv", size].epsilon != disadv[size].epsilon
    ]
    if other:
        blocks.append(
            "The two have different epsilons at batch size "
            f"{', '.join(other)}: the difference is not of staleness alone."
        )
    return Section(title, blocks)


def epsilon(group, draw):
    """Accuracy against the size of the perturbation (Table 4)."""
    curves = {
        key: report_cells.curve(group.cells, cell, "epsilon")
        for key, cell in group.references.items()
        if cell.epsilon is not None
    }
    curves = {key: cells for key, cells in curves.items() if len(cells) > 1}
    return _curves(
        "Accuracy against epsilon",
        "epsilon",
        "In pixels of [0, 1]; the paper's Table 4 has 255 times that",
        curves,
        group,
        draw,
    )


def staleness(group, draw):
    """Accuracy against tau; DisAdv is tau 0."""
    disadv, curves = group.of_method("disadv"), {}
    for size, cell in group.of_method("conadv").items():
        cells = report_cells.curve(group.cells, cell, _TAU)
        if len(cells) < 2:
            continue
        synchronous = disadv.get(size)
        if synchronous and synchronous.epsilon == cell.epsilon:
            cells = {0: synchronous, **cells}
        curves["conadv", size] = cells
    return _curves(
        "Accuracy against tau",
        "tau",
        "tau 0 is DisAdv, which attacks with current weights",
        curves,
        group,
        draw,
    )


def variants(group):
    """What changes of a row do, beyond the axes of a sweep."""
    pairs = []
    for cell in group.cells:
        other = cell.variant and report_cells.unchanged(group.cells, cell)
        if other:
            pair = sweep_statistics.compare(cell.top1, other.top1)
            pairs.append((cell, other, pair))
    if not pairs:
        return Section("Variants", ["No row was run with a --variant."])
    return Section("Variants", [report_comparisons.variants(pairs)])


def speed(group):
    """Rates, with their warning."""
    return Section(
        "Speed",
        [
            report_tables.speed(group.references),
            "Not a benchmark: several cells of a sweep ran at the same time "
            "on the same cores. tools/benchmark.py measures speed.",
        ],
    )


def tuning(group):
    """What the learning rates were chosen by."""
    title = "Learning rates"
    if not group.tuning:
        return Section(
            title,
            ["Not tuned in this sweep: there is no tune/tuning.csv."],
        )
    return Section(title, [report_tables.tuning(group.tuning)])


def origin(sweep, command):
    """Commands, versions and hardware."""
    settings = dict(sweep.settings)
    ran = settings.pop("command", None)
    lines = [shlex.join(ran) if isinstance(ran, list) else str(ran)]
    lines = [*(lines if ran else []), command]
    blocks = [Code("\n".join(lines))]
    if not ran:
        blocks.append("The command of the sweep is not known: no sweep.json.")
    blocks.append([f"{name}: {value}" for name, value in settings.items()])
    blocks.append(
        f"Versions of the runs (of {sweep.num_with_versions} of "
        f"{len(sweep.runs)} runs known):"
    )
    blocks.append(
        [f"{name} {', '.join(v)}" for name, v in sweep.versions.items()]
        or "none"
    )
    blocks.append(
        f"This report: Python {platform.python_version()}, NumPy "
        f"{np.__version__}, SciPy {scipy.__version__}, matplotlib "
        f"{matplotlib.__version__}, on a {platform.machine()} machine with "
        f"{os.cpu_count()} cores."
    )
    return Section(
        "Commands, versions, hardware", [block for block in blocks if block]
    )


def _curves(title, name, remark, curves, group, draw):
    if not curves:
        return Section(
            title,
            [f"No table and no picture: no method has several {name}s."],
        )
    picture = draw(
        name,
        "Means and standard deviations.",
        f"Top-1 against {name}, a panel for each batch size; the table above "
        "has its numbers.",
        report_plots.curves,
        curves,
        group.of_method("baseline"),
        name,
    )
    table = report_tables.curves(
        f"Top-1 in % by {name}, mean +- standard deviation (number of seeds)",
        name,
        curves,
        f"{remark}.",
        with_paper=name == "epsilon",
    )
    return Section(title, [table, picture])
