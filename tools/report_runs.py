"""Reads what a sweep left in its folder."""

import csv
import dataclasses
import json
import math
import re
from typing import Optional

from experiments.sweeps.table import COLUMNS

# What results.csv calls the paper's methods, and what a report calls them.
_LABELS = {
    "baseline": "baseline",
    "aa": "AutoAugment",
    "disadv": "DisAdv",
    "conadv": "ConAdv",
    "conadv_aa": "ConAdv + AutoAugment",
}


@dataclasses.dataclass(frozen=True)
class Run:
    """A row of results.csv."""

    preset: str
    network: str
    dataset: str
    method: str
    batch_size: int
    epsilon: Optional[float]
    staleness: Optional[int]
    learning_rate: float
    variant: str
    seed: int
    split: str
    top1: float  # Percent; NaN if the run has none.
    final_loss: float
    images_per_second: float
    published: Optional[float]  # Percent.
    model_dir: str  # In the folder of the sweep.

    def __str__(self):
        """The run in a list of runs."""
        method = label(self.method, self.variant)
        return f"{method}, batch size {self.batch_size}, seed {self.seed}"

    @property
    def name(self):
        """What its folder's name says but seed and tuned rate.

        Tuning trains with smaller batches, as it does with fewer images, so
        the rows of tuning.csv are told by this name.
        """
        return re.sub(r"(_rate[^_]+)?_seed\d+$", "", self.model_dir)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """All there is to report on."""

    name: str  # Of the folder.
    runs: list  # Those of one split.
    split: str
    num_left_out: int  # Rows of the other split.
    tuning: list  # `Run`s on validation data; may be empty.
    settings: dict  # sweep.json; may be empty.
    versions: dict  # From each name to the sorted values found.
    num_with_versions: int
    unfinished: list  # Names of folders that were begun and not finished.


def label(method, variant=""):
    """A method's name in a report, and what was changed about it."""
    name = _LABELS.get(method, method)
    return f"{name}, {variant}" if variant else name


def read_sweep(folder):
    """Reads results.csv and what is beside it.

    Args:
      folder: pathlib.Path.

    Returns:
      A `Sweep`: of the runs on test data; if there are none, of those on
      validation data.

    Raises:
      ValueError: if there is no results.csv or it is damaged.
    """
    path = folder / "results.csv"
    if not path.is_file():
        raise ValueError(
            f"Expected the folder of a sweep; {folder} has no results.csv. "
            "experiments/sweep.py writes it."
        )
    runs = read_runs(path)
    if not runs:
        raise ValueError(f"{path} holds no run yet.")
    tuning = folder / "tune" / "tuning.csv"
    settings = folder / "sweep.json"
    split = "test" if any(r.split == "test" for r in runs) else "validation"
    chosen = [run for run in runs if run.split == split]
    versions, count = _versions(folder, chosen)
    return Sweep(
        folder.resolve().name,
        chosen,
        split,
        len(runs) - len(chosen),
        read_runs(tuning) if tuning.is_file() else [],
        _read_json(settings) if settings.is_file() else {},
        versions,
        count,
        sorted(
            config.parent.name
            for config in folder.glob("*/config.json")
            # The sweep moves what was cut off aside, and runs it anew.
            if ".cut" not in config.parent.name
            and not config.with_name("summary.json").is_file()
        ),
    )


def read_runs(path):
    """Reads a table of runs.

    Args:
      path: pathlib.Path of a CSV file with `COLUMNS`.

    Returns:
      List of `Run`s with the paper's methods first.

    Raises:
      ValueError: if a column is missing or a value is not what it should be.
    """
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or ()
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise ValueError(
                f"{path} lacks the columns {', '.join(missing)}. Was it "
                "written by this version of experiments/sweep.py?"
            )
        runs = [_run(row, f"{path}, line {reader.line_num}") for row in reader]
    order = [*_LABELS]
    return sorted(
        runs,
        key=lambda run: (
            order.index(run.method) if run.method in order else len(order)
        ),
    )


def _run(row, where):
    def number(name, kind=float, empty=None):
        text = row[name]
        if not text:
            if empty is not None:
                return empty
            if name in ("epsilon", "staleness", "published"):
                return None
        try:
            return kind(text)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{where}: expected a number as {name}; received {text!r}."
            ) from error

    if row["split"] not in ("test", "validation"):
        raise ValueError(
            f"{where}: expected split test or validation; received "
            f"{row['split']!r}."
        )
    top1 = number("top1", empty=math.nan)
    if not (math.isnan(top1) or 0 <= top1 <= 1):
        raise ValueError(
            f"{where}: expected top1 as a fraction in [0, 1]; received {top1}."
        )
    return Run(
        row["preset"],
        row["network"],
        row["dataset"],
        row["method"],
        number("batch_size", int),
        number("epsilon"),
        number("staleness", int),
        number("learning_rate"),
        row["variant"],
        number("seed", int),
        row["split"],
        100 * top1,
        number("final_loss", empty=math.nan),
        number("images_per_second", empty=math.nan),
        number("published"),
        row["model_dir"],
    )


def _versions(folder, runs):
    """Versions by name, and of how many runs they are known."""
    found, count = {}, 0
    for run in runs:
        path = folder / run.model_dir / "summary.json"
        if path.is_file():
            count += 1
            for name, value in _read_json(path).get("versions", {}).items():
                found.setdefault(name, set()).add(str(value))
    return {name: sorted(values) for name, values in found.items()}, count


def _read_json(path):
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected an object; received {content!r}.")
    return content
