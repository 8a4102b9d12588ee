"""Tables of what the TPU compiler says of the steps of several methods."""

from experiments import markdown_table
from tools.tpu import cycles as cycles_lib
from tools.tpu.phases import PHASES

# Of one core, from Google's documentation; others are not known.
CLOCK_MHZ = {"TPU v2": 700, "TPU v3": 940}
COLUMNS = (
    "method",
    "batch_size",
    "device",
    "cycles",
    "relative",
    "estimated_ms",
    "gflops",
    "gigabytes_accessed",
    "peak_megabytes",
    "compile_seconds",
)


def summary(method, batch_size, facts, found):
    """One row of the table of methods.

    Args:
      method: name of the method.
      batch_size: images of one step on one core.
      facts: dict that `compiler` wrote.
      found: list of `cycles.Cost`.

    Returns:
      Dict with keys COLUMNS, without "relative". Cycles and milliseconds are
      None where the compiler or the clock is not known; megabytes are
      10**6 bytes of arguments, results that do not alias them and temporary
      memory at its peak.
    """
    cycles = cycles_lib.total(found) or None
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
        "estimated_ms": cycles / clock / 1e3 if cycles and clock else None,
        "gflops": _giga(facts["flops"]),
        "gigabytes_accessed": _giga(facts["bytes_accessed"]),
        "peak_megabytes": memory / 1e6,
        "compile_seconds": facts["compile_seconds"],
    }


def _giga(value):
    return None if value is None else value / 1e9


def with_relative(rows):
    """Adds "relative", cycles over those of the baseline of the same batch.

    None where there is no baseline or no estimate.
    """
    plain = {
        row["batch_size"]: row["cycles"]
        for row in rows
        if row["method"] == "baseline"
    }

    def relative(row):
        base = plain.get(row["batch_size"])
        return row["cycles"] / base if base and row["cycles"] else None

    return [{**row, "relative": relative(row)} for row in rows]


def _markdown(header, rows):
    """A table; numbers to three or four places, None as a dash."""
    texts = ([_text(value) for value in row] for row in rows)
    return markdown_table.table(header, texts) + "\n"


def _text(value):
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def methods_table(rows):
    """The table of methods, from rows of `with_relative`."""
    return _markdown(COLUMNS, [[row[key] for key in COLUMNS] for row in rows])


def longest_phases(rows):
    """What phased placement comes to, a line for each size of working batch.

    All replicas wait for the longest phase. A step trains on a third of the
    images that all of them work on: with as many images on each as in another
    method, three times the replicas make a step of the same global batch.

    Args:
      rows: list from `with_relative`.

    Returns:
      Text, "" where there are no phases or no estimates.
    """
    by_size = {}
    for row in rows:
        by_size.setdefault(row["batch_size"], {})[row["method"]] = row["cycles"]
    lines = []
    for size, cycles in by_size.items():
        phases = [cycles.get(phase) for phase in PHASES]
        if None in phases:
            continue
        longest = max(phases)
        line = f"{size} images, longest phase: {longest:,} cycles"
        if cycles.get("baseline"):
            line += f", {longest / cycles['baseline']:.2f} of the baseline"
        if cycles.get("disadv"):
            line += (
                "; with three times the replicas and the same global batch "
                f"{cycles['disadv'] / longest:.2f} times the throughput of "
                "DisAdv"
            )
        lines.append(line + ".\n")
    return "\n".join(["", *lines]) if lines else ""


def details(method, batch_size, found, count):
    """What the cycles of a step go into, as Markdown.

    Args:
      method: name of the method.
      batch_size: images of one step on one core.
      found: list of `cycles.Cost`.
      count: how many of the dearest instructions to list.
    """
    title = f"## {method}, {batch_size} images\n"
    if not found:
        return title + "\nThe compiler estimates no cycles for this TPU.\n"
    whole = cycles_lib.total(found)
    breakdowns = (
        _markdown(
            (attribute, "cycles", "percent"),
            [
                (value, cycles, 100 * cycles / whole)
                for value, cycles in cycles_lib.by(found, attribute).items()
            ],
        )
        for attribute in ("part", "kind")
    )
    dearest = _markdown(
        ("cycles", "kind", "part", "instruction", "shape", "operation"),
        [
            (
                cost.cycles,
                cost.kind,
                cost.part,
                cost.instruction.name,
                _short(cost.instruction.shape),
                cost.instruction.op_name or None,
            )
            for cost in found[:count]
        ],
    )
    return "\n".join([title, *breakdowns, dearest])


def _short(shape):
    return shape if len(shape) <= 60 else shape[:57] + "..."


def kernels(method, batch_size, absent):
    """A paragraph about operations without a TPU kernel.

    Args:
      method: name of the method.
      batch_size: images of one step on one core.
      absent: list of [name, {attribute: [types]}].
    """
    title = f"{method}, {batch_size} images: "
    if not absent:
        return title + "all operations have a TPU kernel.\n"
    names = ", ".join(f"{name} {types}" for name, types in absent)
    return title + f"no TPU kernel for {names}.\n"
