"""Tables of what the TPU compiler says of the steps of several methods."""

from conadv_tf import csv_file
from experiments import markdown_table
from tools.tpu import cycles as cycles_lib
from tools.tpu.phases import PAIRED
from tools.tpu.phases import PHASES

# Of one core, from Google's documentation; others are not known.
CLOCK_MHZ = {"TPU v2": 700, "TPU v3": 940}


def summary(method, batch_size, facts, found):
    """One row of the table of methods.

    Args:
      method: its name.
      batch_size: images of one step on one core.
      facts: dict that `compiler` wrote.
      found: list of `cycles.Cost`.

    Returns:
      Dict from columns to values; `with_relative` fills in "relative". Cycles
      and milliseconds are None where the compiler or the clock is not known;
      megabytes are 10**6 bytes of arguments, results that do not alias them
      and temporary memory at its peak.
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
        "relative": None,
        "estimated_ms": cycles / clock / 1e3 if cycles and clock else None,
        "gflops": _ratio(facts["flops"], 1e9),
        "gigabytes_accessed": _ratio(facts["bytes_accessed"], 1e9),
        "peak_megabytes": memory / 1e6,
        "compile_seconds": facts["compile_seconds"],
    }


def read(path):
    """Rows of `summary` from a CSV file of an earlier report."""
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
    """Rows with cycles over those of the baseline of the same batch.

    None where there is no baseline or no estimate.
    """
    plain = [row for row in rows if row["method"] == "baseline"]
    plain = {row["batch_size"]: row["cycles"] for row in plain}
    return [
        {**row, "relative": _ratio(row["cycles"], plain.get(row["batch_size"]))}
        for row in rows
    ]


def _ratio(value, unit):
    return value / unit if value is not None and unit else None


def methods_table(rows):
    """The table of methods, from rows of `with_relative`."""
    return _markdown(list(rows[0]), [row.values() for row in rows])


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


def longest_phases(rows):
    """What phased placement comes to, a line for each size of working batch.

    All replicas wait for the longest phase. A step trains on a third of the
    images that all of them work on (in pairs half): with as many images on
    each as in another method, three times (twice) the replicas make a step of
    the same global batch. "" where there are no phases or no estimates.
    """
    by_size = {}
    for row in rows:
        by_size.setdefault(row["batch_size"], {})[row["method"]] = row["cycles"]
    return "".join(
        _longest(size, cycles, *schedule)
        for size, cycles in by_size.items()
        for schedule in (
            (PHASES, "longest phase", "three times"),
            (PAIRED, "longest phase in pairs", "twice"),
        )
    )


def _longest(size, cycles, names, title, times):
    phases = [cycles.get(phase) for phase in names]
    text = ""
    if None not in phases:
        longest = max(phases)
        text += f"\n{size} images, {title}: {longest:,} cycles"
        if cycles.get("baseline"):
            text += f", {longest / cycles['baseline']:.2f} of the baseline"
        if cycles.get("disadv"):
            text += (
                f"; with {times} the replicas and the same global batch "
                f"{cycles['disadv'] / longest:.2f} times the throughput of "
                "DisAdv"
            )
        text += ".\n"
    return text


def details(method, batch_size, found, count):
    """What the cycles of a step go into, and its `count` dearest instructions.

    See `summary` for the arguments.
    """
    title = f"## {method}, {batch_size} images\n"
    if not found:
        return title + "\nThe compiler estimates no cycles for this TPU.\n"
    whole = cycles_lib.total(found)
    parts = [title]
    for attribute in ("part", "kind"):
        sums = cycles_lib.by(found, attribute)
        rows = [(value, n, 100 * n / whole) for value, n in sums.items()]
        parts.append(_markdown((attribute, "cycles", "percent"), rows))
    dearest = [
        (
            cost.cycles,
            cost.kind,
            cost.part,
            cost.instruction.name,
            _short(cost.instruction.shape),
            cost.instruction.op_name or None,
        )
        for cost in found[:count]
    ]
    header = "cycles", "kind", "part", "instruction", "shape", "operation"
    return "\n".join([*parts, _markdown(header, dearest)])


def _short(shape):
    return shape if len(shape) <= 60 else shape[:57] + "..."


def kernels(method, batch_size, absent):
    """A paragraph about `absent` operations: list of [name, types]."""
    title = f"{method}, {batch_size} images: "
    if not absent:
        return title + "all operations have a TPU kernel.\n"
    names = ", ".join(f"{name} {types}" for name, types in absent)
    return title + f"no TPU kernel for {names}.\n"
