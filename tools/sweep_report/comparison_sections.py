"""The sections of a report on comparisons that are paired by seed.

Each function takes `seed_groups.ComparableRuns` and the function `draw`, and
returns a list of blocks, as the functions in `accuracy_sections` do.
"""

from tools.sweep_report import plots
from tools.sweep_report import seed_groups
from tools.sweep_report import statistics
from tools.sweep_report.page import formatted
from tools.sweep_report.page import Table
from tools.sweep_report.statistics import holm

_ALPHA = 0.05
_INTERVALS = "Three pairs or more have a 95 % interval, paired by seed."
_SAME_VARIANT = (
    "A variant that changes only the attack is compared with the baseline, any "
    "other with the baseline of the same variant."
)
_UNTESTED = (
    "Paired by seed. Not tested: a test needs two seeds and differences that "
    "are not all equal."
)


def gains(runs, draw):
    """Compares methods with the baseline."""
    pairs = seed_groups.with_baselines(runs.representatives)
    if pairs.empty:
        return ["No batch size has runs of the baseline and of a method."]
    tests = pairs.p.notna().sum()
    table = Table.from_columns(
        "Gain over the baseline at the same batch size in points of top-1",
        {
            "method": pairs.method_label,
            "batch size": pairs.batch_size,
            **_differences(pairs, "mean gain"),
            "p (t)": _p_texts(pairs.p),
            **_tests(pairs),
        },
        "Paired by seed: Student's t test on the differences, with Holm's "
        f"correction for the {tests} tests of this table. The intervals are "
        "not corrected."
        if tests
        else _UNTESTED,
        num_labels=2,
    )
    compared = seed_groups.with_baselines(runs.candidates)
    blocks = [table, *_gains_of_variants(compared[compared.variant != ""])]
    drawn = compared[compared.num_pairs > 1]
    if drawn.empty:
        return [*blocks, "No plot: a mean gain needs two pairs."]
    figure = draw(
        "gain",
        f"Mean gain over the baseline at the same batch size. {_INTERVALS} "
        "Variants are dashed.",
        "Gain in top-1 over the baseline against batch size, one line per "
        "method and variant. The tables above list the numbers.",
        plots.gains,
        drawn,
    )
    return [*blocks, figure]


def _gains_of_variants(pairs):
    """Returns a list with the table of the variants, if there are any."""
    if pairs.empty:
        return []
    table = Table.from_columns(
        "Gain of the variants over the baseline in points of top-1",
        {
            "method": pairs.method_label,
            "batch size": pairs.batch_size,
            "variant": pairs.variant,
            **_differences(pairs, "mean gain"),
        },
        f"Paired by seed, without tests. {_SAME_VARIANT}",
        num_labels=3,
    )
    return [table]


def fit(runs, draw):
    """Compares methods with baselines of known training accuracy."""
    pairs = seed_groups.with_baselines(runs.candidates)
    pairs = pairs[pairs.train_top1_other.notna()]
    drawn = pairs[pairs.num_pairs > 1]
    if drawn.empty:
        return ["No baseline with a training accuracy has pairs to compare."]
    fits = formatted(pairs.train_top1_other, "{:.1f}")
    table = Table.from_columns(
        "Gain over the baseline at the same batch size, by the baseline's "
        "training accuracy",
        {
            "method": pairs.method_label,
            "batch size": pairs.batch_size,
            "variant": pairs.variant,
            "baseline's training accuracy in %": fits,
            **_differences(pairs, "mean gain"),
        },
        f"Paired by seed, without tests. {_SAME_VARIANT}",
        num_labels=3,
    )
    figure = draw(
        "fit",
        "Mean gain over the baseline at the same batch size against the "
        f"baseline's training accuracy. {_INTERVALS} Adversarial examples "
        "regularize.",
        "Gain in top-1 against the baseline's training accuracy, one point per "
        "method, batch size and variant. The table above lists the numbers.",
        plots.fit,
        drawn,
    )
    return [table, figure]


def equality(runs, draw):
    """Tests whether ConAdv is as good as DisAdv."""
    pairs = runs.of_method("conadv").merge(
        runs.of_method("disadv"), on="batch_size", suffixes=("", "_other")
    )
    if pairs.empty:
        return ["No batch size has runs of both."]
    pairs = statistics.compare_pairs(pairs, runs.margin)
    within = f"equal within {runs.margin:g}"
    table = Table.from_columns(
        "ConAdv minus DisAdv in points of top-1",
        {
            "batch size": pairs.batch_size,
            **_differences(pairs, "mean difference"),
            **_tests(pairs),
            f"p ({within}, Holm)": _p_texts(holm(pairs.p_equivalent)),
            f"{within} at 5 %": _verdicts(holm(pairs.p_equivalent)),
        },
        "Paired by seed. The lack of a significant difference does not show "
        "equality. Two one-sided t tests do if both reject a difference of "
        f"{runs.margin:g} points or more. Holm's correction is applied to the "
        "tests of a difference and, separately, to the tests of equality."
        if pairs.p.notna().any()
        else _UNTESTED,
    )
    other = pairs.batch_size[pairs.epsilon != pairs.epsilon_other]
    if other.empty:
        return [table]
    return [
        table,
        f"At batch size {', '.join(map(str, other))} the two also differ in "
        "epsilon, so the difference is not due to staleness alone.",
    ]


def variants(runs, draw):
    """Compares variants with the settings that they change."""
    pairs = seed_groups.with_originals(runs.groups)
    if pairs.empty:
        return ["No run has a --variant."]
    table = Table.from_columns(
        "Variants, top-1 in % and difference in points",
        {
            "method": pairs.method_label,
            "batch size": pairs.batch_size,
            "variant": pairs.variant,
            "original": pairs.summary_other,
            "changed": pairs.summary,
            **_differences(pairs, "mean difference"),
            **_tests(pairs),
        },
        "Paired by seed. Epsilon, tau and learning rate are the same unless "
        "the variant changes them.",
        num_labels=3,
    )
    return [table]


def _differences(pairs, name):
    """Returns the columns of a comparison; `name`: heading of the mean."""
    low = formatted(pairs.low, "[{:+.2f}, ", "-")
    return {
        "pairs": pairs.num_pairs,
        name: formatted(pairs.difference, "{:+.2f}", "-"),
        "95 % interval": low + formatted(pairs.high, "{:+.2f}]"),
    }


def _tests(pairs):
    """Returns the columns of corrected tests."""
    p_values = holm(pairs.p)
    return {
        "p (t, Holm)": _p_texts(p_values),
        "differs at 5 %": _verdicts(p_values),
    }


def _p_texts(p_values):
    texts = formatted(p_values, "{:.4f}", "-")
    return texts.mask(p_values < 1e-4, "< 0.0001")


def _verdicts(p_values):
    verdicts = (p_values < _ALPHA).map({True: "yes", False: "no"})
    return verdicts.where(p_values.notna(), "-")
