"""The runs of a sweep that may be compared with each other."""

import math

from tools import report_cells
from tools import report_runs


class Group:
    """The runs of one network on one dataset, ready to compare."""

    def __init__(self, runs, tuning, epsilon=None):
        """Groups runs.

        Args:
          runs: list of `Run`s; those without an accuracy count as failed.
          tuning: list of `Run`s on validation data.
          epsilon: radius of the comparisons, or None.
        """
        self.failed = [run for run in runs if math.isnan(run.top1)]
        self.diverged = [
            run
            for run in runs
            if not math.isnan(run.top1) and not math.isfinite(run.final_loss)
        ]
        self.cells = report_cells.cells(
            run for run in runs if not math.isnan(run.top1)
        )
        self.tuning = report_cells.cells(
            run for run in tuning if not math.isnan(run.top1)
        )
        self.references = report_cells.references(self.cells, epsilon)
        self.methods = list(dict.fromkeys(run.method for run in runs))
        self.sizes = sorted({run.batch_size for run in runs})
        self.seeds = {run.seed for run in runs}

    def of_method(self, method):
        """The cells that stand for a method, by batch size."""
        return {
            size: cell
            for (name, size), cell in self.references.items()
            if name == method
        }

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


def notes(group):
    """Yields what a reader has to know about the runs."""
    for (method, size), seeds in group.missing():
        what = f"{report_runs.label(method)}, batch size {size}"
        if len(seeds) == len(group.seeds):
            yield f"no run of {what}."
        else:
            listed = ", ".join(map(str, seeds))
            yield f"{what} lacks seeds that others have: {listed}."
    counts = {len(cell.top1) for cell in group.references.values()}
    if len(counts) > 1:
        yield (
            f"unequal n: between {min(counts)} and {max(counts)} seeds; a "
            "comparison takes the seeds that both sides have."
        )
    for run in group.failed:
        yield f"failed, without an accuracy, in no mean: {run}."
    for run in group.diverged:
        yield f"loss not finite, its accuracy counts: {run}."
