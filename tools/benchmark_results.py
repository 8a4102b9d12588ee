"""Files, tables and picture of a benchmark."""

import importlib.metadata
import os
import platform

import tensorflow as tf

from conadv_tf import csv_file
from experiments import figures
from experiments import results
from tools import timing

COLUMNS = (
    "network",
    "image_size",
    "batch_size",
    "jit_compile",
    "variant",
    "repeat",
    "ms_per_step",
)
# Numerator, denominator, what the ratio says.
_RATIOS = (
    ("disadv", "conadv", "attack in sequence over attack beside the update"),
    ("nsl", "conadv", "AdversarialRegularization over ConAdv"),
    ("nsl_fit", "conadv_fit", "the same, both through `fit`"),
    ("conadv", "baseline", "price of ConAdv"),
    ("conadv_fit", "conadv", "`fit` over its bare step"),
    ("conadv", "conadv_no_refresh", "price of the shadow copy"),
    ("conadv", "conadv_sgd", "LARS over SGD with momentum"),
)


def rows(setting, seconds):
    """One row for each repeat of each variant.

    Args:
      setting: dict of the first columns.
      seconds: what `timing.alternate` returned.
    """
    return [
        {
            **setting,
            "variant": variant,
            "repeat": repeat,
            "ms_per_step": 1e3 * value,
        }
        for variant, values in seconds.items()
        for repeat, value in enumerate(values)
    ]


def read_csv(path):
    """The times by setting.

    Returns:
      Dict from (network, image_size, batch_size, jit_compile), strings, to a
      dict from each variant to its list of seconds per step.
    """
    settings = {}
    for row in csv_file.read(path):
        key = tuple(row[column] for column in COLUMNS[:4])
        times = settings.setdefault(key, {})
        times.setdefault(row["variant"], []).append(
            float(row["ms_per_step"]) / 1e3
        )
    return settings


def environment():
    """What the numbers depend on besides the code."""
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


def summary(settings):
    """Medians and ratios of all settings, for a JSON file.

    Args:
      settings: what `read_csv` returned.

    Returns:
      List of dicts.
    """
    return [
        {
            **dict(zip(COLUMNS, key)),
            "repeats": len(next(iter(seconds.values()))),
            "ms_per_step": {
                name: vars(timing.Quartiles.of(values).scaled(1e3))
                for name, values in seconds.items()
            },
            "ratios": {
                f"{above} / {below}": vars(timing.ratio(seconds, above, below))
                for above, below, _ in _RATIOS
                if above in seconds and below in seconds
            },
        }
        for key, seconds in settings.items()
    ]


def tables(settings):
    """Markdown: times of each setting, then its ratios.

    Args:
      settings: what `read_csv` returned.
    """
    lines = []
    for key, seconds in settings.items():
        count = len(next(iter(seconds.values())))
        lines += [
            f"**{title(key)}**, median [quartiles] of {count}",
            "",
            "| variant | ms per step |",
            "|---|---|",
        ]
        for name, values in seconds.items():
            times = timing.Quartiles.of(values).scaled(1e3)
            lines.append(f"| {name} | {times:.2f} |")
        lines += ["", "| ratio | | |", "|---|---|---|"]
        for above, below, meaning in _RATIOS:
            if above in seconds and below in seconds:
                value = timing.ratio(seconds, above, below)
                lines.append(f"| {above} / {below} | {value:.3f} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def title(key):
    """A setting in words."""
    network, image_size, batch_size, jit_compile = key
    xla = "XLA" if jit_compile == "True" else "no XLA"
    return f"{network}, {batch_size} x {image_size}x{image_size}, {xla}"


def plot(settings, path):
    """Draws each repeat and the median of each variant, a panel per setting.

    Args:
      settings: what `read_csv` returned.
      path: PNG file to write.
    """
    columns = min(3, len(settings))
    lines = -(-len(settings) // columns)
    figure, panels = figures.panels(lines, columns, width=4.6, height=3.2)
    panels = panels.ravel()
    for axis, (key, seconds) in zip(panels, settings.items()):
        for place, values in enumerate(seconds.values()):
            values = [1e3 * value for value in values]
            axis.plot(values, [place] * len(values), "o", alpha=0.4, ms=4)
            median = timing.Quartiles.of(values).median
            axis.plot(median, place, "|", color="black", ms=16, mew=2)
        axis.set_yticks(range(len(seconds)), list(seconds))
        axis.invert_yaxis()
        axis.set_xlim(left=0)
        axis.set_xlabel("ms per step")
        axis.set_title(title(key), fontsize=9)
        axis.grid(alpha=0.3)
    for axis in panels[len(settings) :]:
        axis.set_axis_off()
    figure.savefig(path)
