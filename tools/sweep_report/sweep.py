"""Reads the folder of a sweep."""

import dataclasses
import io
import json

import pandas as pd

from experiments.methods import METHODS
from experiments.sweeps.files import COLUMNS

# Columns that older tables lack.
_ADDED_COLUMNS = ("smoke_test", "train_top1", "attack_started", "mean_cost")
_WHOLE_NUMBERS = ("batch_size", "seed", "staleness")
_NUMBERS = (
    *_WHOLE_NUMBERS,
    "epsilon",
    "learning_rate",
    "top1",
    "train_top1",
    "mean_cost",
    "final_loss",
    "images_per_second",
    "published",
)
_REQUIRED = ("batch_size", "seed", "learning_rate")


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The content of a sweep's folder.

    Attributes:
      name: name of the folder.
      runs: DataFrame of the runs of one split, as `read_runs` returns it.
      split: "test" or "validation".
      smoke_test: whether it is a smoke test; `published` is NaN then.
      num_other_split: number of rows of the other split, which are left out.
      tuning: DataFrame of runs on validation data, possibly empty.
      settings: content of sweep.json, possibly empty.
      versions: {name: sorted list of the versions that the runs used}.
      num_with_versions: number of runs whose versions are known.
      unfinished: names of the folders of runs that have not finished.
    """

    name: str
    runs: pd.DataFrame
    split: str
    smoke_test: bool
    num_other_split: int
    tuning: pd.DataFrame
    settings: dict
    versions: dict
    num_with_versions: int
    unfinished: list


def label(method):
    """Returns the name of a method, a string, as reports show it."""
    if method in METHODS:
        return METHODS[method].label
    stem = method.removesuffix("_aa")
    return f"{METHODS[stem].label} + AutoAugment" if stem in METHODS else method


def read_sweep(folder):
    """Reads results.csv and the other files in a sweep's folder.

    Args:
      folder: path.

    Returns:
      A `Sweep` with the runs on test data, or those on validation data if
      there are no others.

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
    if runs.empty:
        raise ValueError(f"{path} holds no run yet.")
    tuning = folder / "tune" / "tuning.csv"
    settings = folder / "sweep.json"
    settings = _read_json(settings) if settings.is_file() else {}
    # Older tables lack the column, but the command has the flag.
    smoke_test = runs.smoke_test.any() or any(
        str(argument).lstrip("-") in ("quick", "quick=true")
        for argument in settings.get("command") or ()
    )
    if smoke_test:
        runs["published"] = float("nan")
    split = "test" if (runs["split"] == "test").any() else "validation"
    chosen = runs[runs["split"] == split]
    summaries = [folder / name / "summary.json" for name in chosen.model_dir]
    summaries = [_read_json(path) for path in summaries if path.is_file()]
    versions = pd.DataFrame(
        [summary.get("versions", {}) for summary in summaries], dtype=str
    )
    return Sweep(
        folder.resolve().name,
        chosen,
        split,
        smoke_test,
        len(runs) - len(chosen),
        read_runs(tuning) if tuning.is_file() else runs[:0],
        settings,
        {name: sorted(set(found.dropna())) for name, found in versions.items()},
        len(summaries),
        sorted(
            config.parent.name
            for config in folder.glob("*/config.json")
            # The sweep moves interrupted runs to such folders.
            if ".cut" not in config.parent.name
            and not config.with_name("summary.json").is_file()
        ),
    )


def read_runs(path):
    """Reads a CSV file that has the columns of a sweep's results.csv.

    Args:
      path: path of the file.

    Returns:
      DataFrame with a row for each run, the methods of `METHODS` first. It has
      the columns of the file, with accuracies in percent, numbers that are not
      given as NaN and a categorical `method`, and the columns
        method_label: the method as reports show it.
        label: the method and its variant as reports show them.
        comparison_key: network and dataset; runs are only compared with runs
          that share it.
        name: name of the run's folder without seed and tuned rate. It relates
          the runs on validation data to the runs on test data. Their batch
          sizes differ, because tuning trains on fewer images.

    Raises:
      ValueError: if a column is missing or a value is invalid.
    """
    try:
        texts = pd.read_csv(
            io.BytesIO(path.read_bytes()), dtype=str, keep_default_na=False
        )
    except ValueError as error:
        raise ValueError(f"{path} is not a CSV table: {error}") from error
    missing = [c for c in COLUMNS if c not in {*texts, *_ADDED_COLUMNS}]
    if missing:
        raise ValueError(
            f"{path} lacks the columns {', '.join(missing)}. Was it written "
            "by this version of experiments/sweep.py?"
        )
    texts = texts.reindex(columns=[*COLUMNS], fill_value="")
    texts["smoke_test"] = texts.smoke_test.replace("", "False")
    numbers = texts[[*_NUMBERS]].apply(pd.to_numeric, errors="coerce")
    numbers = numbers.astype(float)

    def check(valid, column, expected):
        for index in texts.index[~valid]:
            raise ValueError(
                f"{path}, line {index + 2}: expected {expected} as {column}; "
                f"received {texts[column][index]!r}."
            )

    for column, values in numbers.items():
        valid = values.notna()
        expected = "a number"
        if column in _WHOLE_NUMBERS:
            valid, expected = values % 1 == 0, "a whole number"
        if column not in _REQUIRED:
            valid |= texts[column].isin(["", "nan"])
        check(valid, column, expected)
    fraction = numbers.top1.isna() | numbers.top1.between(0, 1)
    check(fraction, "top1", "a fraction in [0, 1]")
    check(
        texts.smoke_test.isin(["True", "False"]), "smoke_test", "True or False"
    )
    splits = ["test", "validation"]
    check(texts["split"].isin(splits), "split", "test or validation")

    labels = texts.method.map(label)
    changed = texts.variant.where(texts.variant == "", ", " + texts.variant)
    runs = texts.assign(
        **numbers.assign(
            batch_size=numbers.batch_size.astype(int),
            seed=numbers.seed.astype(int),
            top1=100 * numbers.top1,
            train_top1=100 * numbers.train_top1,
        ),
        smoke_test=texts.smoke_test == "True",
        method=pd.Categorical(
            texts.method, list(dict.fromkeys([*METHODS, *texts.method]))
        ),
        method_label=labels,
        label=labels + changed,
        comparison_key=texts.network + " on " + texts.dataset,
        name=texts.model_dir.str.replace(
            r"(_rate[^_]+)?_seed\d+$", "", regex=True
        ),
    )
    return runs.sort_values("method", kind="stable")


def _read_json(path):
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected an object; received {content!r}.")
    return content
