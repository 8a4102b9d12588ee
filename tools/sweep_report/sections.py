"""The sections of a report: what the runs support, the rest in words.

They take a `Group`, and what draws a picture: a function of the file's stem,
of caption and description, and of a function of `plots` with its arguments.
"""

import os
import platform
import shlex

import matplotlib
import numpy as np
import scipy

from experiments import smoke_test
from tools.sweep_report import cells
from tools.sweep_report import comparisons
from tools.sweep_report import plots
from tools.sweep_report import statistics
from tools.sweep_report import tables
from tools.sweep_report.page import Code
from tools.sweep_report.page import Section


def state(sweep, groups):
    """How much is there, and what to know before reading on."""
    notes = []
    for name, group in groups.items():
        prefix = f"{name}: " if len(groups) > 1 else ""
        notes += [f"{prefix}{note}" for note in group.notes()]
    if sweep.unfinished:
        names = ", ".join(sweep.unfinished)
        notes.append(f"Running, cut off or failed, as their logs say: {names}.")
    if sweep.num_left_out:
        notes.append(
            f"{sweep.num_left_out} rows of results.csv are of another split "
            f"than {sweep.split} and are left out."
        )
    failed = sum(len(group.failed) for group in groups.values())
    missing = sum(len(s) for g in groups.values() for _, s in g.missing())
    summary = (
        f"{len(sweep.runs) - failed} runs finished, {failed} failed, "
        f"{missing} missing from the full grid of methods, batch sizes and "
        "seeds."
        + (
            ""
            if sweep.smoke_test
            else f" Accuracies are on {sweep.split} data."
        )
    )
    blocks = [summary, notes or "Nothing is missing."]
    if sweep.smoke_test:
        blocks.insert(0, smoke_test.NOTE)
    return Section("State of the sweep", blocks)


def accuracy(group, draw):
    """Accuracy against batch size."""
    picture = "No picture against batch size: there is one only."
    if len(group.sizes) > 1:
        picture = draw(
            "batch_size",
            "Every run (dots), means and standard deviations.",
            "Top-1 against batch size, a line for each method; the table "
            "above has its numbers.",
            plots.batch_sizes,
            group.references,
        )
    blocks = [tables.accuracy(group.references), picture]
    if len(group.cells) > len(group.references):
        blocks.append(
            "Where a method has several settings at a batch size, one is "
            "compared, and never because it came out best: that of "
            "--epsilon, else that with most seeds, then with the epsilon and "
            "staleness that most runs have, then with the smallest."
        )
    blocks.append(tables.settings(group.cells, group.references, group.tuning))
    return Section("Accuracy against batch size", blocks)


def gains(group, draw):
    """Gains over the baseline, paired by seed."""
    baseline = group.of_method("baseline")
    compared = {
        (method, size): statistics.compare(cell.top1, baseline[size].top1)
        for (method, size), cell in group.references.items()
        if method != "baseline" and size in baseline
    }
    title = "Gain over the baseline"
    if not compared:
        return Section(
            title, ["No batch size has runs of the baseline and of a method."]
        )
    picture = (
        "No picture: an interval needs two pairs that differ, and none has "
        "them."
    )
    drawn = {key: g for key, g in compared.items() if g.interval is not None}
    if drawn:
        picture = draw(
            "gain",
            "Mean gain over the baseline of the same batch size and its 95 % "
            "interval, paired by seed.",
            "Gain in top-1 over the baseline against batch size, a line for "
            "each method; the table above has its numbers.",
            plots.gains,
            drawn,
        )
    return Section(title, [comparisons.gains(compared), picture])


def fit(group, draw):
    """Gains against how well the baseline fits its training images."""
    fits = {
        key: (
            float(np.mean(baseline.train_top1)),
            statistics.compare(cell.top1, baseline.top1),
        )
        for key, (cell, baseline) in group.beside_baselines.items()
    }
    title = "Gain and fit"
    drawn = {key: fit for key, fit in fits.items() if fit[1].interval}
    if not drawn:
        return Section(
            title,
            ["No baseline that says how well it fits has pairs to compare."],
        )
    picture = draw(
        "fit",
        "Mean gain over the baseline of the same batch size and variant and "
        "its 95 % interval, by how many training images the baseline gets "
        "right. Adversarial examples regularize.",
        "Gain in top-1 against the baseline's training accuracy, a point for "
        "each method, batch size and variant; the table has its numbers.",
        plots.fit,
        drawn,
    )
    return Section(title, [comparisons.fit(fits), picture])


def equality(group, margin):
    """Whether ConAdv is as good as DisAdv."""
    title = "ConAdv against DisAdv"
    conadv, disadv = group.of_method("conadv"), group.of_method("disadv")
    sizes = [size for size in conadv if size in disadv]
    if not sizes:
        return Section(title, ["No batch size has runs of both."])
    compared = {
        size: statistics.compare(conadv[size].top1, disadv[size].top1, margin)
        for size in sizes
    }
    blocks = [comparisons.equality(compared, margin)]
    other = [s for s in sizes if conadv[s].epsilon != disadv[s].epsilon]
    if other:
        blocks.append(
            "The two have different epsilons at batch size "
            f"{', '.join(map(str, other))}: the difference is not of "
            "staleness alone."
        )
    return Section(title, blocks)


def epsilon(group, draw):
    """Accuracy against the size of the perturbation (Table 4)."""
    curves = {
        key: cells.curve(group.cells, cell, "epsilon")
        for key, cell in group.references.items()
        if cell.epsilon is not None
    }
    return _curves(
        "epsilon",
        "In pixels of [0, 1]; the paper's Table 4 has 255 times that.",
        {key: curve for key, curve in curves.items() if len(curve) > 1},
        group,
        draw,
    )


def staleness(group, draw):
    """Accuracy against tau; DisAdv is tau 0."""
    disadv, curves = group.of_method("disadv"), {}
    for size, cell in group.of_method("conadv").items():
        curve = cells.curve(group.cells, cell, "staleness")
        if len(curve) < 2:
            continue
        synchronous = disadv.get(size)
        if synchronous and synchronous.epsilon == cell.epsilon:
            curve = {0: synchronous, **curve}
        curves["conadv", size] = curve
    return _curves(
        "tau",
        "tau 0 is DisAdv, which attacks with current weights.",
        curves,
        group,
        draw,
    )


def variants(group):
    """What changes of a row do, beyond the axes of a sweep."""
    changed = [cell for cell in group.cells if cell.variant]
    found = [(cell, cells.unchanged(group.cells, cell)) for cell in changed]
    found = [(cell, other) for cell, other in found if other]
    if not found:
        return Section("Variants", ["No row was run with a --variant."])
    pairs = [statistics.compare(cell.top1, other.top1) for cell, other in found]
    return Section("Variants", [comparisons.variants(found, pairs)])


def speed(group):
    """Rates, with their warning."""
    return Section(
        "Speed",
        [
            tables.speed(group.references),
            "Not a benchmark: several cells of a sweep ran at the same time "
            "on the same cores. tools/benchmark.py measures speed.",
        ],
    )


def tuning(group):
    """What the learning rates were chosen by."""
    if group.tuning:
        return Section("Learning rates", [tables.tuning(group.tuning)])
    words = "Not tuned in this sweep: there is no tune/tuning.csv."
    return Section("Learning rates", [words])


def origin(sweep, command):
    """Commands, versions and hardware; `command` is that of the report."""
    settings = dict(sweep.settings)
    ran = settings.pop("command", None)
    lines = [shlex.join(ran) if isinstance(ran, list) else str(ran)]
    blocks = [
        Code("\n".join([*(lines if ran else []), command])),
        not ran and "The command of the sweep is not known: no sweep.json.",
        [f"{name}: {value}" for name, value in settings.items()],
        f"Versions of the runs (of {sweep.num_with_versions} of "
        f"{len(sweep.runs)} runs known):",
        [f"{name} {', '.join(v)}" for name, v in sweep.versions.items()]
        or "none",
        f"This report: Python {platform.python_version()}, NumPy "
        f"{np.__version__}, SciPy {scipy.__version__}, matplotlib "
        f"{matplotlib.__version__}, on a {platform.machine()} machine with "
        f"{os.cpu_count()} cores.",
    ]
    return Section("Commands, versions, hardware", [b for b in blocks if b])


def _curves(name, remark, curves, group, draw):
    blocks = [f"No table and no picture: no method has several {name}s."]
    if curves:
        blocks = [
            tables.curves(
                f"Top-1 in % by {name}, mean +- standard deviation (number of "
                "seeds)",
                name,
                curves,
                remark,
                with_paper=name == "epsilon",
            ),
            draw(
                name,
                "Means and standard deviations.",
                f"Top-1 against {name}, a panel for each batch size; the table "
                "above has its numbers.",
                plots.curves,
                curves,
                group.of_method("baseline"),
                name,
            ),
        ]
    return Section(f"Accuracy against {name}", blocks)
