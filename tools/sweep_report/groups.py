"""The runs of a sweep that may be compared with each other."""

import math

from tools.sweep_report import cells
from tools.sweep_report.runs import label


class Group:
    """The runs of one network on one dataset, ready to compare.

    Args:
      runs: list of `Run`s; those without an accuracy count as failed.
      tuning: list of `Run`s on validation data.
      epsilon: radius of the comparisons, or None.
    """

    def __init__(self, runs, tuning, epsilon=None):
        self.failed = [run for run in runs if math.isnan(run.top1)]
        finished = [run for run in runs if not math.isnan(run.top1)]
        self.diverged = [r for r in finished if not math.isfinite(r.final_loss)]
        self.cells = cells.cells(finished)
        self.tuning = cells.cells(r for r in tuning if not math.isnan(r.top1))
        self.references = cells.references(self.cells, epsilon)
        self.beside_baselines = cells.beside_baselines(self.cells, epsilon)
        self.methods = list(dict.fromkeys(run.method for run in runs))
        self.sizes = sorted({run.batch_size for run in runs})
        self.seeds = {run.seed for run in runs}

    def of_method(self, method):
        """The cells that stand for a method, by batch size."""
        found = self.references.items()
        return {size: cell for (name, size), cell in found if name == method}

    def missing(self):
        """Cells and the seeds that they lack and others have."""
        for method in self.methods:
            for size in self.sizes:
                cell = self.references.get((method, size))
                ran = {*cell.top1} if cell else set()
                ran |= {
                    run.seed
                    for run in self.failed
                    if (run.method, run.batch_size) == (method, size)
                    and not run.variant
                }
                if ran != self.seeds:
                    yield (method, size), sorted(self.seeds - ran)

    def notes(self):
        """Yields what a reader has to know about the runs."""
        for (method, size), seeds in self.missing():
            what = f"{label(method)}, batch size {size}"
            if len(seeds) == len(self.seeds):
                yield f"no run of {what}."
            else:
                listed = ", ".join(map(str, seeds))
                yield f"{what} lacks seeds that others have: {listed}."
        counts = {len(cell.top1) for cell in self.references.values()}
        if len(counts) > 1:
            yield (
                f"unequal n: between {min(counts)} and {max(counts)} seeds; a "
                "comparison takes the seeds that both sides have."
            )
        for run in self.failed:
            yield f"failed, without an accuracy, in no mean: {run}."
        for run in self.diverged:
            yield f"loss not finite, its accuracy counts: {run}."


def of_sweep(sweep, epsilon):
    """Runs by network and dataset: only these are compared.

    Returns:
      Dict from a name to a `Group`; see there for `epsilon`.

    Raises:
      ValueError: if two runs share setting and seed, or epsilon is given and
        no run has it.
    """
    found = {run.epsilon for run in sweep.runs} - {None}
    wanted = (cells.same_epsilon(value, epsilon) for value in found)
    if epsilon is not None and not any(wanted):
        raise ValueError(
            f"No run has --epsilon={epsilon:g}; the runs have {sorted(found)}."
        )

    def members(runs, place):
        return [run for run in runs if run.place == place]

    return {
        place: Group(
            members(sweep.runs, place), members(sweep.tuning, place), epsilon
        )
        for place in dict.fromkeys(run.place for run in sweep.runs)
    }
