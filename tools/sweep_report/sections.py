"""The sections of a report.

Each function takes `seed_groups.ComparableRuns` and a function that draws a
figure: `draw(file stem, caption, description, function of plots, *arguments)`.
It returns a list of blocks. If there are no runs for a table, the blocks are
strings that explain it.
"""

import pandas as pd

from tools.sweep_report import plots
from tools.sweep_report import seed_groups
from tools.sweep_report import statistics
from tools.sweep_report import tables


def accuracy(runs, draw):
    """Shows accuracy against batch size."""
    figure = "No plot against batch size: the sweep has only one."
    if len(runs.batch_sizes) > 1:
        figure = draw(
            "batch_size",
            "Every run (dots), means and standard deviations.",
            "Top-1 against batch size, one line per method. The table above "
            "lists the numbers.",
            plots.batch_sizes,
            runs.representatives,
        )
    blocks = [tables.accuracy(runs.representatives), figure]
    if len(runs.groups) > len(runs.representatives):
        blocks.append(
            "If a method has several settings at a batch size, only one of "
            "them is compared: the one with --epsilon, else with the most "
            "seeds, then with the epsilon and staleness of the most runs, "
            "then with the smallest. Its accuracy does not matter."
        )
    table = tables.settings(runs.groups, runs.representatives, runs.tuning)
    return [*blocks, table]


def gains(runs, draw):
    """Compares methods with the baseline, paired by seed."""
    pairs = seed_groups.with_baselines(runs.representatives)
    if pairs.empty:
        return ["No batch size has runs of the baseline and of a method."]
    figure = "No plot: an interval needs two pairs with different gains."
    drawn = pairs[pairs.low.notna()]
    if not drawn.empty:
        figure = draw(
            "gain",
            "Mean gain over the baseline at the same batch size with its 95 % "
            "interval, paired by seed.",
            "Gain in top-1 over the baseline against batch size, one line per "
            "method. The table above lists the numbers.",
            plots.gains,
            drawn,
        )
    return [tables.gains(pairs), figure]


def fit(runs, draw):
    """Shows gains against the baseline's training accuracy."""
    pairs = seed_groups.with_baselines(runs.candidates)
    pairs = pairs[pairs.train_top1_other.notna()]
    drawn = pairs[pairs.low.notna()]
    if drawn.empty:
        return ["No baseline with a training accuracy has pairs to compare."]
    figure = draw(
        "fit",
        "Mean gain over the baseline at the same batch size and variant with "
        "its 95 % interval, against the baseline's training accuracy. "
        "Adversarial examples regularize.",
        "Gain in top-1 against the baseline's training accuracy, one point per "
        "method, batch size and variant. The table above lists the numbers.",
        plots.fit,
        drawn,
    )
    return [tables.fit(pairs), figure]


def equality(runs, draw):
    """Tests whether ConAdv is as good as DisAdv."""
    pairs = runs.of_method("conadv").merge(
        runs.of_method("disadv"), on="batch_size", suffixes=("", "_other")
    )
    if pairs.empty:
        return ["No batch size has runs of both."]
    pairs = statistics.compare_pairs(pairs, runs.margin)
    blocks = [tables.equality(pairs, runs.margin)]
    other = pairs.batch_size[pairs.epsilon != pairs.epsilon_other]
    if not other.empty:
        blocks.append(
            f"At batch size {', '.join(map(str, other))} the two also differ "
            "in epsilon, so the difference is not due to staleness alone."
        )
    return blocks


def epsilon(runs, draw):
    """Shows accuracy against the size of the perturbation (Table 4)."""
    attacks = runs.representatives[runs.representatives.epsilon.notna()]
    curves = seed_groups.curves(runs.groups, attacks, "epsilon")
    curves = curves.assign(
        line=curves.method.astype(str),
        value=curves.epsilon,
        text=tables.with_paper(curves),
    )
    note = "Pixels are in [0, 1]. The paper's Table 4 lists 255 times epsilon."
    return _curves("epsilon", curves, note, runs, draw)


def staleness(runs, draw):
    """Shows accuracy against tau; DisAdv has tau 0."""
    conadv = runs.of_method("conadv")
    curves = seed_groups.curves(runs.groups, conadv, "staleness")
    disadv = runs.of_method("disadv").merge(
        curves[["batch_size", "epsilon"]].drop_duplicates()
    )
    curves = pd.concat([disadv, curves]).sort_values(
        ["batch_size", "staleness"], kind="stable"
    )
    curves = curves.assign(
        line="conadv", value=curves.staleness, text=curves.summary
    )
    note = "tau 0 is DisAdv, which attacks the current weights."
    return _curves("tau", curves, note, runs, draw)


def variants(runs, draw):
    """Compares variants with the settings that they change."""
    pairs = seed_groups.with_originals(runs.groups)
    if pairs.empty:
        return ["No run has a --variant."]
    return [tables.variants(pairs)]


def tuning(runs, draw):
    """Shows the accuracies by which the learning rates were chosen."""
    if runs.tuning.empty:
        return ["Not tuned in this sweep, which has no tune/tuning.csv."]
    return [tables.tuning(runs.tuning)]


def speed(runs, draw):
    """Shows training speed and warns about it."""
    return [
        tables.speed(runs.representatives),
        "Not a benchmark: several runs of a sweep share the same cores. "
        "tools/benchmark.py measures speed.",
    ]


def _curves(name, curves, note, runs, draw):
    if curves.empty:
        return [f"No method has several values of {name}."]
    figure = draw(
        name,
        "Means and standard deviations.",
        f"Top-1 against {name}, one subplot per batch size. The table above "
        "lists the numbers.",
        plots.curves,
        curves,
        runs.of_method("baseline"),
        name,
    )
    return [tables.curves(name, curves, note), figure]
