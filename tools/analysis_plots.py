"""Pictures of what tools/analyze.py measured, from its CSV files."""

import os

import numpy as np

from conadv_tf import csv_file
from experiments import figures


def eigenvalues(csv_path, path):
    """Draws the largest eigenvalues of each run, in both units.

    Args:
      csv_path: eigenvalues.csv.
      path: PNG file to write.
    """
    rows = csv_file.read(csv_path)
    figure, (axes,) = figures.panels(1, 2, width=4.4, height=3.6)
    titles = {"False": "Hessian", "True": "filter-normalized Hessian"}
    for axis, (kind, title) in zip(axes, titles.items()):
        for number, (label, runs) in enumerate(_methods(rows).items()):
            for run, members in enumerate(runs.values()):
                chosen = [r for r in members if r["filter_normalized"] == kind]
                axis.plot(
                    [int(row["index"]) for row in chosen],
                    [float(row["eigenvalue"]) for row in chosen],
                    marker="o",
                    color=f"C{number}",
                    alpha=0.8,
                    label=label if run == 0 else None,
                )
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("index")
        axis.set_xticks(sorted({int(row["index"]) for row in rows}))
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("eigenvalue")
    axes[0].legend(fontsize=8)
    figure.savefig(path)


def landscape(csv_path, path):
    """Draws the loss along random directions: each, and a run's mean.

    Args:
      csv_path: landscape.csv.
      path: PNG file to write.
    """
    rows = csv_file.read(csv_path)
    figure, (axes,) = figures.panels(1, 2, width=4.4, height=3.6)
    for number, (label, runs) in enumerate(_methods(rows).items()):
        color = f"C{number}"
        for run, members in enumerate(runs.values()):
            offsets = sorted({float(row["offset"]) for row in members})
            lines = np.reshape(
                [float(row["loss"]) for row in members], [-1, len(offsets)]
            )
            centre = lines[:, [len(offsets) // 2]]
            for axis, values in zip(axes, (lines, lines - centre)):
                axis.plot(offsets, values.T, color=color, alpha=0.45, lw=0.8)
                axis.plot(
                    offsets,
                    values.mean(axis=0),
                    color=color,
                    label=label if run == 0 else None,
                )
    axes[0].set_yscale("log")
    axes[0].set_ylabel("training loss")
    axes[1].set_ylabel("rise of the training loss")
    for axis in axes:
        axis.set_xlabel("distance along a filter-normalized direction")
        axis.locator_params(axis="x", nbins=6)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(path)


def plane(csv_path, path):
    """Draws contours of the loss in a plane, a panel for each run.

    Args:
      csv_path: plane.csv.
      path: PNG file to write.
    """
    rows = csv_file.read(csv_path)
    logarithms = np.log10([float(row["loss"]) for row in rows])
    # The same colours for all runs, borders at multiples of a tenth.
    low, high = np.floor(10 * logarithms.min()), np.ceil(10 * logarithms.max())
    step = max(1, np.ceil((high - low) / 15))
    levels = np.arange(low, high + step, step) / 10
    runs = [
        (label, run, members)
        for label, runs in _methods(rows).items()
        for run, members in runs.items()
    ]
    figure, (axes,) = figures.panels(1, len(runs), width=3.8, height=3.6)
    for axis, (label, run, members) in zip(axes, runs):
        offsets = sorted({float(row["offset_1"]) for row in members})
        losses = np.reshape(
            [float(row["loss"]) for row in members], [len(offsets)] * 2
        )
        # Contours want the second coordinate first.
        drawn = axis.contourf(offsets, offsets, np.log10(losses).T, levels)
        axis.plot(0, 0, "w+")
        axis.set_title(f"{label}\n{os.path.basename(run)}", fontsize=8)
        axis.set_xlabel("direction 1")
    axes[0].set_ylabel("direction 2")
    figure.colorbar(drawn, ax=axes, label="log10 of the training loss")
    figure.savefig(path)


def robustness(csv_path, path):
    """Draws accuracy against epsilon for each attack.

    Args:
      csv_path: robustness.csv.
      path: PNG file to write.
    """
    rows = csv_file.read(csv_path)
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    attacks.remove("none")
    figure, (axes,) = figures.panels(1, len(attacks), width=4.4, height=3.6)
    for axis, attack in zip(axes, attacks):
        for number, (label, runs) in enumerate(_methods(rows).items()):
            for run, members in enumerate(runs.values()):
                # Clean accuracy is that at epsilon 0.
                points = sorted(
                    (float(row["epsilon"]), 100 * float(row["accuracy"]))
                    for row in members
                    if row["attack"] in ("none", attack)
                )
                axis.plot(
                    *zip(*points),
                    marker="o",
                    color=f"C{number}",
                    alpha=0.8,
                    label=label if run == 0 else None,
                )
        axis.set_title(attack, fontsize=10)
        axis.set_xlabel("epsilon")
        axis.set_ylim(-2, 102)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy on the test set, %")
    axes[0].legend(fontsize=8)
    figure.savefig(path)


def _methods(rows):
    """Rows by legend label and by run."""
    methods = {}
    for row in rows:
        key = row["method"], row["batch_size"]
        methods.setdefault(key, {}).setdefault(row["run"], []).append(row)
    return {
        f"{method}, batch {batch_size} (n={len(runs)})": runs
        for (method, batch_size), runs in methods.items()
    }
