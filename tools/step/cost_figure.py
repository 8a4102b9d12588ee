"""Draws what a training step of each method costs over plain training."""

import numpy as np

from conadv_tf import csv_file
from experiments import markdown_table
from experiments import plots
from tools.step import timing
from tools.step.methods import METHODS

_BASELINE = "baseline"
_COLORS = ("#999999", "#0072B2", "#D55E00")


def read(tpu, tpu_images, benchmark, benchmark_images):
    """Reads the costs of all methods relative to plain training.

    Args:
      tpu: path of a table of tools/tpu_report.py for ResNet-50 at 224x224.
      tpu_images: images of a step in this table.
      benchmark: path of the times.csv of tools/benchmark.py for ResNet-20 at
        32x32.
      benchmark_images: images of a step in this table.

    Returns:
      {kind of cost: {method: relative cost}}. The arithmetic is counted by the
      TPU compiler.

    Raises:
      ValueError: if a table lacks plain training or a column.
    """
    on_tpu = f"ResNet-50 with {tpu_images} images of 224x224"
    on_cpu = f"ResNet-20 with {benchmark_images} images of 32x32"
    return {
        "arithmetic, ResNet-50": _relative(tpu, tpu_images, "gflops"),
        f"CPU, 2 cores, {on_cpu}": _cpu_times(benchmark, benchmark_images),
        f"TPU v3, by its compiler, {on_tpu}": _relative(
            tpu, tpu_images, "cycles"
        ),
    }


def _cpu_times(path, batch_size):
    """Returns medians of the ratios of a repeat."""
    times = {}
    for name, value in _values(path, batch_size, "variant", "ms_per_step"):
        times.setdefault(name, []).append(value)
    _check(path, batch_size, times)
    return {
        name: timing.ratio(times, name, _BASELINE).median
        for name in times
        if name in METHODS
    }


def _relative(path, batch_size, column):
    values = dict(_values(path, batch_size, "method", column))
    _check(path, batch_size, values)
    return {
        name: value / values[_BASELINE]
        for name, value in values.items()
        if name in METHODS
    }


def _values(path, batch_size, name, column):
    """Yields (method, value of a column) of the rows with a batch size."""
    for row in csv_file.read(path):
        missing = {"batch_size", name, column} - row.keys()
        if missing:
            raise ValueError(f"{path} lacks the columns {sorted(missing)}.")
        if row["batch_size"] == str(batch_size):
            yield row[name], float(row[column])


def _check(path, batch_size, values):
    """Raises a ValueError without plain training to compare with."""
    if _BASELINE not in values:
        raise ValueError(
            f"Expected rows of {_BASELINE} with {batch_size} images in {path}; "
            f"received rows of {sorted(values)}."
        )


def table(costs):
    """Formats the costs as a Markdown table.

    Args:
      costs: {kind of cost: {method: relative cost}}.
    """
    rows = [
        (
            METHODS[name].label,
            *(
                f"{values[name]:.2f}" if name in values else ""
                for values in costs.values()
            ),
            f"`{_step(METHODS[name])}`",
            METHODS[name].summary,
        )
        for name in _names(costs)
    ]
    kinds = (kind.partition(",")[0] for kind in costs)
    header = ("method", *kinds, "`step=`", "a step")
    return markdown_table.table(header, rows, range(1, 1 + len(costs)))


def _step(method):
    """Returns the code of a method's step."""
    options = ", ".join(
        f"{name.removeprefix('step.')}={value!r}"
        for name, value in method.settings.items()
    )
    return f"ca.{type(method.step).__name__}({options})"


def _names(costs):
    """Returns the methods, the cheapest by the first kind of cost first."""
    known = set().union(*costs.values()) - {_BASELINE}
    first = next(iter(costs.values()))
    return sorted(known, key=lambda name: (first.get(name, np.inf), name))


def draw(costs):
    """Draws bars for each method, of all kinds of cost that are known.

    Args:
      costs: {kind of cost: {method: relative cost}}.

    Returns:
      Matplotlib figure.
    """
    names = _names(costs)
    height = 0.8 / len(costs)
    figure, ((axis,),) = plots.subplots(
        1, 1, width=7.0, height=1.2 + 0.62 * len(names)
    )
    for number, ((kind, values), color) in enumerate(
        zip(costs.items(), _COLORS)
    ):
        places = [
            (place + (number - (len(costs) - 1) / 2) * height, values[name])
            for place, name in enumerate(names)
            if name in values
        ]
        positions, widths = zip(*places)
        bars = axis.barh(
            positions, widths, 0.9 * height, color=color, label=kind
        )
        axis.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axis.axvline(1, color="black", lw=1, ls="--")
    axis.set_yticks(range(len(names)), [METHODS[name].label for name in names])
    axis.invert_yaxis()
    axis.margins(x=0.1)
    axis.set_xlabel("cost of a step, plain training is 1")
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    figure.legend(fontsize=8, loc="outside upper left", frameon=False)
    return figure
