"""Runs a grid of methods, batch sizes and seeds, and tabulates top-1.

    python experiments/sweep.py --output_dir=runs/digits

A cell whose summary.json exists is not run again, so a killed sweep goes on
where it was; a cell that was cut off is moved aside and run anew. Ends with
results.csv (one row per run), results.png and a table of mean +- standard
deviation.
"""

import csv
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from absl import app
from absl import flags

# Runs as a script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from experiments import plots

FLAGS = flags.FLAGS
flags.DEFINE_multi_enum(
    "method",
    ["baseline", "disadv", "conadv"],
    ["baseline", "disadv", "conadv"],
    "Methods to run; repeat the flag for several.",
)
flags.DEFINE_multi_integer(
    "global_batch_size",
    [128, 432],
    "Batch sizes to run; repeat the flag for several.",
    lower_bound=1,
)
flags.DEFINE_integer("seeds", 5, "Seeds 0, 1, ... to run.", lower_bound=1)
flags.DEFINE_string("output_dir", "runs/sweep", "Folder of the runs.")
flags.DEFINE_multi_string(
    "set", [], "key=value for every run, as in run.py; may be repeated."
)

_RUN = pathlib.Path(__file__).with_name("run.py")
_COLUMNS = (
    "method",
    "batch_size",
    "seed",
    "top1",
    "final_loss",
    "images_per_second",
    "step_time_ms",
    "steps",
    "seconds",
)


def main(argv):
    """Runs all cells, then prints and writes the results."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    output = pathlib.Path(FLAGS.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    # Seeds outermost: a sweep that is cut off has whole comparisons.
    cells = list(
        itertools.product(
            range(FLAGS.seeds), FLAGS.global_batch_size, FLAGS.method
        )
    )
    started, fresh, summaries = time.time(), 0, []
    for number, (seed, batch_size, method) in enumerate(cells, start=1):
        folder = output / f"{method}_{batch_size}_seed{seed}"
        if not (folder / "summary.json").exists():
            run_cell(folder, method, batch_size, seed)
            fresh += 1
        summary = json.loads((folder / "summary.json").read_text())
        summaries.append(summary)
        left = (time.time() - started) / max(fresh, 1) * (len(cells) - number)
        print(
            f"[{number}/{len(cells)}] {folder.name}: "
            f"top-1 {summary['top1']:.2%}, about {left / 60:.0f} min left",
            flush=True,
        )
    write_csv(output / "results.csv", summaries)
    plots.sweep(output / "results.csv", output / "results.png")
    print("\n" + table(summaries))


def run_cell(folder, method, batch_size, seed):
    """Runs one cell in a process of its own; its output goes to a log."""
    if folder.exists():  # Cut off before its summary was written.
        number = 1
        while (
            aside := folder.with_name(f"{folder.name}.cut{number}")
        ).exists():
            number += 1
        folder.rename(aside)
    command = [
        sys.executable,
        str(_RUN),
        f"--method={method}",
        f"--global_batch_size={batch_size}",
        f"--seed={seed}",
        f"--model_dir={folder}",
        *(f"--set={assignment}" for assignment in FLAGS.set),
    ]
    log = folder.with_name(f"{folder.name}.log")
    with open(log, "w", encoding="utf-8") as file:
        result = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    if result.returncode:
        sys.exit(f"error: {' '.join(command)} failed; see {log}")


def write_csv(path, summaries):
    """Writes one row per run, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(summaries)
    os.replace(temporary, path)


def table(summaries):
    """Markdown table: top-1 in percent, mean +- standard deviation (n)."""
    sizes = sorted({summary["batch_size"] for summary in summaries})
    methods = list(dict.fromkeys(s["method"] for s in summaries))
    lines = [
        "| method | " + " | ".join(f"batch {size}" for size in sizes) + " |",
        "|---" * (len(sizes) + 1) + "|",
    ]
    for method in methods:
        cells = []
        for size in sizes:
            values = [
                100 * summary["top1"]
                for summary in summaries
                if (summary["method"], summary["batch_size"]) == (method, size)
            ]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(
                f"{statistics.mean(values):.2f} +- {spread:.2f} "
                f"(n={len(values)})"
            )
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main)
