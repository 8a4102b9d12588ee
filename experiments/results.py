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
    """Returns the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


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
        "final training loss": _number(summary["final_loss"], ".4f"),
        "images/s": _number(summary["images_per_second"], ",.0f"),
        "step time": _number(summary["step_time_ms"], ".1f", " ms"),
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


def discard_unused(model_dir):
    """Removes the folder of a run that failed before its first checkpoint."""
    config, checkpoints = model_dir / "config.json", model_dir / "checkpoints"
    found = {path.name for path in model_dir.iterdir()}
    if {config.name} <= found <= {config.name, checkpoints.name}:
        if checkpoints.exists():
            if any(checkpoints.iterdir()):
                return
            checkpoints.rmdir()
        config.unlink()
        model_dir.rmdir()
