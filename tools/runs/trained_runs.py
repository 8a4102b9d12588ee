"""Reads finished runs from their folders, measures and compares them.

Measurements are in inference mode through the main batch norm, on lists of
batches of (images, class ids), and are returned as rows of a table.
"""

import statistics

from conadv_tf import analysis
from conadv_tf import paths
from experiments import networks
from experiments import results
from experiments.results import MeanStd
from experiments.sweeps import grid


class TrainedRun:
    """A finished run of experiments/run.py.

    Args:
      folder: path of the run.

    Attributes:
      folder: path of the run.
      config: its `RunConfig`.

    Raises:
      ValueError: if the folder is not that of a finished run.
    """

    def __init__(self, folder):
        for name in ("config.json", "network.weights.h5"):
            if not (folder / name).is_file():
                raise ValueError(
                    "Expected a finished run of experiments/run.py; "
                    f"{folder} has no {name}."
                )
        self.folder = folder
        self.config = results.read_config(folder)

    @property
    def identity(self):
        """The columns that identify the run in a table: a dict."""
        return {
            "run": str(self.folder),
            "method": grid.method_name(self.config),
            "batch_size": self.config.global_batch_size,
            "seed": self.config.seed,
        }

    def network(self, dataset):
        """Builds the network as experiments/run.py does and loads its weights.

        Args:
          dataset: the dataset, which gives the sizes of inputs and outputs.

        Returns:
          A Keras model.
        """
        network = networks.build(self.config.network, dataset)
        with paths.local_copy(self.folder / "network.weights.h5") as path:
            network.load_weights(path)
        return network


def check_comparable(runs):
    """Raises a ValueError unless all runs are on the same images."""
    for name in (
        "dataset",
        "image_size",
        "holdout",
        "validation_fraction",
        "smoke_test",
    ):
        values = {str(getattr(run.config, name)) for run in runs}
        if len(values) > 1:
            raise ValueError(
                f"Expected runs with one {name}, so that all are measured on "
                f"the same images; received {sorted(values)}."
            )


def eigenvalues(network, batches, count, seed):
    """Measures the largest eigenvalues of the Hessian, in both units.

    Args:
      network: a Keras model.
      batches: list of (images, class ids).
      count: number of eigenvalues.
      seed: seed of the initial vectors.

    Returns:
      List of {column: value}, one for each unit and eigenvalue.
    """
    rows = []
    for unit in (False, True):
        values = analysis.top_eigenvalues(
            network, batches, count, filter_normalized=unit, seed=seed
        )
        rows += [
            {"filter_normalized": unit, "index": index, "eigenvalue": value}
            for index, value in enumerate(values, start=1)
        ]
    return rows


def landscape(network, batches, offsets, directions, seed):
    """Measures losses along random directions, which are equal for all runs.

    Args:
      network: a Keras model.
      batches: list of (images, class ids).
      offsets: distances along a direction.
      directions: number of directions.
      seed: seed of the first direction; the others have the next seeds.

    Returns:
      List of {column: value}, one for each direction and offset.
    """
    rows, weights = [], network.trainable_variables
    for number in range(directions):
        direction = analysis.filter_normalized_direction(weights, seed + number)
        losses = analysis.loss_surface(network, batches, [direction], offsets)
        rows += [
            {"direction": number, "offset": offset, "loss": loss}
            for offset, loss in zip(offsets, losses)
        ]
    return rows


def compare(tables, epsilon):
    """Averages the measurements over the runs of each method.

    Args:
      tables: {"eigenvalues", "landscape" or "robustness": list of rows with the
        columns of `TrainedRun.identity`}.
      epsilon: radius of the attacks to compare.

    Returns:
      {(method, batch size): (number of runs, {quantity: `MeanStd`})}.
    """
    runs, methods = {}, {}
    for row in tables["robustness"]:
        key = row["method"], row["batch_size"]
        quantities = runs.setdefault(row["run"], {})
        methods.setdefault(key, {})[row["run"]] = quantities
        if row["epsilon"] in (0.0, epsilon):
            name = row["attack"]
            label = "clean" if name == "none" else f"{name}@{epsilon:g}"
            quantities[label] = row["accuracy"]
    for row in tables["eigenvalues"]:
        if row["index"] == 1:
            kind = "filter-normalized " if row["filter_normalized"] else ""
            runs[row["run"]][f"{kind}lambda_1"] = row["eigenvalue"]
    for name, quantities in runs.items():
        rows = [r for r in tables["landscape"] if r["run"] == name]
        edge = max(row["offset"] for row in rows)
        around = [r["loss"] for r in rows if abs(r["offset"]) == edge]
        center = next(r["loss"] for r in rows if abs(r["offset"]) < 1e-9)
        quantities[f"loss rise at {edge:g}"] = statistics.mean(around) - center
    return {
        key: (
            len(members),
            {
                name: MeanStd.of(values[name] for values in members.values())
                for name in next(iter(members.values()))
            },
        )
        for key, members in methods.items()
    }


def as_rows(compared):
    """Converts the result of `compare` to a list of dicts for a JSON file."""
    return [
        {
            "method": method,
            "batch_size": batch_size,
            "n": count,
            **{name: vars(value) for name, value in quantities.items()},
        }
        for (method, batch_size), (count, quantities) in compared.items()
    ]


def print_table(compared):
    """Prints a line for each quantity with a column for each method."""
    _, names = next(iter(compared.values()))
    columns = [["", *names]] + [
        [
            f"{method} {batch_size} (n={count})",
            *(value.text(".4g", ".2g") for value in quantities.values()),
        ]
        for (method, batch_size), (count, quantities) in compared.items()
    ]
    widths = [max(map(len, column)) for column in columns]
    print()
    for line in zip(*columns):
        print("  ".join(text.ljust(w) for text, w in zip(line, widths)))
