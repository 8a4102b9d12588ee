"""The sections of a report on accuracies, learning rates and speed.

Each function takes `seed_groups.ComparableRuns` and a function that draws a
figure: `draw(file stem, caption, description, function of plots, *arguments)`.
It returns a list of blocks. If there are no runs for a table, the blocks are
strings that explain it.
"""

import numpy as np
import pandas as pd

from tools.sweep_report import plots
from tools.sweep_report import seed_groups
from tools.sweep_report.page import formatted
from tools.sweep_report.page import Table
from tools.sweep_report.sweep import label


def accuracy(runs, draw):
    """Shows accuracy against batch size, and of all settings."""
    chosen = runs.representatives
    blocks = [
        _by_batch_size(
            "Top-1 in %, mean +- standard deviation (number of seeds)",
            chosen,
            _with_paper(chosen),
        ),
        "No plot against batch size: the sweep has only one.",
    ]
    if len(runs.batch_sizes) > 1:
        blocks[1] = draw(
            "batch_size",
            "Every run (dots), means, and standard deviations of three runs "
            "or more. Variants are dashed.",
            "Top-1 against batch size, one line per method and variant. The "
            "tables list the numbers.",
            plots.batch_sizes,
            runs.candidates,
        )
    if len(runs.groups) > len(chosen):
        blocks.append(
            "If a method has several settings at a batch size, only one of "
            "them is compared: the one with --epsilon, else with the most "
            "seeds, then with the epsilon and staleness of the most runs, "
            "then with the smallest values. The choice ignores accuracy."
        )
    return [*blocks, _settings(runs)]


def _settings(runs):
    groups = runs.groups
    rates = runs.tuning.groupby("name").learning_rate.nunique()
    gain = groups.top1_mean - groups.published
    is_chosen = groups.index.isin(runs.representatives.index)
    has_paper = groups.published.notna().any()
    return Table.from_columns(
        "All settings: learning rate and top-1 in %"
        + (" beside the paper's" if has_paper else ""),
        {
            "method": groups.label,
            "batch size": groups.batch_size,
            "epsilon": formatted(groups.epsilon, "{:.4g}"),
            "tau": formatted(groups.staleness, "{:.4g}"),
            "learning rate": formatted(groups.learning_rate, "{:g}"),
            "rates tried": formatted(groups.name.map(rates), "{:.0f}"),
            "n": groups.num_runs,
            "mean": formatted(groups.top1_mean, "{:.2f}"),
            "std": formatted(groups.top1_std, "{:.2f}"),
            "training": formatted(groups.train_top1, "{:.1f}"),
            "arithmetic": formatted(groups.mean_cost, "{:.2f}"),
            "paper": formatted(groups.published, "{:.1f}"),
            "ours - paper": formatted(gain, "{:+.2f}"),
            "compared": np.where(is_chosen, "yes", "no"),
            "preset": groups.preset,
        },
        "Rates tried: how many learning rates were compared on validation "
        "data. Training: training accuracy of the last epoch. A baseline that "
        "is below 100 underfits, and an attack regularizes. "
        "Arithmetic: mean over the updates, where plain training has 1."
        + ("" if has_paper else " No results were published for these runs."),
        num_labels=2,
    )


def epsilon(runs, draw):
    """Shows accuracy against the size of the perturbation (Table 4)."""
    attacks = runs.representatives[runs.representatives.epsilon.notna()]
    curves = seed_groups.curves(runs.groups, attacks, "epsilon")
    curves["line"] = curves.method.astype(str)
    curves["value"] = curves.epsilon
    note = "Pixels are in [0, 1]. The paper's Table 4 lists 255 times epsilon."
    return _curves("epsilon", curves, _with_paper(curves), note, runs, draw)


def staleness(runs, draw):
    """Shows accuracy against tau; DisAdv has tau 0."""
    conadv = runs.of_method("conadv")
    curves = seed_groups.curves(runs.groups, conadv, "staleness")
    attacked_alike = curves[["batch_size", "epsilon"]].drop_duplicates()
    disadv = runs.of_method("disadv").merge(attacked_alike)
    curves = pd.concat([disadv, curves], ignore_index=True)
    curves = curves.assign(line="conadv", value=curves.staleness)
    curves = curves.sort_values(["batch_size", "value"], kind="stable")
    note = "tau 0 is DisAdv, which attacks the current weights."
    return _curves("tau", curves, curves.summary, note, runs, draw)


def _curves(name, curves, accuracies, note, runs, draw):
    """Shows accuracy along a setting.

    Args:
      name: name of the setting.
      curves: DataFrame of seed groups with the columns `line`, the method of
        the curve, and `value`, of the setting.
      accuracies: Series of texts.
      note: text below the table.
      runs: a `ComparableRuns`.
      draw: function that draws a figure.

    Returns:
      List of blocks.
    """
    if curves.empty:
        return [f"No method has several values of {name}."]
    table = _pivot(
        f"Top-1 in % by {name}, mean +- standard deviation (number of seeds)",
        {"method": curves.line.map(label), "batch size": curves.batch_size},
        f"{name} {{:.4g}}",
        curves.value,
        accuracies,
        note,
    )
    figure = draw(
        name,
        "Means, and standard deviations of three runs or more.",
        f"Top-1 against {name}, one subplot per batch size. The table above "
        "lists the numbers.",
        plots.curves,
        curves,
        runs.of_method("baseline"),
        name,
    )
    return [table, figure]


def tuning(runs, draw):
    """Shows the accuracies by which the learning rates were chosen."""
    groups = runs.tuning
    if groups.empty:
        return ["Not tuned in this sweep, which has no tune/tuning.csv."]
    keys = ["label", "batch_size", "epsilon", "staleness"]
    best_first = groups.sort_values("top1_mean", ascending=False, kind="stable")
    rates = best_first.groupby(keys, dropna=False).learning_rate
    best, low, high = map(rates.transform, ("first", "min", "max"))
    at_edge = (low < high) & ((best == low) | (best == high))
    table = _pivot(
        "Learning rates by top-1 in % on validation data",
        {
            "method": groups.label,
            "batch size": groups.batch_size,
            "epsilon": formatted(groups.epsilon, "{:.4g}"),
            "tau": formatted(groups.staleness, "{:.4g}"),
            "best rate": formatted(best, "{:g}")
            + at_edge.map({True: " (at the edge)", False: ""}),
        },
        "rate {:g}",
        groups.learning_rate,
        groups.summary,
        "At the edge: the best rate may be outside the range that was tried. "
        "Tuning trains on fewer images and therefore with smaller batches.",
    )
    return [table]


def speed(runs, draw):
    """Shows training speed and warns about it."""
    chosen = runs.representatives
    return [
        _by_batch_size(
            "Images per second, median over the runs",
            chosen,
            formatted(chosen.images_per_second, "{:,.0f}", "-"),
        ),
        "Not a benchmark: several runs of a sweep share the same cores. "
        "tools/benchmark.py measures speed.",
    ]


def _with_paper(groups):
    """Returns means and deviations with the published numbers."""
    return groups.summary + formatted(groups.published, ", paper {:.1f}")


def _by_batch_size(title, groups, texts):
    labels = {"method": groups.method_label}
    return _pivot(title, labels, "batch size {}", groups.batch_size, texts)


def _pivot(title, labels, heading, values, texts, note=""):
    """Makes a table with a column for each value.

    Args:
      title: str.
      labels: {heading: Series} of the columns that name the rows.
      heading: template for the headings of the other columns.
      values: Series of numbers.
      texts: Series of the texts below the headings.
      note: text below the table.

    Returns:
      A `Table`.
    """
    rows = pd.DataFrame(labels).astype(str)
    frame = rows.assign(value=values, text=texts)
    table = frame.pivot_table("text", [*labels], "value", aggfunc="last")
    table = table.rename(columns=heading.format).fillna("-").reset_index()
    # Pivoting sorts the rows.
    table = rows.drop_duplicates().merge(table)
    return Table(title, table, note, min(len(labels), 2))
