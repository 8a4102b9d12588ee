"""Draws the compiler's estimates in the form of the paper's Figure 4.

The throughput of a slice in images per millisecond is the number of images of
one step on all cores over the estimated time of that step on one core. It
includes no all-reduce, no input and no idle core, and is an upper bound. The
paper's numbers are measurements.
"""

import dataclasses
import textwrap
from typing import Optional

from experiments import plots
from tools.step import models
from tools.tpu.methods import ROLES

_LABELS = {name: method.label for name, method in models.METHODS.items()}
_LABELS["rotating_roles"] = "rotating roles"
# Images/ms of ResNet-50 on TPU v3 (Liu et al. 2022, Figure 4 and section 4.2)
# by images per core: 32k images on 512 cores, where ConAdv was "about 1.5x" as
# fast as DisAdv, and 2k images on 1024 cores.
_PAPER_CORES = {64: 512, 2: 1024}
_PAPER = {
    64: {"disadv": 81.7, "conadv": 1.5 * 81.7},
    2: {"baseline": 75.7, "disadv": 36.1, "conadv": 71.3},
}
_OTHER_CORES = 512


@dataclasses.dataclass(frozen=True)
class Bar:
    """Throughput of one method on a slice.

    Attributes:
      method: a key of `models.METHODS` or "rotating_roles".
      cores: number of cores, three times as many with rotating roles.
      images: number of images of one step on all cores.
      estimated: images per millisecond.
      published: images per millisecond that the paper measured with as many
        cores and images, or None.
    """

    method: str
    cores: int
    images: int
    estimated: float
    published: Optional[float]


def bars(rows):
    """Computes the throughput of each method.

    Args:
      rows: list of `tables.summary`; rows without an estimate are left out.

    Returns:
      Dict from the number of images per core to a list of `Bar`, which all have
      one global batch size.
    """
    panels = {}
    for row in rows:
        method = "rotating_roles" if row["method"] in ROLES else row["method"]
        if method not in _LABELS or row["estimated_ms"] is None:
            continue
        times = panels.setdefault(row["batch_size"], {})
        # All replicas wait for the longest role.
        times[method] = max(times.get(method, 0.0), row["estimated_ms"])
    return {
        size: [_bar(method, size, time) for method, time in times.items()]
        for size, times in panels.items()
    }


def _bar(method, size, milliseconds):
    cores = _PAPER_CORES.get(size, _OTHER_CORES)
    images = size * cores
    if method == "rotating_roles":
        # A replica collects the images of its current batch in three steps.
        cores *= 3
    published = _PAPER.get(size, {}).get(method)
    return Bar(method, cores, images, images / milliseconds, published)


def draw(panels, device, path):
    """Draws a PNG file with a panel for each number of images per core."""
    width = max(5.2, 0.9 * max(map(len, panels.values())))
    # One below the other, so that text is legible on a narrow screen.
    figure, axes = plots.subplots(len(panels), 1, width=width, height=3.4)
    for (axis,), (size, drawn) in zip(axes, panels.items()):
        for place, bar in enumerate(drawn):
            _draw_bar(axis, place, bar)
        names = [
            f"{textwrap.fill(_LABELS[bar.method], 14)}\n{bar.cores:,} cores"
            for bar in drawn
        ]
        axis.set_xticks(range(len(drawn)), names, fontsize=8)
        axis.set_ylabel("images/ms")
        axis.margins(y=0.3)  # For the legend.
        title = f"{drawn[0].images:,} images, {size} per core ({device})"
        axis.set_title(title, fontsize=9)
        handles, labels = axis.get_legend_handles_labels()
        unique = dict(zip(labels, handles))
        axis.legend(unique.values(), unique, fontsize=8)
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
    figure.savefig(path)


def _draw_bar(axis, place, bar):
    values = [("estimated by the compiler", bar.estimated, "tab:blue")]
    if bar.published is not None:
        values.append(("measured in the paper", bar.published, "tab:orange"))
    for number, (label, value, color) in enumerate(values):
        left = place + 0.4 * (number - (len(values) - 1) / 2)
        drawn = axis.bar(left, value, width=0.36, color=color, label=label)
        axis.bar_label(drawn, [f"{value:,.0f}"], padding=2, fontsize=7)
