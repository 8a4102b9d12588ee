"""Runs a grid of configurations in several processes; one table comes out.

    python experiments/sweep.py --preset=digits_table1 --seeds=2 --quick
    python experiments/sweep.py --method=baseline --method=conadv \
        --global_batch_size=432 --epsilon=0.05 --epsilon=0.1 --seeds=5
    python experiments/sweep.py --preset=digits_1297_conadv \
        --variant=attack.start_epoch=5 --variant=attack.warmup_epochs=10
    python experiments/sweep.py --preset=digits_table1 --seeds=10 \
        --tune_learning_rate=0.5,1,2,4,8 --tune_seeds=2

The same command goes on where a sweep was killed: a finished cell is not run
again, one that was cut off is moved aside and run anew. Leaves results.csv (a
row for each finished run of the folder, written after each), results.png, and a
folder and a log for each run; with tuning, the same of its runs in tune/, as
tuning.csv. Another command for the same folder adds its rows.
"""

import dataclasses
import os
import pathlib
import sys

# TensorFlow's start-up messages are noise here; set it yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Runs as a script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app
from absl import flags

from conadv_tf import paths
from experiments import command_line
from experiments import config_fields
from experiments import results
from experiments import smoke_test
from experiments.sweeps import axes
from experiments.sweeps import cell_runner
from experiments.sweeps import files
from experiments.sweeps import plot
from experiments.sweeps import progress
from experiments.sweeps import sweep_flags
from experiments.sweeps import table
from experiments.sweeps import tuning

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(sweep_flags)


def main(argv):
    """Runs all cells, then prints and draws the results."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    try:
        failures = sweep(output_folder())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on")
    if failures:
        sys.exit(f"error: {len(failures)} failed:\n" + "\n".join(failures))


def output_folder():
    """--output_dir, or a name that says what is run."""
    name = FLAGS.preset or "sweep"
    return paths.as_path(
        FLAGS.output_dir or f"runs/{name}{'_quick' if FLAGS.quick else ''}"
    )


def sweep(output):
    """Tunes if asked to, runs all seeds, and tabulates.

    Args:
      output: path of the folder.

    Returns:
      A line of text for each cell that failed.
    """
    settings = sweep_flags.read_settings()
    images = (output / "images").resolve()
    made = FLAGS.quick and any(
        smoke_test.needs_images(setting.config) for setting in settings
    )
    if FLAGS.quick:
        settings = scaled_down(settings, images)
    tried = sweep_flags.read_tuning(settings)
    with files.locked(output) as lock:
        results.write_json(
            output / "sweep.json",
            {
                "command": ["python", "experiments/sweep.py", *sys.argv[1:]],
                "cores": os.cpu_count(),
                "processes": FLAGS.processes,
            },
        )
        if made:
            smoke_test.write_images(images)
        with cell_runner.Workers(FLAGS.processes, [lock]) as workers:
            failures = []
            if tried:
                settings, failures = tune(
                    workers, settings, tried, output / "tune"
                )
            cells = axes.with_seeds(settings, FLAGS.seeds)
            rows, outcomes = run(workers, cells, output, "results.csv")
    if rows:
        plot.draw(output / "results.csv", output / "results.png")
        print("\n" + table.markdown(list(rows.values())))
        print(f"\n{output / 'results.csv'}")
    return failures + [describe(outcome) for outcome in outcomes]


def scaled_down(cells, folder):
    """The cells, shrunk; those that need images have them in the folder."""
    return [
        dataclasses.replace(
            cell, config=smoke_test.scale_down(cell.config, folder)
        )
        for cell in cells
    ]


def tune(workers, settings, tried, folder):
    """Chooses the learning rate of each setting.

    Args:
      workers: `cell_runner.Workers`.
      settings: list of `grid.Cell`.
      tried: list of `grid.Cell`, the tuning runs.
      folder: path for these.

    Returns:
      (the settings with their rates, a line of text for each that has none).
    """
    rows, outcomes = run(workers, tried, folder, "tuning.csv", "tuning ")
    errors = {o.job.name: describe(o) for o in outcomes if not o.diverged}
    broken = {cell.setting: None for cell in tried if cell.name in errors}
    best = tuning.best_rates(
        (
            cell.setting,
            cell.config.optimizer.learning_rate,
            rows[cell.name]["top1"] if cell.name in rows else None,
        )
        for cell in tried
        if cell.setting not in broken
    )
    tuned, untuned = [], []
    for setting in settings:
        if setting.setting not in best:
            untuned.append(f"{setting.name}: no rate, because tuning failed")
            continue
        rate = best[setting.setting]
        print(f"{setting.name}: learning rate {rate:g}", flush=True)
        config = config_fields.replace(
            setting.config, {"optimizer.learning_rate": rate}
        )
        tuned.append(dataclasses.replace(setting, config=config))
    return tuned, [*errors.values(), *untuned]


def run(workers, cells, folder, csv_name, title=""):
    """Runs the cells that are not finished yet; a table after each.

    Args:
      workers: `cell_runner.Workers`.
      cells: list of `grid.Cell`.
      folder: path for the runs.
      csv_name: name of the table in it.
      title: word for the progress.

    Returns:
      ({name: row of the table} of the finished cells, in order, and the
      `cell_runner.Outcome` of each that failed).
    """
    folder.mkdir(parents=True, exist_ok=True)
    summaries = files.finished(folder, cells)
    by_name = {cell.name: cell for cell in cells}
    jobs = [
        cell_runner.Job(
            name,
            dataclasses.asdict(cell.config),
            folder / name,
            folder / f"{name}.log",
        )
        for name, cell in by_name.items()
        if name not in summaries
    ]
    for job in jobs:
        files.move_aside(job.model_dir)
    says = progress.Progress(len(cells), len(summaries), title)
    # Once: in a bucket each run of others is a request.
    others = files.rows_of_others(folder / csv_name, cells)
    rows = files.tabulate(folder / csv_name, cells, summaries, others)
    failed = []
    for outcome in workers.run(jobs, says.tick):
        name = outcome.job.name
        if outcome.error:
            failed.append(outcome)
            says.ended(f"{name}: FAILED, {outcome.error}")
            continue
        summary = files.summary(folder, by_name[name])
        summaries[name] = summary
        rows = files.tabulate(folder / csv_name, cells, summaries, others)
        says.ended(
            f"{name}: top-1 {summary['top1']:.2%}, {summary['seconds']:.0f} s"
        )
    return rows, failed


def describe(outcome):
    """Which cell failed, why, and where more is said."""
    return f"{outcome.job.name}: {outcome.error}; see {outcome.job.log}"


if __name__ == "__main__":
    command_line.run(main)
