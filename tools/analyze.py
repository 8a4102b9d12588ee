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

import os
import pathlib
import sys

# TensorFlow's start-up messages are noise here; set it yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Runs as a script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags
from absl import logging
import numpy as np

import conadv_tf as ca
from conadv_tf import analysis
from conadv_tf import csv_file
from conadv_tf import paths
from experiments import command_line
from experiments import results
from experiments import smoke_test
from tools.runs import comparison
from tools.runs import plots
from tools.runs import trained

FLAGS = flags.FLAGS
flags.DEFINE_string("output_dir", "analysis", "Empty folder for results.")
flags.DEFINE_integer(
    "num_examples", 500, "Training images, and test images.", 1
)
flags.DEFINE_integer("eigenvalues", 5, "How many of the largest.", 1)
flags.DEFINE_list(
    "epsilons",
    None,
    "Radii in pixels of [0, 1]; by default 1/4, 1/2, 1 and 3/2 of the runs'.",
)
flags.DEFINE_integer("pgd_steps", 20, "Gradient steps of PGD.", 1)
flags.DEFINE_float("radius", 0.5, "Largest distance in the landscape.", 0.0)
flags.DEFINE_integer("points", 21, "Of a landscape line; odd, so with 0.", 3)
flags.DEFINE_integer("directions", 3, "Random directions.", 1)
flags.DEFINE_integer("seed", 0, "Of the directions and random starts.")
flags.DEFINE_string("data_dir", None, "Folder or bucket of tfds datasets.")
_BATCH_SIZE = 128


def main(argv):
    """Parses flags, measures, and says what came out."""
    # What tensorflow-datasets reads is no news.
    logging.set_verbosity(logging.WARNING)
    try:
        runs = [trained.TrainedRun(paths.as_path(name)) for name in argv[1:]]
        trained.check_comparable(runs)
        if FLAGS.points % 2 == 0:
            raise ValueError(f"Expected odd --points; received {FLAGS.points}.")
        analyze(runs, new_output_dir(paths.as_path(FLAGS.output_dir)))
    except ValueError as error:
        sys.exit(f"error: {error}")


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
    """Measures `TrainedRun`s and writes the results to an existing folder."""
    config = runs[0].config
    dataset = ca.data.load(
        config.dataset,
        global_batch_size=_BATCH_SIZE,
        seed=FLAGS.seed,
        data_dir=FLAGS.data_dir,
        drop_remainder=False,
        image_size=config.image_size,
        validation_fraction=config.validation_fraction,
    )
    # In memory, the same for all runs.
    train, test = (
        list(part.unbatch().take(FLAGS.num_examples).batch(_BATCH_SIZE))
        for part in (dataset.train, dataset.test)
    )
    # The largest that a run was attacked with; of baselines what they have.
    attacked = [run.config for run in runs if run.config.tau is not None]
    epsilon = max(
        each.attack.epsilon for each in attacked or [run.config for run in runs]
    )
    radii = attack_radii(epsilon)
    offsets = np.linspace(-FLAGS.radius, FLAGS.radius, FLAGS.points)
    tables = {"eigenvalues": [], "landscape": [], "robustness": []}
    for run in runs:
        print(f"{run.folder} ...", flush=True)
        network = run.network(dataset)
        measured = {
            "eigenvalues": trained.eigenvalues(
                network, train, FLAGS.eigenvalues, FLAGS.seed
            ),
            "landscape": trained.landscape(
                network, train, offsets, FLAGS.directions, FLAGS.seed
            ),
            "robustness": analysis.robust_accuracy(
                network, test, radii, FLAGS.pgd_steps, seed=FLAGS.seed
            ),
        }
        for name, rows in measured.items():
            tables[name] += [{**run.identity, **row} for row in rows]
    for name, rows in tables.items():
        path = output_dir / f"{name}.csv"
        csv_file.write(path, rows)
        getattr(plots, name)(path, path.with_suffix(".png"))
    compared = comparison.compare(tables, epsilon)
    results.write_json(
        output_dir / "summary.json",
        {
            "methods": comparison.as_rows(compared),
            "smoke_test": config.smoke_test,
            "runs": [str(run.folder) for run in runs],
            "settings": {
                flag.name: flag.value
                for flag in FLAGS.get_key_flags_for_module(sys.argv[0])
            },
            "versions": results.versions(),
        },
    )
    if config.smoke_test:
        print(f"\n{smoke_test.NOTE}")
    comparison.print_table(compared)
    print(f"\nresults in {output_dir}")


def attack_radii(epsilon):
    """The radii to attack with; by default from that of the runs."""
    if FLAGS.epsilons is None:
        return [factor * epsilon for factor in (0.25, 0.5, 1.0, 1.5)]
    try:
        return [float(text) for text in FLAGS.epsilons]
    except ValueError:
        raise ValueError(
            f"Expected numbers in --epsilons; received {FLAGS.epsilons}."
        ) from None


if __name__ == "__main__":
    command_line.run(main)
