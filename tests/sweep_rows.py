"""Builds rows of results.csv, and reports on them."""

import csv

import numpy as np

from experiments.sweeps.files import COLUMNS
from tools.sweep_report import page
from tools.sweep_report import report
from tools.sweep_report import seed_groups
from tools.sweep_report import sweep

# Part of the summary of a finished run.
SUMMARY = {
    "top1": 0.5,
    "train_top1": 0.75,
    "final_loss": 1.0,
    "steps": 3,
    "images_per_second": 10.0,
    "step_time_ms": 2.0,
    "seconds": 4.0,
}
EVIL = '<script>alert("x")</script>|a&b'


def row(method, batch_size, seed, top1, **changes):
    staleness = {"disadv": 0, "conadv": 1, "conadv_aa": 1}.get(method, "")
    return {
        **dict.fromkeys(COLUMNS, 1),
        "preset": EVIL,
        "network": "resnet_cifar",
        "dataset": "digits",
        "method": method,
        "batch_size": batch_size,
        "variant": "",
        "epsilon": "" if staleness == "" else 0.1,
        "staleness": staleness,
        "learning_rate": 4.0,
        "seed": seed,
        "split": "test",
        "smoke_test": False,
        # The float32 that Keras reports.
        "top1": float(np.float32(top1)),
        "images_per_second": 100.0 * (seed + 1),
        "published": 77.4 if method == "conadv" else "",
        "model_dir": f"{method}_{batch_size}_seed{seed}",
        **changes,
    }


def write(folder, rows, name="results.csv", columns=COLUMNS):
    folder.mkdir(exist_ok=True, parents=True)
    with open(folder / name, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def markdown(folder, rows, columns=COLUMNS):
    """Writes results.csv and returns the report on it in Markdown."""
    read = sweep.read_sweep(write(folder, rows, columns=columns))
    runs = seed_groups.comparable_runs(read)
    contents = report.contents(read, runs, "command", folder)
    return page.markdown(report.title(read, runs), contents)
