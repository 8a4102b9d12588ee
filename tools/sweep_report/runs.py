"""Reads what a sweep left in its folder."""

import dataclasses
import json
import math
import re
from typing import Optional

from conadv_tf import csv_file
from experiments.methods import METHODS
from experiments.sweeps.files import COLUMNS


@dataclasses.dataclass(frozen=True)
class Setting:
    """What runs of one network and dataset differ in, besides the seed."""

    method: str
    batch_size: int
    epsilon: Optional[float]  # None without an attack, like staleness.
    staleness: Optional[int]
    learning_rate: float
    variant: str
    preset: str

    @property
    def setting(self):
        """The setting alone, of a run or a cell."""
        names = (field.name for field in dataclasses.fields(Setting))
        return Setting(*(getattr(self, name) for name in names))

    @property
    def label(self):
        """The method's name in a report, and what was changed about it."""
        name = label(self.method)
        return f"{name}, {self.variant}" if self.variant else name


@dataclasses.dataclass(frozen=True)
class Run(Setting):
    """A row of results.csv."""

    network: str
    dataset: str
    seed: int
    split: str
    smoke_test: bool
    top1: float  # Percent; NaN if the run has none.
    train_top1: Optional[float]  # Percent, of the last epoch.
    final_loss: float
    images_per_second: float
    published: Optional[float]  # Percent.
    model_dir: str  # In the folder of the sweep.

    def __str__(self):
        """The run in a list of runs."""
        return f"{self.label}, batch size {self.batch_size}, seed {self.seed}"

    @property
    def place(self):
        """Runs are compared only with those of the same place."""
        return f"{self.network} on {self.dataset}"

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
    smoke_test: bool  # Then nothing published is with the runs.
    num_left_out: int  # Rows of the other split.
    tuning: list  # `Run`s on validation data; may be empty.
    settings: dict  # sweep.json; may be empty.
    versions: dict  # From each name to the sorted values found.
    num_with_versions: int
    unfinished: list  # Names of folders that were begun and not finished.


_PARSERS = {
    str: str,
    bool: lambda text: {"True": True, "False": False}[text],
    int: int,
    float: float,
    Optional[int]: lambda text: int(text) if text else None,
    Optional[float]: lambda text: float(text) if text else None,
}
# Columns that older tables lack.
_LATER = {"smoke_test": "False", "train_top1": ""}
_ABSENT = {
    # A run that failed has none of these.
    **dict.fromkeys(("top1", "final_loss", "images_per_second"), "nan"),
    **_LATER,
}


def label(method):
    """A method's name in a report, with what it is combined with."""
    if method in METHODS:
        return METHODS[method].label
    stem = method.removesuffix("_aa")
    return f"{METHODS[stem].label} + AutoAugment" if stem in METHODS else method


def read_sweep(folder):
    """Reads results.csv and what is beside it in a folder.

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
    settings = _read_json(settings) if settings.is_file() else {}
    smoke_test = any(run.smoke_test for run in runs) or any(
        # Tables once did not say it.
        str(argument).lstrip("-") in ("quick", "quick=true")
        for argument in settings.get("command", ())
    )
    if smoke_test:
        runs = [dataclasses.replace(run, published=None) for run in runs]
    split = "test" if any(r.split == "test" for r in runs) else "validation"
    chosen = [run for run in runs if run.split == split]
    summaries = [folder / run.model_dir / "summary.json" for run in chosen]
    summaries = [_read_json(path) for path in summaries if path.is_file()]
    versions = {}
    for summary in summaries:
        for name, value in summary.get("versions", {}).items():
            versions.setdefault(name, set()).add(str(value))
    return Sweep(
        folder.resolve().name,
        chosen,
        split,
        smoke_test,
        len(runs) - len(chosen),
        read_runs(tuning) if tuning.is_file() else [],
        settings,
        {name: sorted(values) for name, values in versions.items()},
        len(summaries),
        sorted(
            config.parent.name
            for config in folder.glob("*/config.json")
            # The sweep moves what was cut off aside, and runs it anew.
            if ".cut" not in config.parent.name
            and not config.with_name("summary.json").is_file()
        ),
    )


def read_runs(path):
    """Reads a CSV file with `COLUMNS`.

    Returns:
      List of `Run`s with the paper's methods first.

    Raises:
      ValueError: if a column is missing or a value is not what it should be.
    """
    reader = csv_file.reader(path)
    names = reader.fieldnames or ()
    missing = [
        name for name in COLUMNS if name not in names and name not in _LATER
    ]
    if missing:
        raise ValueError(
            f"{path} lacks the columns {', '.join(missing)}. Was it written "
            "by this version of experiments/sweep.py?"
        )
    runs = [_run(row, f"{path}, line {reader.line_num}") for row in reader]
    order = {name: place for place, name in enumerate(METHODS)}
    return sorted(runs, key=lambda run: order.get(run.method, len(order)))


def _run(row, where):
    values = {}
    for field in dataclasses.fields(Run):
        text = row.get(field.name) or _ABSENT.get(field.name, "")
        try:
            values[field.name] = _PARSERS[field.type](text)
        except (KeyError, ValueError) as error:
            kind = "True or False" if field.type is bool else "a number"
            raise ValueError(
                f"{where}: expected {kind} as {field.name}; received {text!r}."
            ) from error
    if values["split"] not in ("test", "validation"):
        raise ValueError(
            f"{where}: expected split test or validation; received "
            f"{values['split']!r}."
        )
    top1 = values["top1"]
    if not (math.isnan(top1) or 0 <= top1 <= 1):
        raise ValueError(
            f"{where}: expected top1 as a fraction in [0, 1]; received {top1}."
        )
    train = values["train_top1"]
    values["train_top1"] = None if train is None else 100 * train
    return Run(**{**values, "top1": 100 * top1})


def _read_json(path):
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected an object; received {content!r}.")
    return content
