"""Reads and writes the folder of a sweep."""

import contextlib
import os

from conadv_tf import csv_file
from experiments import config_fields
from experiments import lock
from experiments import results
from experiments import run_folder

# Columns of results.csv and tuning.csv.
COLUMNS = tuple(
    "preset network dataset method batch_size epsilon staleness learning_rate "
    "variant seed split smoke_test top1 train_top1 final_loss attack_started "
    "mean_cost steps images_per_second step_time_ms seconds published "
    "model_dir".split()
)
# Columns that are copied from the summary of a run.
_SUMMARY_COLUMNS = COLUMNS[COLUMNS.index("top1") : COLUMNS.index("published")]
# The workers of a killed sweep end within this time.
_LOCK_TIMEOUT_SECONDS = 5.0


@contextlib.contextmanager
def locked(folder):
    """Locks the folder of a sweep against other sweeps.

    Args:
      folder: path of the folder, which is created.

    Yields:
      File descriptor of the lock. Processes that inherit it hold the lock
      too, so that no sweep starts while workers of a killed one still write.

    Raises:
      ValueError: if another sweep holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock.exclusive(
        folder / "sweep.lock",
        lambda process: (
            f"Another sweep, process {process}, is running in --output_dir="
            f"{folder}. Wait for it, or choose another folder."
        ),
        _LOCK_TIMEOUT_SECONDS,
    ) as file:
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file.fileno()


def finished_summaries(folder, specs):
    """Returns the summaries of the runs that are already finished.

    Args:
      folder: path of the sweep.
      specs: list of `grid.RunSpec`.

    Returns:
      {name: summary} of the runs that have a summary.json.

    Raises:
      ValueError: if a finished run has another configuration; the error lists
        the settings that differ.
    """
    summaries = {}
    for spec in specs:
        path = folder / spec.name
        summary = results.read_summary(path)
        if summary is None:
            continue
        differing = config_fields.differences(
            results.read_config(path), spec.config
        )
        if differing:
            raise ValueError(
                f"The run in {path} has another configuration: "
                f"{'; '.join(differing)}. Give the same flags, choose "
                "another --output_dir, or remove this run."
            )
        summaries[spec.name] = summary
    return summaries


def move_aside(path):
    """Renames the folder of an interrupted run, if it exists.

    Raises:
      ValueError: if a process trains in it.
    """
    if path.exists():
        number = 1
        while (aside := path.with_name(f"{path.name}.cut{number}")).exists():
            number += 1
        with run_folder.exclusive(path):
            path.rename(aside)


def read_other_rows(path, specs):
    """Reads the rows of runs that other commands have added to a table.

    Args:
      path: path of the CSV file, which need not exist.
      specs: list of `grid.RunSpec`, the runs of this command.

    Returns:
      List of {column: value}, without rows whose runs have been removed.

    Raises:
      ValueError: if the file is not the table of a sweep.
    """
    if not path.exists():
        return []
    names = {spec.name for spec in specs}
    table = csv_file.reader(path)
    if "model_dir" not in (table.fieldnames or ["model_dir"]):
        raise ValueError(
            f"Expected {path} to be the table of a sweep, with a column "
            f"model_dir; received columns {', '.join(table.fieldnames)}. Move "
            "it, or choose another --output_dir."
        )
    found = []
    for row in table:
        _check_row(row, f"{path}, line {table.line_num}")
        name = row["model_dir"]
        if name not in names and (path.parent / name / "summary.json").exists():
            found.append({column: row.get(column, "") for column in COLUMNS})
    return found


def _check_row(row, where):
    """Raises a ValueError if values that are used again are missing."""
    for column, kind in {
        "model_dir": str,
        "batch_size": int,
        "top1": float,
    }.items():
        text = row.get(column)
        try:
            if not text:
                raise ValueError
            kind(text)
        except ValueError:
            raise ValueError(
                f"Expected a value of type {kind.__name__} as {column} in "
                f"{where}; received {text!r}. Correct the file, or move it "
                "away: the same command writes the rows of its runs again."
            ) from None


def write_results(path, specs, summaries, other_rows=()):
    """Writes the table of the finished runs in one step.

    Args:
      path: path of the CSV file.
      specs: list of `grid.RunSpec`, in the order of the table.
      summaries: {name: summary} of the finished runs.
      other_rows: rows from `read_other_rows`, which are written first.

    Returns:
      {name: {column: value}} of the finished runs in `specs`.
    """
    rows = {
        spec.name: _row(spec, summaries[spec.name])
        for spec in specs
        if spec.name in summaries
    }
    csv_file.write(path, [*other_rows, *rows.values()], COLUMNS)
    return rows


def _row(spec, summary):
    """Returns {column: value}, with "" where a column does not apply."""
    config = spec.config
    has_attack = config.tau is not None
    return {
        "preset": spec.preset,
        "network": config.network.label,
        "dataset": config.dataset,
        "method": spec.method,
        "batch_size": config.global_batch_size,
        "epsilon": config.attack.epsilon if has_attack else "",
        "staleness": config.tau if has_attack else "",
        "learning_rate": config.optimizer.learning_rate,
        "variant": spec.variant,
        "seed": config.seed,
        "split": config.split,
        "smoke_test": config.smoke_test,
        "published": "" if spec.published is None else spec.published,
        "model_dir": spec.name,
        # Summaries of older runs lack some of these.
        **{name: summary.get(name, "") for name in _SUMMARY_COLUMNS},
    }
