"""Formats the TPU compiler's statistics of several steps as tables."""

from conadv_tf import csv_file
from experiments import markdown_table
from tools.tpu import cycles as cycles_lib
from tools.tpu.methods import ROLES

# Clock of one core from Google's documentation, which omits newer TPUs.
CLOCK_MHZ = {"TPU v2": 700, "TPU v3": 940}


def summary(method, batch_size, facts, estimates):
    """Returns one row of the table of methods.

    Args:
      method: name of the step.
      batch_size: number of images of one step on one core.
      facts: dict that `compiler.py` wrote.
      estimates: list of `cycles.Estimate`.

    Returns:
      Dict from columns to values. "relative" is None until `with_relative`
      fills it in. Cycles and milliseconds are None if the compiler made no
      estimate or the clock is unknown. Megabytes are 10**6 bytes of arguments,
      results that do not alias them, and temporary memory at its peak.
    """
    cycles = cycles_lib.total(estimates) or None
    clock = CLOCK_MHZ.get(facts["device"])
    memory = (
        facts["argument_bytes"]
        + facts["output_bytes"]
        - facts["alias_bytes"]
        + facts["temporary_bytes"]
    )
    return {
        "method": method,
        "batch_size": batch_size,
        "device": facts["device"],
        "cycles": cycles,
        "relative": None,
        "estimated_ms": cycles / clock / 1e3 if cycles and clock else None,
        "gflops": _ratio(facts["flops"], 1e9),
        "gigabytes_accessed": _ratio(facts["bytes_accessed"], 1e9),
        "peak_megabytes": memory / 1e6,
        "compile_seconds": facts["compile_seconds"],
    }


def read(path):
    """Reads rows of `summary` from the report.csv of an earlier report."""
    return [
        {column: _value(text) for column, text in row.items()}
        for row in csv_file.read(path)
    ]


def _value(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text or None


def with_relative(rows):
    """Fills in the cycles relative to the baseline of the same batch size.

    They are None where there is no baseline or no estimate.
    """
    baseline = {
        row["batch_size"]: row["cycles"]
        for row in rows
        if row["method"] == "baseline"
    }
    return [
        {
            **row,
            "relative": _ratio(row["cycles"], baseline.get(row["batch_size"])),
        }
        for row in rows
    ]


def _ratio(value, unit):
    return value / unit if value is not None and unit else None


def methods_table(rows):
    """Formats rows of `with_relative` as the table of methods."""
    return _markdown(list(rows[0]), [row.values() for row in rows])


def _markdown(header, rows):
    texts = ([_text(value) for value in row] for row in rows)
    return markdown_table.table(header, texts) + "\n"


def _text(value):
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def longest_roles(rows):
    """Returns the cost of rotating roles, one line for each batch size.

    All replicas wait for the longest role. A step trains on a third of the
    images that all replicas hold. With as many images on each replica as in
    another method, three times the replicas make a step of the same global
    batch. The text is "" if there are no roles or no estimates.
    """
    by_size = {}
    for row in rows:
        by_size.setdefault(row["batch_size"], {})[row["method"]] = row["cycles"]
    return "".join(_longest(*each) for each in by_size.items())


def _longest(size, cycles):
    roles = [cycles.get(role) for role in ROLES]
    if None in roles:
        return ""
    longest = max(roles)
    text = f"\n{size} images, longest role: {longest:,} cycles"
    if cycles.get("baseline"):
        text += f", {longest / cycles['baseline']:.2f} of the baseline"
    if cycles.get("disadv"):
        text += (
            "; with three times the replicas and the same global batch size "
            f"{cycles['disadv'] / longest:.2f} times the throughput of DisAdv"
        )
    return f"{text}.\n"


def details(method, batch_size, estimates, count):
    """Formats the cycles by part and kind, and the top instructions.

    Args:
      method: name of the step.
      batch_size: number of images of one step on one core.
      estimates: list of `cycles.Estimate`, the most expensive first.
      count: number of instructions to show.
    """
    title = f"## {method}, {batch_size} images\n"
    if not estimates:
        return title + "\nThe compiler estimates no cycles for this TPU.\n"
    whole = cycles_lib.total(estimates)
    tables = [title]
    for attribute in ("part", "kind"):
        sums = cycles_lib.cycles_by(estimates, attribute).items()
        rows = [(value, n, 100 * n / whole) for value, n in sums]
        tables.append(_markdown((attribute, "cycles", "percent"), rows))
    rows = [
        (
            each.cycles,
            each.kind,
            each.part,
            each.instruction.name,
            _short(each.instruction.shape),
            each.instruction.op_name or None,
        )
        for each in estimates[:count]
    ]
    header = "cycles", "kind", "part", "instruction", "shape", "operation"
    return "\n".join([*tables, _markdown(header, rows)])


def _short(shape):
    return shape if len(shape) <= 60 else shape[:57] + "..."


def kernels(method, batch_size, absent):
    """Formats the operations without a TPU kernel: list of [name, types]."""
    title = f"{method}, {batch_size} images: "
    if not absent:
        return title + "all operations have a TPU kernel.\n"
    names = ", ".join(f"{name} {types}" for name, types in absent)
    return title + f"no TPU kernel for {names}.\n"
