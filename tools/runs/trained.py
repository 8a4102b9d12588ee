"""Finished runs: read from their folders, and measured.

Everything is measured in inference mode through the main batch norm, on lists
of batches of (images, class ids), and comes as rows of a table.
"""

from conadv_tf import analysis
from conadv_tf import paths
from experiments import config as config_lib
from experiments import networks
from experiments import results
from experiments.sweeps import grid


class TrainedRun:
    """A finished run of experiments/run.py; a ValueError if it is none."""

    def __init__(self, folder):
        for name in ("config.json", "network.weights.h5"):
            if not (folder / name).is_file():
                raise ValueError(
                    "Expected a finished run of experiments/run.py; "
                    f"{folder} has no {name}."
                )
        self.folder = folder
        self.config = config_lib.from_dict(
            results.read_json(folder / "config.json")
        )

    @property
    def identity(self):
        """The columns that tell which run a row is of."""
        return {
            "run": str(self.folder),
            "method": grid.method_name(self.config),
            "batch_size": self.config.global_batch_size,
            "seed": self.config.seed,
        }

    def network(self, dataset):
        """The trained network, as experiments/run.py builds it."""
        network = networks.build(self.config.network, dataset)
        with paths.local_copy(self.folder / "network.weights.h5") as path:
            network.load_weights(path)
        return network


def check_comparable(runs):
    """Raises a ValueError unless there are runs, all on the same images."""
    if not runs:
        raise ValueError(
            "Expected folders of runs: python tools/analyze.py RUN [RUN ...]."
        )
    for name in ("dataset", "image_size", "validation_fraction", "smoke_test"):
        values = {str(getattr(run.config, name)) for run in runs}
        if len(values) > 1:
            raise ValueError(
                f"Expected runs with one {name}, so that all are measured on "
                f"the same images; received {sorted(values)}."
            )


def eigenvalues(network, batches, count, seed):
    """The `count` largest eigenvalues of the Hessian, in both units."""
    rows = []
    for filter_normalized in (False, True):
        options = {"filter_normalized": filter_normalized, "seed": seed}
        values = analysis.top_eigenvalues(network, batches, count, **options)
        unit = {"filter_normalized": filter_normalized}
        rows += [
            {**unit, "index": index, "eigenvalue": value}
            for index, value in enumerate(values, start=1)
        ]
    return rows


def landscape(network, batches, offsets, directions, seed):
    """Losses along random directions; the same draws for all runs."""
    rows, weights = [], network.trainable_variables
    for number in range(directions):
        direction = analysis.filter_normalized_direction(weights, seed + number)
        losses = analysis.loss_surface(network, batches, [direction], offsets)
        rows += [
            {"direction": number, "offset": offset, "loss": loss}
            for offset, loss in zip(offsets, losses)
        ]
    return rows
