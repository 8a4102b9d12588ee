"""Plots of the measurements of tools/analyze.py.

Each function plots a table: it takes the path of the CSV file and the path of
the PNG file to write. Each method has a color, and each run a line.
"""

import numpy as np

from conadv_tf import csv_file
from experiments import plots


def eigenvalues(csv_path, path):
    """Plots the largest eigenvalues of each run, in both units."""
    rows = csv_file.read(csv_path)
    figure, axes = _subplots(2)
    titles = {"False": "Hessian", "True": "filter-normalized Hessian"}
    for axis, (unit, title) in zip(axes, titles.items()):
        for style, members in _runs(rows):
            chosen = [r for r in members if r["filter_normalized"] == unit]
            axis.plot(
                [int(row["index"]) for row in chosen],
                [float(row["eigenvalue"]) for row in chosen],
                marker="o",
                alpha=0.8,
                **style,
            )
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("index")
        axis.set_xticks(sorted({int(row["index"]) for row in rows}))
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    axes[0].set_ylabel("eigenvalue")
    _save(figure, axes, path)


def landscape(csv_path, path):
    """Plots the loss along random directions, and the mean of each run."""
    rows = csv_file.read(csv_path)
    figure, axes = _subplots(2)
    for style, members in _runs(rows):
        offsets = sorted({float(row["offset"]) for row in members})
        losses = [float(row["loss"]) for row in members]
        lines = np.reshape(losses, [-1, len(offsets)])
        center = lines[:, [len(offsets) // 2]]
        for axis, values in zip(axes, (lines, lines - center)):
            color = style["color"]
            axis.plot(offsets, values.T, color=color, alpha=0.45, lw=0.8)
            axis.plot(offsets, values.mean(axis=0), **style)
    axes[0].set_yscale("log")
    axes[0].set_ylabel("training loss")
    axes[1].set_ylabel("rise of the training loss")
    for axis in axes:
        axis.set_xlabel("distance along a filter-normalized direction")
        axis.locator_params(axis="x", nbins=6)
    _save(figure, axes, path)


def robustness(csv_path, path):
    """Plots accuracy against epsilon for each attack."""
    rows = csv_file.read(csv_path)
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    attacks.remove("none")
    figure, axes = _subplots(len(attacks))
    for axis, attack in zip(axes, attacks):
        for style, members in _runs(rows):
            # Clean accuracy has epsilon 0.
            points = sorted(
                (float(row["epsilon"]), 100 * float(row["accuracy"]))
                for row in members
                if row["attack"] in ("none", attack)
            )
            axis.plot(*zip(*points), marker="o", alpha=0.8, **style)
        axis.set_title(attack, fontsize=10)
        axis.set_xlabel("epsilon")
        axis.set_ylim(-2, 102)
    axes[0].set_ylabel("accuracy on the test set, %")
    _save(figure, axes, path)


def _subplots(count):
    figure, (axes,) = plots.subplots(1, count, width=4.4, height=3.6)
    return figure, axes


def _runs(rows):
    """Yields (line style, rows) of each run.

    All lines of a method have its color, and the first one has its label.
    """
    methods = {}
    for row in rows:
        key = row["method"], row["batch_size"]
        methods.setdefault(key, {}).setdefault(row["run"], []).append(row)
    for number, ((method, batch_size), runs) in enumerate(methods.items()):
        label = f"{method}, batch {batch_size} (n={len(runs)})"
        for members in runs.values():
            yield {"color": f"C{number}", "label": label}, members
            label = None


def _save(figure, axes, path):
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    plots.save(figure, path)
