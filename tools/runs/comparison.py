"""Compares the measurements of several runs, method by method."""

import statistics

from experiments.results import MeanStd


def compare(tables, epsilon):
    """Means over the runs of each method, at one radius.

    Returns:
      Dict from (method, batch_size) to (number of runs, dict from each
      quantity to its `MeanStd`).
    """
    runs, methods = {}, {}
    for row in tables["robustness"]:
        key = row["method"], row["batch_size"]
        quantities = runs.setdefault(row["run"], {})
        methods.setdefault(key, {})[row["run"]] = quantities
        if row["epsilon"] in (0.0, epsilon):
            name = row["attack"]
            label = "clean" if name == "none" else f"{name}@{epsilon:g}"
            quantities[label] = row["accuracy"]
    for row in tables["eigenvalues"]:
        if row["index"] == 1:
            kind = "filter-normalized " if row["filter_normalized"] else ""
            runs[row["run"]][f"{kind}lambda_1"] = row["eigenvalue"]
    for name, quantities in runs.items():
        rows = [r for r in tables["landscape"] if r["run"] == name]
        edge = max(row["offset"] for row in rows)
        around = [r["loss"] for r in rows if abs(r["offset"]) == edge]
        centre = next(r["loss"] for r in rows if abs(r["offset"]) < 1e-9)
        quantities[f"loss rise at {edge:g}"] = statistics.mean(around) - centre
    return {
        key: (
            len(members),
            {
                name: MeanStd.of(values[name] for values in members.values())
                for name in next(iter(members.values()))
            },
        )
        for key, members in methods.items()
    }


def as_rows(compared):
    """What `compare` returned as dicts for a JSON file."""
    return [
        {
            "method": method,
            "batch_size": batch_size,
            "n": count,
            **{name: vars(spread) for name, spread in quantities.items()},
        }
        for (method, batch_size), (count, quantities) in compared.items()
    ]


def print_table(compared):
    """Prints one line per quantity and one column per method."""
    _, names = next(iter(compared.values()))
    columns = [["", *names]] + [
        [
            f"{method} {batch_size} (n={count})",
            *(spread.text(".4g", ".2g") for spread in quantities.values()),
        ]
        for (method, batch_size), (count, quantities) in compared.items()
    ]
    widths = [max(map(len, column)) for column in columns]
    print()
    for line in zip(*columns):
        print("  ".join(cell.ljust(w) for cell, w in zip(line, widths)))
