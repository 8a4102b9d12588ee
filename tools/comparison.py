"""Compares the measurements of several runs, method by method."""

import statistics


def compare(tables, epsilon):
    """Mean and standard deviation over the runs of each method.

    Args:
      tables: dict of lists of rows.
      epsilon: the radius to compare at.

    Returns:
      List of dicts: method, batch_size, n, and for each quantity {"mean",
      "std"} (std None for one run).
    """
    runs = {}
    for row in tables["robustness"]:
        if row["epsilon"] in (0.0, epsilon):
            name = row["attack"]
            label = "clean" if name == "none" else f"{name}@{epsilon:g}"
            runs.setdefault(row["run"], {})[label] = row["accuracy"]
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
    methods = {}
    for row in tables["robustness"]:
        key = row["method"], row["batch_size"]
        methods.setdefault(key, {})[row["run"]] = runs[row["run"]]
    return [
        {
            "method": method,
            "batch_size": batch_size,
            "n": len(members),
            **{
                name: spread([values[name] for values in members.values()])
                for name in next(iter(members.values()))
            },
        }
        for (method, batch_size), members in methods.items()
    ]


def spread(values):
    """Mean and sample standard deviation; None for a single value."""
    return {
        "mean": statistics.mean(values),
        "std": statistics.stdev(values) if len(values) > 1 else None,
    }


def print_table(groups):
    """Prints one line per quantity and one column per method."""
    names = [name for name in groups[0] if isinstance(groups[0][name], dict)]
    columns = [["", *names]]
    for group in groups:
        head = f"{group['method']} {group['batch_size']} (n={group['n']})"
        cells = []
        for name in names:
            value = group[name]
            text = f"{value['mean']:.4g}"
            if value["std"] is not None:
                text += f" +- {value['std']:.2g}"
            cells.append(text)
        columns.append([head, *cells])
    widths = [max(map(len, column)) for column in columns]
    print()
    for line in zip(*columns):
        print("  ".join(cell.ljust(w) for cell, w in zip(line, widths)))
