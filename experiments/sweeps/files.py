"""The folder of a sweep: its lock, its finished cells, its table."""

import contextlib
import os

from conadv_tf import csv_file
from experiments import config as config_lib
from experiments import config_fields
from experiments import lock
from experiments import results
from experiments.sweeps.table import COLUMNS

_MEASURED = COLUMNS[COLUMNS.index("top1") : COLUMNS.index("published")]
# Workers of a sweep that was killed notice within this time.
_PATIENCE_SECONDS = 5.0


@contextlib.contextmanager
def locked(folder):
    """Keeps another sweep from this folder.

    Args:
      folder: its path; is made.

    Yields:
      The file descriptor of the lock. Processes that inherit it hold it too:
      no sweep starts while a killed one's workers still write.

    Raises:
      ValueError: if another sweep is running there.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def refusal(process):
        return (
            f"Another sweep, process {process}, is running in --output_dir="
            f"{folder}. Wait for it, or choose another folder."
        )

    with lock.exclusive(
        folder / "sweep.lock", refusal, _PATIENCE_SECONDS
    ) as file:
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file.fileno()


def finished(folder, cells):
    """Summaries of the cells that need not be run.

    Args:
      folder: path of the sweep.
      cells: list of `grid.Cell`.

    Returns:
      {name: summary} of those whose summary.json exists.

    Raises:
      ValueError: if one was run with another configuration; it names what
        differs.
    """
    summaries = {}
    for cell in cells:
        path = folder / cell.name
        if (path / "summary.json").exists():
            before = config_lib.from_dict(
                results.read_json(path / "config.json")
            )
            differing = config_fields.differences(before, cell.config)
            if differing:
                raise ValueError(
                    f"The run in {path} has another configuration: "
                    f"{'; '.join(differing)}. Give the same flags, choose "
                    "another --output_dir, or remove this run."
                )
            summaries[cell.name] = results.read_json(path / "summary.json")
    return summaries


def summary(folder, cell):
    """The summary of a cell that has just finished."""
    return results.read_json(folder / cell.name / "summary.json")


def move_aside(path):
    """Renames the folder of a run that was cut off, if there is one."""
    if path.exists():
        number = 1
        while (aside := path.with_name(f"{path.name}.cut{number}")).exists():
            number += 1
        path.rename(aside)


def rows_of_others(path, cells):
    """Rows of other commands for a folder, as long as their runs are there.

    Args:
      path: of the CSV file, which may be there.
      cells: list of `grid.Cell`, this command's.

    Returns:
      List of {column: value}.

    Raises:
      ValueError: if the file is not the table of a sweep.
    """
    names = {cell.name for cell in cells}
    rows = csv_file.read(path) if path.exists() else []
    if rows and "model_dir" not in rows[0]:
        raise ValueError(
            f"Expected {path} to be the table of a sweep, with a column "
            f"model_dir; received columns {', '.join(rows[0])}. Move it, or "
            "choose another --output_dir."
        )
    return [
        {column: row.get(column, "") for column in COLUMNS}
        for row in rows
        if row["model_dir"] not in names
        and (path.parent / row["model_dir"] / "summary.json").exists()
    ]


def tabulate(path, cells, summaries, others=()):
    """Writes the table of what is finished, whole or not at all.

    Args:
      path: of the CSV file.
      cells: list of `grid.Cell`, which gives the order.
      summaries: {name: summary}.
      others: what `rows_of_others` returned; these rows come first.

    Returns:
      {name: row} of the cells, a row being {column: value}.
    """
    rows = {
        cell.name: _row(cell, summaries[cell.name])
        for cell in cells
        if cell.name in summaries
    }
    csv_file.write(path, [*others, *rows.values()], COLUMNS)
    return rows


def _row(cell, summary):
    """{column: value}; "" for what does not apply."""
    config = cell.config
    attacks = config.tau is not None
    return {
        "preset": cell.preset,
        "network": config.network.label,
        "dataset": config.dataset,
        "method": cell.method,
        "batch_size": config.global_batch_size,
        "epsilon": config.attack.epsilon if attacks else "",
        "staleness": config.tau if attacks else "",
        "learning_rate": config.optimizer.learning_rate,
        "variant": cell.variant,
        "seed": config.seed,
        "split": config.split,
        "smoke_test": config.smoke_test,
        "published": "" if cell.published is None else cell.published,
        "model_dir": cell.name,
        # Older runs lack some.
        **{name: summary.get(name, "") for name in _MEASURED},
    }
