"""Compares trained runs by sharpness, loss landscape and robustness.

    python tools/analyze.py runs/baseline runs/conadv --output_dir=analysis

Takes folders of finished runs of experiments/run.py, all on one dataset, and
rebuilds their networks. On the same training images it measures the largest
eigenvalues of the Hessian (plain and filter-normalized) and the loss along
random filter-normalized directions. On the same test images it measures the
accuracy under FGSM and PGD. All measurements are in inference mode through the
main batch norm. Writes eigenvalues.csv, landscape.csv and robustness.csv, a PNG
file for each, and summary.json, and prints a table by method.
"""

import os
import pathlib
import sys

# TensorFlow's start-up messages are noise here; set it yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The script runs from any folder.
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
from tools.runs import plots
from tools.runs import trained_runs
from tools.runs.trained_runs import TrainedRun

FLAGS = flags.FLAGS
flags.DEFINE_string("output_dir", "analysis", "Empty folder for results.")
flags.DEFINE_integer(
    "num_examples", 500, "Number of training images and of test images.", 1
)
flags.DEFINE_integer("eigenvalues", 5, "Number of largest eigenvalues.", 1)
flags.DEFINE_list(
    "epsilons",
    None,
    "Radii for pixels in [0, 1]; by default 1/4, 1/2, 1 and 3/2 of the largest "
    "radius of the runs.",
)
flags.DEFINE_integer("pgd_steps", 20, "Number of gradient steps of PGD.", 1)
flags.DEFINE_float("radius", 0.5, "Largest distance in the landscape.", 0.0)
flags.DEFINE_integer("points", 21, "Distances in the landscape; odd number.", 3)
flags.DEFINE_integer("directions", 3, "Number of random directions.", 1)
flags.DEFINE_integer("seed", 0, "Seed of the directions and random starts.")
flags.DEFINE_string("data_dir", None, "Folder or bucket of tfds datasets.")
_BATCH_SIZE = 128


def main(argv):
    """Reads the runs, measures and compares them."""
    # Hides the messages of tensorflow-datasets about the files that it reads.
    logging.set_verbosity(logging.WARNING)
    try:
        runs = [TrainedRun(paths.as_path(name)) for name in argv[1:]]
        trained_runs.check_comparable(runs)
        if FLAGS.points % 2 == 0:
            raise ValueError(f"Expected odd --points; received {FLAGS.points}.")
        analyze(runs, new_output_dir(paths.as_path(FLAGS.output_dir)))
    except ValueError as error:
        sys.exit(f"error: {error}")


def new_output_dir(path):
    """Creates the folder for the results, which must not exist or be empty."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(
            f"Expected a new or empty folder; --output_dir={path} already "
            "holds files, which are never overwritten. Choose another folder, "
            "or remove this one."
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
        holdout=config.holdout,
        validation_fraction=config.validation_fraction,
    )
    # The same batches for all runs, in memory.
    train, test = (
        list(part.unbatch().take(FLAGS.num_examples).batch(_BATCH_SIZE))
        for part in (dataset.train, dataset.test)
    )
    # The largest radius of the runs with an attack. If there are none, the
    # configurations of the baselines have one too.
    configs = [run.config for run in runs]
    attacked = [each for each in configs if each.tau is not None]
    epsilon = max(each.attack.epsilon for each in attacked or configs)
    radii = attack_radii(epsilon)
    offsets = np.linspace(-FLAGS.radius, FLAGS.radius, FLAGS.points)
    tables = {"eigenvalues": [], "landscape": [], "robustness": []}
    for run in runs:
        print(f"{run.folder} ...", flush=True)
        network = run.network(dataset)
        measured = {
            "eigenvalues": trained_runs.eigenvalues(
                network, train, FLAGS.eigenvalues, FLAGS.seed
            ),
            "landscape": trained_runs.landscape(
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
    compared = trained_runs.compare(tables, epsilon)
    results.write_json(
        output_dir / "summary.json",
        {
            "methods": trained_runs.as_rows(compared),
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
    trained_runs.print_table(compared)
    print(f"\nresults in {output_dir}")


def attack_radii(epsilon):
    """Returns the radii of --epsilons, or multiples of the runs' radius."""
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
