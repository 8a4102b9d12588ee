"""The sections of a report.

Each function takes `seed_groups.ComparableRuns` and a function that draws a
picture: `draw(file stem, caption, description, function of plots, *arguments)`.
It returns a list of blocks, with text only if there are no runs for a table.
"""

import pandas as pd

from tools.sweep_report import plots
from tools.sweep_report import seed_groups
from tools.sweep_report import statistics
from tools.sweep_report import tables


def accuracy(runs, draw):
    """Shows accuracy against batch size."""
    picture = "No picture against batch size: there is one only."
    if len(runs.batch_sizes) > 1:
        picture = draw(
            "batch_size",
            "Every run (dots), means and standard deviations.",
            "Top-1 against batch size, a line for each method; the table "
            "above has its numbers.",
            plots.batch_sizes,
            runs.representatives,
        )
    blocks = [tables.accuracy(runs.representatives), picture]
    if len(runs.groups) > len(runs.representatives):
        blocks.append(
            "Where a method has several settings at a batch size, one is "
            "compared, and never because it came out best: that of "
            "--epsilon, else that with most seeds, then with the epsilon and "
            "staleness that most runs have, then with the smallest."
        )
    table = tables.settings(runs.groups, runs.representatives, runs.tuning)
    return [*blocks, table]


def gains(runs, draw):
    """Compares methods with the baseline, paired by seed."""
    pairs = seed_groups.with_baselines(runs.representatives)
    if pairs.empty:
        return ["No batch size has runs of the baseline and of a method."]
    picture = (
        "No picture: an interval needs two pairs that differ, and none has "
        "them."
    )
    drawn = pairs[pairs.low.notna()]
    if not drawn.empty:
        picture = draw(
            "gain",
            "Mean gain over the baseline of the same batch size and its 95 % "
            "interval, paired by seed.",
            "Gain in top-1 over the baseline against batch size, a line for "
            "each method; the table above has its numbers.",
            plots.gains,
            drawn,
        )
    return [tables.gains(pairs), picture]


def fit(runs, draw):
    """Compares gains with how well the baseline fits its training images."""
    pairs = seed_groups.with_baselines(runs.candidates)
    pairs = pairs[pairs.train_top1_other.notna()]
    drawn = pairs[pairs.low.notna()]
    if drawn.empty:
        return ["No baseline that says how well it fits has pairs to compare."]
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
    return [tables.fit(pairs), picture]


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
            "The two have different epsilons at batch size "
            f"{', '.join(map(str, other))}: the difference is not of "
            "staleness alone."
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
    note = "In pixels of [0, 1]; the paper's Table 4 has 255 times that."
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
    note = "tau 0 is DisAdv, which attacks with current weights."
    return _curves("tau", curves, note, runs, draw)


def variants(runs, draw):
    """Compares variants with the settings that they change."""
    pairs = seed_groups.with_originals(runs.groups)
    if pairs.empty:
        return ["No row was run with a --variant."]
    return [tables.variants(pairs)]


def tuning(runs, draw):
    """Shows the accuracies by which the learning rates were chosen."""
    if runs.tuning.empty:
        return ["Not tuned in this sweep: there is no tune/tuning.csv."]
    return [tables.tuning(runs.tuning)]


def speed(runs, draw):
    """Shows training speed and warns about it."""
    return [
        tables.speed(runs.representatives),
        "Not a benchmark: several cells of a sweep ran at the same time "
        "on the same cores. tools/benchmark.py measures speed.",
    ]


def _curves(name, curves, note, runs, draw):
    if curves.empty:
        return [f"No table and no picture: no method has several {name}s."]
    picture = draw(
        name,
        "Means and standard deviations.",
        f"Top-1 against {name}, a panel for each batch size; the table "
        "above has its numbers.",
        plots.curves,
        curves,
        runs.of_method("baseline"),
        name,
    )
    return [tables.curves(name, curves, note), picture]
