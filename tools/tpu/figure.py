"""The compiler's estimates in the form of the paper's Figure 4.

Images per millisecond of a whole slice: the images of one step on all cores
over the estimated time of that step on one. Nothing in it stands for the
all-reduce, the input or an idle core, so that it is an upper bound; the
paper's numbers were measured.
"""

import dataclasses
import textwrap
from typing import Optional

from experiments import plots
from tools.step import models
from tools.tpu.phases import PHASES

_LABELS = {name: method.label for name, method in models.METHODS.items()}
_LABELS["phased"] = "ConAdv, phased"
# Images/ms of ResNet-50 on TPU v3 (Liu et al. 2022, Figure 4 and section 4.2),
# by images on a core: 32k images on 512 cores, where ConAdv was "about 1.5x"
# of DisAdv, and 2k on 1024.
_PAPER_CORES = {64: 512, 2: 1024}
_PAPER = {
    64: {"disadv": 81.7, "conadv": 1.5 * 81.7},
    2: {"baseline": 75.7, "disadv": 36.1, "conadv": 71.3},
}
_OTHER_CORES = 512


@dataclasses.dataclass(frozen=True)
class Bar:
    """Throughput of one method on a slice."""

    method: str  # A key of `models.METHODS` or "phased".
    cores: int  # Of the slice; three times as many in phased placement.
    images: int  # Of a step on all of them.
    estimated: float  # Images per millisecond.
    published: Optional[float]  # Measured in the paper with as many of both.


def bars(rows):
    """Throughput by images on a core.

    Args:
      rows: list of `tables.summary`; a row without an estimate is left out.

    Returns:
      {images on a core: list of `Bar`}, all of one panel at one global batch.
    """
    panels = {}
    for row in rows:
        method = "phased" if row["method"] in PHASES else row["method"]
        if method not in _LABELS or row["estimated_ms"] is None:
            continue
        times = panels.setdefault(row["batch_size"], {})
        # All replicas wait for the longest phase.
        times[method] = max(times.get(method, 0.0), row["estimated_ms"])
    return {
        size: [_bar(method, size, time) for method, time in times.items()]
        for size, times in panels.items()
    }


def _bar(method, size, milliseconds):
    cores = _PAPER_CORES.get(size, _OTHER_CORES)
    images = size * cores
    if method == "phased":
        # A replica collects the images of its working batch in three steps.
        cores *= 3
    published = _PAPER.get(size, {}).get(method)
    return Bar(method, cores, images, images / milliseconds, published)


def draw(panels, device, path):
    """Draws a PNG file with a panel for each number of images on a core."""
    width = max(5.2, 0.9 * max(map(len, panels.values())))
    figure, (axes,) = plots.subplots(1, len(panels), width=width, height=3.8)
    for axis, (size, drawn) in zip(axes, panels.items()):
        for place, bar in enumerate(drawn):
            _pair(axis, place, bar)
        names = [
            f"{textwrap.fill(_LABELS[b.method], 14)}\n{b.cores:,} cores"
            for b in drawn
        ]
        axis.set_xticks(range(len(drawn)), names, fontsize=8)
        axis.set_ylabel("images/ms")
        axis.margins(y=0.3)  # For the legend.
        title = f"{drawn[0].images:,} images, {size} on a core ({device})"
        axis.set_title(title, fontsize=9)
        handles, labels = axis.get_legend_handles_labels()
        once = dict(zip(labels, handles))
        axis.legend(once.values(), once, fontsize=8)
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
    figure.savefig(path)


def _pair(axis, place, bar):
    values = [("estimated by the compiler", bar.estimated, "tab:blue")]
    if bar.published is not None:
        values.append(("measured in the paper", bar.published, "tab:orange"))
    for number, (label, value, color) in enumerate(values):
        left = place + 0.4 * (number - (len(values) - 1) / 2)
        drawn = axis.bar(left, value, width=0.36, color=color, label=label)
        axis.bar_label(drawn, [f"{value:,.0f}"], padding=2, fontsize=7)
