"""Tables of what the TPU compiler says of the steps of several methods."""

from tools import tpu_cycles

# Of one core, from Google's documentation; others are not known.
CLOCK_MHZ = {"TPU v2": 700, "TPU v3": 940}
# The steps of a replica in phased placement.
PHASES = ("phased_attack", "phased_adversarial", "phased_clean")
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
      facts: dict that `tpu_compiler` wrote.
      found: list of `tpu_cycles.Cost`.

    Returns:
      Dict with keys COLUMNS, without "relative". Cycles and milliseconds are
      None where the compiler or the clock is not known; megabytes are
      10**6 bytes of arguments, results that do not alias them and temporary
      memory at its peak.
    """
    cycles = tpu_cycles.total(found) or None
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
        "gflops": _scaled(facts["flops"], 1e9),
        "gigabytes_accessed": _scaled(facts["bytes_accessed"], 1e9),
        "peak_megabytes": memory / 1e6,
        "compile_seconds": facts["compile_seconds"],
    }


def _scaled(value, unit):
    return None if value is None else value / unit


def with_relative(rows):
    """Adds "relative", cycles over those of the baseline of the same batch.

    None where there is no baseline or no estimate.
    """
    plain = {
        row["batch_size"]: row["cycles"]
        for row in rows
        if row["method"] == "baseline"
    }
    result = []
    for row in rows:
        base = plain.get(row["batch_size"])
        known = base and row["cycles"]
        result.append(
            {**row, "relative": row["cycles"] / base if known else None}
        )
    return result


def markdown(header, rows):
    """A Markdown table; numbers to three or four places, None as a dash."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(
        "| " + " | ".join(_cell(value) for value in line) + " |\n"
        for line in lines
    )


def _cell(value):
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("|", "\\|")


def methods_table(rows):
    """The table of methods, from rows of `with_relative`."""
    return markdown(COLUMNS, [[row[key] for key in COLUMNS] for row in rows])


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


def breakdown_table(found, attribute):
    """Cycles by "kind" or "part", with their share in percent."""
    whole = tpu_cycles.total(found)
    return markdown(
        (attribute, "cycles", "percent"),
        [
            (value, cycles, 100 * cycles / whole)
            for value, cycles in tpu_cycles.by(found, attribute).items()
        ],
    )


def dearest_table(found, count):
    """The `count` instructions that cost most."""
    return markdown(
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


def _short(shape):
    return shape if len(shape) <= 60 else shape[:57] + "..."
