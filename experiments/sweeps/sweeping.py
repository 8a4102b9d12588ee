"""Runs the sweep of the flags of sweep.py.

Importing this module imports TensorFlow, so sweep.py does it after it has
checked its flags.
"""

import contextlib
import dataclasses
import os
import sys

from absl import flags

from conadv_tf import csv_file
from conadv_tf import paths
from experiments import command_line
from experiments import config_fields
from experiments import results
from experiments import smoke_test
from experiments.sweeps import axes
from experiments.sweeps import files
from experiments.sweeps import overview
from experiments.sweeps import progress
from experiments.sweeps import sweep_flags
from experiments.sweeps import tuning
from experiments.sweeps import worker_pool

FLAGS = flags.FLAGS


def run(specs):
    """Runs the sweep of the flags and exits with an error if a run failed.

    Args:
      specs: list of `grid.RunSpec`, without seeds; with --quick those to scale
        down.
    """
    name = f"{FLAGS.preset or 'sweep'}{'_quick' if FLAGS.quick else ''}"
    try:
        failures = sweep(
            specs, paths.as_path(FLAGS.output_dir or f"runs/{name}")
        )
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command continues the sweep")
    if failures:
        sys.exit(f"error: {len(failures)} failed:\n" + "\n".join(failures))


def sweep(specs, output):
    """Tunes the learning rates if asked to, trains all runs, shows the results.

    Args:
      specs: list of `grid.RunSpec`, without seeds.
      output: path of the folder.

    Returns:
      A line of text for each run that failed.
    """
    images = (output / "images").resolve()
    if FLAGS.quick:
        specs = scaled_down(specs, images)
    trials = sweep_flags.read_trials(specs)
    errors = []
    with files.locked(output) as lock:
        results.write_json(
            output / "sweep.json",
            {
                "command": [*command_line.command(), *sys.argv[1:]],
                "cores": os.cpu_count(),
                "processes": FLAGS.processes,
            },
        )
        if FLAGS.quick and any(
            smoke_test.needs_images(spec.config) for spec in specs
        ):
            smoke_test.write_images(images)
        arguments = [f"--callback={text}" for text in FLAGS.callback]
        with worker_pool.WorkerPool(FLAGS.processes, [lock], arguments) as pool:
            if trials:
                specs, errors = tune(pool, specs, trials, output / "tune")
            specs = axes.with_seeds(specs, FLAGS.seeds)
            table = output / "results.csv"
            rows, failed = train(pool, specs, table)
    if rows:
        overview.plot(csv_file.read(table), output / "results.png")
        print("\n" + overview.markdown(list(rows.values())))
        print(f"\n{table}")
    return errors + [describe(outcome, output) for outcome in failed]


def scaled_down(specs, images):
    """Returns smoke tests of runs, with generated images in a folder."""
    return [
        dataclasses.replace(
            spec, config=smoke_test.scale_down(spec.config, images)
        )
        for spec in specs
    ]


def tune(pool, specs, trials, folder):
    """Chooses the learning rate of each run.

    Args:
      pool: `worker_pool.WorkerPool`.
      specs: list of `grid.RunSpec`, without seeds.
      trials: list of `grid.RunSpec`, the tuning runs.
      folder: path of the folder for the tuning runs.

    Returns:
      (list of `grid.RunSpec` with the chosen learning rates, list with a line
      of text for each tuning run that failed and each run without a rate).
    """
    rows, failed = train(pool, trials, folder / "tuning.csv", "tuning ")
    errors = {o.name: describe(o, folder) for o in failed if not o.diverged}
    broken = {trial.tuned_run for trial in trials if trial.name in errors}
    best = tuning.best_rates(
        (
            trial.tuned_run,
            trial.config.optimizer.learning_rate,
            rows[trial.name]["top1"] if trial.name in rows else None,
        )
        for trial in trials
        if trial.tuned_run not in broken
    )
    tuned, untuned = [], []
    for spec in specs:
        if spec.name not in best:
            untuned.append(f"{spec.name}: no learning rate, as tuning failed")
            continue
        rate = best[spec.name]
        print(f"{spec.name}: learning rate {rate:g}", flush=True)
        config = config_fields.replace(
            spec.config, {"optimizer.learning_rate": rate}
        )
        tuned.append(dataclasses.replace(spec, config=config))
    return tuned, [*errors.values(), *untuned]


def train(pool, specs, table, title=""):
    """Trains the runs that are not finished, and updates a table after each.

    Args:
      pool: `worker_pool.WorkerPool`.
      specs: list of `grid.RunSpec`.
      table: path of the CSV file; the folders of the runs are beside it.
      title: text before the progress.

    Returns:
      ({name: row of the table} of the finished runs in `specs`, list of the
      `worker_pool.Outcome` of each run that failed).
    """
    folder = table.parent
    folder.mkdir(parents=True, exist_ok=True)
    summaries = files.finished_summaries(folder, specs)
    unfinished = [spec for spec in specs if spec.name not in summaries]
    for spec in unfinished:
        files.move_aside(folder / spec.name)
    # Read once, because in a bucket each of these runs costs a request.
    other_rows = files.read_other_rows(table, specs)
    rows = files.write_results(table, specs, summaries, other_rows)
    failed = []
    with contextlib.closing(
        progress.Progress(len(specs), len(summaries), title)
    ) as display:
        for outcome in pool.train(unfinished, folder, display.refresh):
            name = outcome.name
            if outcome.error:
                failed.append(outcome)
                display.report_done(f"{name}: FAILED, {outcome.error}")
                continue
            summary = summaries[name] = results.read_summary(folder / name)
            rows = files.write_results(table, specs, summaries, other_rows)
            display.report_done(
                f"{name}: top-1 {summary['top1']:.2%}, "
                f"{summary['seconds']:.0f} s"
            )
    return rows, failed


def describe(outcome, folder):
    """Returns the name of a failed run, the reason, and the path of its log."""
    log = folder / f"{outcome.name}.log"
    return f"{outcome.name}: {outcome.error}; log: {log}"
