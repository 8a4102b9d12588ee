"""The results of runs: their files, summaries and statistics."""

import dataclasses
import json
import math
import platform
import statistics
from typing import Optional

import tensorflow as tf

import conadv_tf as ca
from conadv_tf import keras2
from conadv_tf import paths
from experiments import config as config_lib
from experiments import start

# {field of a summary.json: types of its value}.
_REQUIRED = {
    "method": (str,),
    "batch_size": (int,),
    "seed": (int,),
    "top1": (int, float),
    "steps": (int,),
    "seconds": (int, float),
}
# Numbers that may be null. Summaries of older runs lack some of them.
_OPTIONAL = (
    "train_top1",
    "final_loss",
    "attack_started",
    "mean_cost",
    "images_per_second",
    "step_time_ms",
)


@dataclasses.dataclass(frozen=True)
class MeanStd:
    """Mean and sample standard deviation of some runs.

    Attributes:
      mean: the mean.
      std: the sample standard deviation; None for a single value.
    """

    mean: float
    std: Optional[float]

    @classmethod
    def of(cls, values):
        """Computes the statistics of a collection of at least one number."""
        values = list(values)
        return cls(
            statistics.mean(values),
            statistics.stdev(values) if len(values) > 1 else None,
        )

    def text(self, mean=".2f", std=".2f"):
        """Formats mean +- standard deviation with these format specifiers."""
        if self.std is None:
            return format(self.mean, mean)
        return f"{self.mean:{mean}} +- {self.std:{std}}"


def versions():
    """Returns the versions of the software that the numbers depend on."""
    return {
        "conadv_tf": ca.__version__,
        "tensorflow": tf.__version__,
        "keras": keras2.keras_version(),
        "python": platform.python_version(),
    }


def read_json(path):
    """Returns the object in a JSON file as a dict.

    Raises:
      ValueError: if the file holds anything else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"Expected a JSON object in {path}; received {content!r:.80}."
        )
    return content


def read_config(model_dir):
    """Returns the `RunConfig` of the run in a folder.

    Raises:
      ValueError: if config.json is damaged.
      OSError: if it cannot be read.
    """
    path = model_dir / "config.json"
    values = read_json(path)
    try:
        return config_lib.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{path} is not valid. {error}") from error


def read_summary(model_dir):
    """Returns the summary of the run in a folder; None if it is unfinished.

    Raises:
      ValueError: if summary.json is damaged.
    """
    path = model_dir / "summary.json"
    if not path.exists():
        return None
    remedy = "Restore it. Or remove it, so that --resume writes it again."
    try:
        summary = read_json(path)
    except ValueError as error:
        raise ValueError(f"{error} {remedy}") from error
    for name, kind in _REQUIRED.items():
        if not isinstance(summary.get(name), kind):
            raise ValueError(
                f"Expected {name} in {path} to be of type "
                f"{kind[-1].__name__}; received {summary.get(name)!r}. "
                f"{remedy}"
            )
    for name in _OPTIONAL:
        if not isinstance(summary.get(name), (int, float, type(None))):
            raise ValueError(
                f"Expected {name} in {path} to be a number or null; received "
                f"{summary[name]!r}. {remedy}"
            )
    return summary


def write_json(path, content):
    """Writes a JSON file atomically.

    Args:
      path: path of the file.
      content: value that JSON can represent. Numbers that are not finite are
        written as null.
    """
    with paths.atomic_write(path) as temporary:
        finite = json.loads(
            json.dumps(content), parse_constant=lambda constant: None
        )
        text = json.dumps(finite, indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def save_weights(network, path):
    """Writes a network's weights atomically to a path that ends in .h5."""
    with paths.atomic_write(path) as temporary:
        network.save_weights(temporary)


def print_summary(summary, model_dir):
    """Prints the summary of a finished run as a table."""
    rows = {
        "method": summary["method"],
        "global batch size": summary["batch_size"],
        "seed": summary["seed"],
        # Summaries of older runs lack the split, which was the test set.
        f"top-1 ({summary.get('split', 'test')})": f"{summary['top1']:.2%}"
        + (", smoke test: not a result" if summary.get("smoke_test") else ""),
        # Summaries of older runs lack the training accuracy.
        "top-1 (training)": _number(summary.get("train_top1"), ".2%"),
        "final training loss": _number(summary.get("final_loss"), ".4f"),
        **start.table_rows(summary),
        "images/s": _number(summary.get("images_per_second"), ",.0f"),
        "step time": _number(summary.get("step_time_ms"), ".1f", " ms"),
        "steps": summary["steps"],
        "seconds": f"{summary['seconds']:.0f}",
        "results in": model_dir,
    }
    width = max(map(len, rows))
    print()
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")


def _number(value, form, unit=""):
    # A run that was resumed after its last step has no throughput.
    if value is None or not math.isfinite(value):
        return "not measured"
    return f"{value:{form}}{unit}"
