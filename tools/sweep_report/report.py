"""Puts the sections of a report together."""

import dataclasses
import functools
import os
import platform
import shlex

import matplotlib
import numpy as np
import pandas as pd
import scipy

from experiments import plots
from experiments import smoke_test
from tools.sweep_report import accuracy_sections
from tools.sweep_report import comparison_sections
from tools.sweep_report import page
from tools.sweep_report.page import Section
from tools.sweep_report.sweep import label

_SECTIONS = {
    "Accuracy against batch size": accuracy_sections.accuracy,
    "Gain over the baseline": comparison_sections.gains,
    "Gain and training accuracy": comparison_sections.fit,
    "ConAdv against DisAdv": comparison_sections.equality,
    "Accuracy against epsilon": accuracy_sections.epsilon,
    "Accuracy against tau": accuracy_sections.staleness,
    "Variants": comparison_sections.variants,
    "Learning rates": accuracy_sections.tuning,
    "Speed": accuracy_sections.speed,
}


def contents(sweep, comparable, command, output_dir):
    """Makes the sections of a report and draws its figures.

    Args:
      sweep: a `sweep.Sweep`.
      comparable: dict of `seed_groups.comparable_runs`.
      command: command that makes the report.
      output_dir: path of the folder for figures.

    Returns:
      List of `page.Section`s.
    """
    found, left_out = [_state(sweep, comparable)], []
    several = len(comparable) > 1
    for number, (key, runs) in enumerate(comparable.items(), start=1):
        suffix = f"_{number}" if several else ""
        draw = functools.partial(_draw, output_dir, suffix, sweep.smoke_test)
        if runs.groups.empty:
            found.append(Section(key, ["No run has an accuracy."]))
            continue
        for title, section in _SECTIONS.items():
            title = f"{key}: {title}" if several else title
            blocks = section(runs, draw)
            if all(isinstance(block, str) for block in blocks):
                left_out.append(f"{title}: {' '.join(blocks)}")
            else:
                found.append(Section(title, blocks))
    if left_out:
        found.append(Section("Left out for lack of runs", [left_out]))
    found.append(_origin(sweep, command))
    return [*map(_as_smoke_test, found)] if sweep.smoke_test else found


def title(sweep, comparable):
    """Returns the title: networks and datasets, and the sweep's folder."""
    name = sweep.name
    if not name.lower().startswith("sweep"):
        name = f"sweep {name}"
    kind = "Smoke test of " if sweep.smoke_test else ""
    return f"{kind}{', '.join(comparable)}: {name}"


def _draw(
    folder, suffix, smoke_test, name, caption, description, plot, *arguments
):
    """Draws a figure; `suffix` distinguishes files of several datasets."""
    path = folder / f"{name}{suffix}.png"
    plots.save(plot(*arguments), path, smoke_test)
    return page.Figure(path, caption, description)


def _as_smoke_test(section):
    """Marks the tables and figures of a section as a smoke test's."""
    blocks = []
    for block in section.blocks:
        if isinstance(block, page.Table):
            title = f"{block.title} (smoke test: not a result)"
            block = dataclasses.replace(block, title=title)
        if isinstance(block, page.Figure):
            caption = f"Smoke test: not a result. {block.caption}"
            block = dataclasses.replace(block, caption=caption)
        blocks.append(block)
    return Section(section.title, blocks)


def _state(sweep, comparable):
    """Summarizes which runs of a sweep finished, failed or are missing."""
    notes = []
    for key, runs in comparable.items():
        prefix = f"{key}: " if len(comparable) > 1 else ""
        notes += [f"{prefix}{note}" for note in _notes(runs)]
    if sweep.unfinished:
        names = ", ".join(sweep.unfinished)
        notes.append(
            f"Running, interrupted or failed (see their logs): {names}."
        )
    if sweep.num_other_split:
        notes.append(
            f"{sweep.num_other_split} rows of results.csv are left out: they "
            f"are not on {sweep.split} data."
        )
    failed = sum(len(runs.failed) for runs in comparable.values())
    missing = sum(
        len(seeds)
        for runs in comparable.values()
        for seeds in runs.missing().values()
    )
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


def _notes(runs):
    """Yields notes about missing and failed runs of `ComparableRuns`."""
    for (method, size), seeds in runs.missing().items():
        name = f"{label(method)}, batch size {size}"
        if len(seeds) == len(runs.seeds):
            yield f"no run of {name}."
        else:
            listed = ", ".join(map(str, seeds))
            yield f"{name} lacks seeds that others have: {listed}."
    counts = set(runs.representatives.num_runs)
    if len(counts) > 1:
        yield (
            f"unequal n: between {min(counts)} and {max(counts)} seeds. A "
            "comparison uses the seeds that both sides have."
        )
    for chosen, note in (
        (runs.failed, "failed without an accuracy, so not in the means"),
        (runs.diverged, "loss not finite, but in the means"),
    ):
        for run in chosen.itertuples():
            yield (
                f"{note}: {run.label}, batch size {run.batch_size}, seed "
                f"{run.seed}."
            )


def _origin(sweep, command):
    """Lists commands, versions and hardware."""
    settings = dict(sweep.settings)
    ran = settings.pop("command", None)
    lines = [shlex.join(ran) if isinstance(ran, list) else str(ran)]
    blocks = [
        page.Code("\n".join([*(lines if ran else []), command])),
        not ran and "The sweep's command is unknown: there is no sweep.json.",
        [f"{name}: {value}" for name, value in settings.items()],
        f"Versions of the runs, known for {sweep.num_with_versions} of "
        f"{len(sweep.runs)}:",
        [f"{name} {', '.join(v)}" for name, v in sweep.versions.items()]
        or "none",
        f"This report: Python {platform.python_version()}, NumPy "
        f"{np.__version__}, pandas {pd.__version__}, SciPy "
        f"{scipy.__version__}, matplotlib {matplotlib.__version__}, on a "
        f"{platform.machine()} machine with {os.cpu_count()} cores.",
    ]
    return Section("Commands, versions, hardware", [b for b in blocks if b])
