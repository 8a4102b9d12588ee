"""Compares trained runs: sharpness, loss landscape, robustness.

    python tools/analyze.py runs/baseline runs/conadv --output_dir=analysis

Takes finished folders of experiments/run.py, all of one dataset, and rebuilds
their networks. On the same training images it measures the largest
eigenvalues of the Hessian (as they are and filter-normalized) and the loss
along random filter-normalized directions; on the same test images, accuracy
under FGSM and PGD. Everything in inference mode through the main batch norm.
Writes eigenvalues.csv, landscape.csv, robustness.csv, a PNG for each, and
summary.json, and prints a table by method.
"""

import itertools
import json
import os
import pathlib
import sys

# TensorFlow's start-up messages are noise here; set it yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Runs as a script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app
from absl import flags
from absl import logging
import numpy as np

import conadv_tf as ca
from conadv_tf import analysis
from conadv_tf import csv_file
from experiments import build
from experiments import config as config_lib
from experiments import results
from tools import analysis_plots
from tools import comparison

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "output_dir", "analysis", "Folder for the results; must not hold anything."
)
flags.DEFINE_integer(
    "num_examples",
    500,
    "Images to measure on: so many of the training and of the test set.",
    lower_bound=1,
)
flags.DEFINE_integer("eigenvalues", 5, "How many of the largest.", 1)
flags.DEFINE_list(
    "epsilons",
    None,
    "Radii of the attacks in pixels of [0, 1]; by default 1/4, 1/2, 1 and 3/2 "
    "of the epsilon of the runs.",
)
flags.DEFINE_integer("pgd_steps", 20, "Gradient steps of PGD.", 1)
flags.DEFINE_float("radius", 0.5, "Largest distance in the landscape.", 0.0)
flags.DEFINE_integer(
    "points", 21, "Points of a landscape line; odd, so that 0 is one.", 3
)
flags.DEFINE_integer("directions", 3, "Random directions.", 1)
flags.DEFINE_bool(
    "plane", False, "Also the plane of two directions: points**2 losses."
)
flags.DEFINE_integer("seed", 0, "Of the directions and random starts.")
flags.DEFINE_string(
    "data_dir", None, "Folder or bucket of prepared tfds datasets."
)
_BATCH_SIZE = 128


def main(argv):
    """Parses flags, measures, and says what came out."""
    # What tensorflow-datasets reads is no news.
    logging.set_verbosity(logging.WARNING)
    try:
        runs = [load_run(pathlib.Path(name)) for name in argv[1:]]
        check_runs(runs)
        output_dir = new_output_dir(pathlib.Path(FLAGS.output_dir))
        analyze(runs, output_dir)
    except ValueError as error:
        sys.exit(f"error: {error}")


def load_run(folder):
    """Reads what identifies a run.

    Args:
      folder: pathlib.Path of a finished run of experiments/run.py.

    Returns:
      Dict with "folder" and "config".

    Raises:
      ValueError: if the folder holds no finished run.
    """
    for name in ("config.json", "network.weights.h5"):
        if not (folder / name).is_file():
            raise ValueError(
                f"Expected a finished run of experiments/run.py; {folder} has "
                f"no {name}."
            )
    return {
        "folder": folder,
        "config": json.loads((folder / "config.json").read_text("utf-8")),
    }


def check_runs(runs):
    """Raises a ValueError unless the runs can be compared."""
    if not runs:
        raise ValueError(
            "Expected folders of runs: python tools/analyze.py RUN [RUN ...]."
        )
    datasets = {run["config"]["dataset"] for run in runs}
    if len(datasets) > 1:
        raise ValueError(
            "Expected runs on one dataset, so that all are measured on the "
            f"same images; received {sorted(datasets)}."
        )
    if FLAGS.points % 2 == 0:
        raise ValueError(
            f"Expected an odd number of --points; received {FLAGS.points}."
        )


def new_output_dir(path):
    """Creates the folder for the results, never one that holds something."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(
            f"--output_dir={path} already holds something, and results are "
            "never overwritten. Choose a new folder, or remove this one."
        )
    path.mkdir(parents=True, exist_ok=True)
    return path


def analyze(runs, output_dir):
    """Measures all runs and writes the results.

    Args:
      runs: list of `load_run`.
      output_dir: pathlib.Path of an existing folder.
    """
    dataset = ca.data.load(
        runs[0]["config"]["dataset"],
        global_batch_size=_BATCH_SIZE,
        seed=FLAGS.seed,
        data_dir=FLAGS.data_dir,
        drop_remainder=False,
    )
    train, test = examples(dataset.train), examples(dataset.test)
    epsilons = attack_radii(runs)
    tables = {"eigenvalues": [], "landscape": [], "robustness": []}
    if FLAGS.plane:
        tables["plane"] = []
    for run in runs:
        print(f"{run['folder']} ...", flush=True)
        network = load_network(run, dataset)
        measured = {
            "eigenvalues": eigenvalues(network, train),
            "landscape": landscape(network, train),
            "robustness": analysis.robust_accuracy(
                network, test, epsilons, FLAGS.pgd_steps, seed=FLAGS.seed
            ),
        }
        if FLAGS.plane:
            measured["plane"] = plane(network, train)
        for name, rows in measured.items():
            tables[name] += [{**identity(run), **row} for row in rows]
    for name, rows in tables.items():
        csv_file.write(output_dir / f"{name}.csv", rows)
        getattr(analysis_plots, name)(
            output_dir / f"{name}.csv", output_dir / f"{name}.png"
        )
    groups = comparison.compare(tables, reference_epsilon(runs))
    results.write_json(
        output_dir / "summary.json",
        {
            "methods": groups,
            "runs": [str(run["folder"]) for run in runs],
            "settings": {
                flag.name: flag.value
                for flag in FLAGS.get_key_flags_for_module(sys.argv[0])
            },
            "versions": results.versions(),
        },
    )
    comparison.print_table(groups)
    print(f"\nresults in {output_dir}")


def examples(batches):
    """The first `--num_examples` images, in memory, the same for all runs."""
    return list(batches.unbatch().take(FLAGS.num_examples).batch(_BATCH_SIZE))


def attack_radii(runs):
    """The radii to attack with."""
    if FLAGS.epsilons is None:
        return [f * reference_epsilon(runs) for f in (0.25, 0.5, 1.0, 1.5)]
    try:
        return [float(text) for text in FLAGS.epsilons]
    except ValueError:
        raise ValueError(
            f"Expected numbers in --epsilons; received {FLAGS.epsilons}."
        ) from None


def reference_epsilon(runs):
    """The largest epsilon that the runs were trained with."""
    return max(run["config"]["attack"]["epsilon"] for run in runs)


def identity(run):
    """The columns that tell which run a row is of."""
    config = run["config"]
    return {
        "run": str(run["folder"]),
        "method": config["method"],
        "batch_size": config["global_batch_size"],
        "seed": config["seed"],
    }


def load_network(run, dataset):
    """The trained network of a run, as experiments/run.py builds it."""
    network = build.network(config_lib.from_dict(run["config"]), dataset)
    network.load_weights(run["folder"] / "network.weights.h5")
    return network


def eigenvalues(network, batches):
    """Rows of the largest eigenvalues of the Hessian, in both units."""
    return [
        {
            "filter_normalized": filter_normalized,
            "index": index + 1,
            "eigenvalue": value,
        }
        for filter_normalized in (False, True)
        for index, value in enumerate(
            analysis.top_eigenvalues(
                network,
                batches,
                FLAGS.eigenvalues,
                filter_normalized=filter_normalized,
                seed=FLAGS.seed,
            )
        )
    ]


def landscape(network, batches):
    """Rows of losses along each direction; the same draws for all runs."""
    offsets = np.linspace(-FLAGS.radius, FLAGS.radius, FLAGS.points)
    rows = []
    for number in range(FLAGS.directions):
        losses = analysis.loss_surface(
            network, batches, [direction(network, number)], offsets
        )
        rows += [
            {"direction": number, "offset": offset, "loss": loss}
            for offset, loss in zip(offsets, losses)
        ]
    return rows


def plane(network, batches):
    """Rows of losses in the plane of the first two directions."""
    offsets = np.linspace(-FLAGS.radius, FLAGS.radius, FLAGS.points)
    losses = analysis.loss_surface(
        network, batches, [direction(network, n) for n in (0, 1)], offsets
    )
    return [
        {"offset_1": first, "offset_2": second, "loss": loss}
        for (first, second), loss in zip(
            itertools.product(offsets, repeat=2), losses.ravel()
        )
    ]


def direction(network, number):
    """A random direction for this network from the draws of that number."""
    return analysis.filter_normalized_direction(
        network.trainable_variables, FLAGS.seed + number
    )


if __name__ == "__main__":
    app.run(main)
