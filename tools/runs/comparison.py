"""Measures trained runs and compares them, for analyze.py.

Importing this module imports TensorFlow, so the command does it after it has
checked its flags.
"""

import sys

from absl import flags
from absl import logging
import numpy as np

import conadv_tf as ca
from conadv_tf import analysis
from conadv_tf import csv_file
from conadv_tf import paths
from experiments import results
from experiments import smoke_test
from tools.runs import plots
from tools.runs import trained_runs
from tools.runs.trained_runs import TrainedRun

FLAGS = flags.FLAGS
_BATCH_SIZE = 128


def run(folders):
    """Compares runs as the flags say.

    Args:
      folders: names of the folders of the runs.

    Raises:
      ValueError: if a folder or a flag is wrong.
    """
    # Hides the messages of tensorflow-datasets about the files that it reads.
    logging.set_verbosity(logging.WARNING)
    runs = [TrainedRun(paths.as_path(name)) for name in folders]
    trained_runs.check_comparable(runs)
    compare(runs, new_output_dir(paths.as_path(FLAGS.output_dir)))


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


def compare(runs, output_dir):
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
