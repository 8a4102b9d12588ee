"""Cells of a sweep: runs that differ in the seed only, and which to compare."""

import dataclasses
import math
from typing import Optional

from experiments.results import MeanStd
from tools.sweep_report.runs import Setting


@dataclasses.dataclass(frozen=True)
class Cell(Setting):
    """The finished runs of one setting; they differ in the seed only."""

    name: str
    published: Optional[float]  # Percent.
    top1: dict  # Percent by seed.
    train_top1: list  # Percent, of the runs that say it.
    images_per_second: list

    @property
    def spread(self):
        """Mean and standard deviation over the seeds, percent."""
        return MeanStd.of(self.top1.values())


def cells(runs):
    """Collects `Run`s of one network and dataset into cells.

    Returns:
      List of `Cell`s in the order of method, batch size, staleness, epsilon
      and learning rate; methods in order of appearance.

    Raises:
      ValueError: if two runs share setting and seed.
    """
    members = {}
    for run in runs:
        seeds = members.setdefault(run.setting, {})
        if run.seed in seeds:
            raise ValueError(
                f"Expected one run for each setting and seed; found two of "
                f"{run.method}, batch size {run.batch_size}, epsilon "
                f"{run.epsilon}, staleness {run.staleness}, learning rate "
                f"{run.learning_rate:g}, seed {run.seed}. Remove one of the "
                "rows."
            )
        seeds[run.seed] = run
    methods = list(dict.fromkeys(setting.method for setting in members))

    def place(setting):
        method = methods.index(setting.method)
        return method, setting.batch_size, *_order(setting)

    return [
        _cell(setting, [run for _, run in sorted(members[setting].items())])
        for setting in sorted(members, key=place)
    ]


def _cell(setting, runs):
    return Cell(
        **vars(setting),
        name=runs[0].name,
        published=runs[0].published,
        top1={run.seed: run.top1 for run in runs},
        train_top1=[r.train_top1 for r in runs if r.train_top1 is not None],
        images_per_second=[run.images_per_second for run in runs],
    )


def references(cells, epsilon=None, variant=""):
    """The cell that stands for each method and batch size, of one variant.

    Never the best one: choosing by the accuracies that are then compared
    would flatter the methods with many settings. It is the one with the given
    epsilon, if any has it; of these the one with most seeds; then the one
    whose epsilon and staleness most runs of the sweep have; then the one with
    the smallest staleness, epsilon and learning rate.

    Returns:
      Dict from (method, batch_size) to a `Cell`.
    """

    def common(cell, name):
        return sum(
            len(other.top1)
            for other in cells
            if getattr(other, name) == getattr(cell, name)
        )

    def place(cell):
        return (
            not same_epsilon(cell.epsilon, epsilon),
            -len(cell.top1),
            -common(cell, "epsilon"),
            -common(cell, "staleness"),
            *_order(cell),
        )

    candidates = {}
    for cell in cells:
        if cell.variant == variant:
            key = cell.method, cell.batch_size
            candidates.setdefault(key, []).append(cell)
    return {key: min(found, key=place) for key, found in candidates.items()}


def beside_baselines(cells, epsilon=None):
    """The cells to compare with a baseline that was changed as they were.

    Returns:
      Dict from (method, batch_size, variant) to (`Cell`, the baseline's),
      the latter with training accuracies.
    """
    found = {}
    for variant in dict.fromkeys(cell.variant for cell in cells):
        same = references(cells, epsilon, variant)
        for (method, size), cell in same.items():
            baseline = same.get(("baseline", size))
            if method != "baseline" and baseline and baseline.train_top1:
                found[method, size, variant] = cell, baseline
    return found


def same_epsilon(value, wanted):
    """Whether a radius is the one that was typed, in a few digits."""
    if value is None or wanted is None:
        return value is wanted
    return math.isclose(value, wanted, rel_tol=1e-3)


def curve(cells, reference, name):
    """Cells along one setting, the other being that of the reference.

    Args:
      cells: list of `Cell`s.
      reference: a `Cell`; method, batch size and the other of epsilon and
        staleness are its own. Learning rates may differ: they are tuned.
      name: "epsilon" or "staleness".

    Returns:
      Dict from each value, ascending, to the `Cell` with most seeds.
    """
    other = {"epsilon": "staleness", "staleness": "epsilon"}[name]
    fixed = ("method", "batch_size", "variant", other)
    found = {}
    for cell in cells:
        if all(getattr(cell, n) == getattr(reference, n) for n in fixed):
            found.setdefault(getattr(cell, name), []).append(cell)
    return {
        value: max(found[value], key=lambda cell: len(cell.top1))
        for value in sorted(found)
    }


def unchanged(cells, variant):
    """The cell that a variant is to be compared with.

    Returns:
      Of the cells of its method and batch size that are no variants the one
      that shares most of epsilon, staleness and learning rate, in this order;
      None if there is none.
    """
    names = "epsilon", "staleness", "learning_rate"
    return min(
        (
            cell
            for cell in cells
            if not cell.variant
            and cell.method == variant.method
            and cell.batch_size == variant.batch_size
        ),
        key=lambda cell: (
            *(getattr(cell, n) != getattr(variant, n) for n in names),
            -len(cell.top1),
        ),
        default=None,
    )


def _order(setting):
    return (
        setting.staleness if setting.staleness is not None else -1,
        setting.epsilon if setting.epsilon is not None else -1,
        setting.learning_rate,
        setting.variant,
        setting.preset,
    )
