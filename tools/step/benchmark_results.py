"""Formats the times of a benchmark as rows, tables and a plot.

`settings` is a dict from (network, image size, batch size, jit_compile) to the
`times` of that setting: a dict from each variant to its list of milliseconds
per step, one per repeat.
"""

import importlib.metadata
import os
import platform

import tensorflow as tf

from experiments import markdown_table
from experiments import plots
from experiments import results
from tools.step import timing

_SETTING = ("network", "image_size", "batch_size", "jit_compile")
# Numerator, denominator, meaning.
_RATIOS = (
    ("disadv", "conadv", "attack before the update over concurrent attack"),
    ("nsl", "conadv", "AdversarialRegularization over ConAdv"),
    ("nsl_fit", "conadv_fit", "the same, both through `fit`"),
    ("disadv", "shared_pass", "attack before the update over shared pass"),
    ("disadv", "shared_pass_keep_clean", "the same, keep clean"),
    ("nsl_fit", "shared_pass_fit", "AdversarialRegularization over it"),
    ("nsl_fit", "shared_pass_keep_clean_fit", "the same, keep clean"),
    ("conadv", "baseline", "cost of ConAdv"),
    ("shared_pass", "baseline", "cost of the shared pass"),
    ("shared_pass_keep_clean", "baseline", "the same, keep clean"),
    ("conadv_fit", "conadv", "`fit` over the bare training step"),
    ("conadv", "conadv_no_refresh", "cost of the shadow copy"),
    ("conadv", "conadv_sgd", "LARS over SGD with momentum"),
)


def rows(settings, column):
    """Returns a row for each repeat of each variant: list of dicts.

    Args:
      settings: dict from (network, image size, batch size, jit_compile) to a
        dict from each variant to its list of values.
      column: name of the values.
    """
    return [
        {
            **dict(zip(_SETTING, setting)),
            "variant": variant,
            "repeat": repeat,
            column: value,
        }
        for setting, times in settings.items()
        for variant, values in times.items()
        for repeat, value in enumerate(values)
    ]


def environment():
    """Describes the machine and the software that ran the benchmark."""
    processors = getattr(os, "sched_getaffinity", None)
    try:
        nsl = importlib.metadata.version("neural-structured-learning")
    except importlib.metadata.PackageNotFoundError:
        nsl = None
    return {
        "cores": len(processors(0)) if processors else os.cpu_count(),
        "load_average": os.getloadavg(),
        "machine": platform.machine(),
        "devices": [
            tf.config.experimental.get_device_details(device).get(
                "device_name", device.device_type
            )
            for device in tf.config.list_physical_devices()
        ],
        "versions": {**results.versions(), "neural_structured_learning": nsl},
    }


def summary(settings, first_steps):
    """Summarizes times and ratios of each setting: list of dicts for JSON.

    Args:
      settings: as in the module's docstring.
      first_steps: dict from settings to results of `first_step.measure`.
    """
    return [
        {
            # Strings, as in times.csv.
            **dict(zip(_SETTING, map(str, setting))),
            "repeats": _repeats(times),
            "ms_per_step": {
                name: vars(timing.Quartiles.of(values))
                for name, values in times.items()
            },
            "first_step_cpu_seconds": {
                name: vars(timing.Quartiles.of(values))
                for name, values in first_steps.get(setting, {}).items()
            },
            "ratios": {name: vars(ratio) for name, ratio, _ in _ratios(times)},
        }
        for setting, times in settings.items()
    ]


def tables(settings):
    """Formats as Markdown the times of each setting, then its ratios."""
    parts = []
    for setting, times in settings.items():
        medians = [
            (name, f"{timing.Quartiles.of(values):.2f}")
            for name, values in times.items()
        ]
        ratios = [(name, f"{r:.3f}", what) for name, r, what in _ratios(times)]
        parts += [
            f"**{title(setting)}**, median [quartiles] of {_repeats(times)}",
            markdown_table.table(("variant", "ms per step"), medians),
            markdown_table.table(("ratio", "", ""), ratios),
        ]
    return "\n\n".join(parts) + "\n"


def _repeats(times):
    return len(next(iter(times.values())))


def _ratios(times):
    """Yields (name, `Quartiles`, meaning) of each ratio of measured times."""
    for above, below, meaning in _RATIOS:
        if above in times and below in times:
            ratio = timing.ratio(times, above, below)
            yield f"{above} / {below}", ratio, meaning


def title(setting):
    """Describes a setting in one line."""
    network, image_size, batch_size, jit_compile = setting
    xla = "XLA" if jit_compile else "no XLA"
    return f"{network}, {batch_size} x {image_size}x{image_size}, {xla}"


def plot(settings, path):
    """Draws each repeat and the median per variant, a panel per setting."""
    columns = min(3, len(settings))
    lines = -(-len(settings) // columns)
    figure, panels = plots.subplots(lines, columns, width=4.6, height=3.2)
    panels = panels.ravel()
    for axis, (setting, times) in zip(panels, settings.items()):
        for place, values in enumerate(times.values()):
            axis.plot(values, [place] * len(values), "o", alpha=0.4, ms=4)
            median = timing.Quartiles.of(values).median
            axis.plot(median, place, "|", color="black", ms=16, mew=2)
        axis.set_yticks(range(len(times)), list(times))
        axis.invert_yaxis()
        axis.set_xlim(left=0)
        axis.set_xlabel("ms per step")
        axis.set_title(title(setting), fontsize=9)
        axis.grid(alpha=0.3)
    for axis in panels[len(settings) :]:
        axis.set_axis_off()
    figure.savefig(path)
