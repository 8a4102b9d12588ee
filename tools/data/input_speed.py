"""Measures input pipelines; see tools/benchmark_input.py.

`variants` are those of `input_variants.make_variants`, `flags` those of the
command.
"""

import os
import platform
import statistics
import time

import tensorflow as tf

from experiments import figures
from tools.data import input_variants

_MEMORY_SAMPLES = 10


def rates(variants, flags):
    """Rows of the table: medians over repeats, the variants by turns."""
    wall, core = {}, {}
    for repeat in range(flags.repeats):
        for name, make in variants.items():
            print(f"repeat {repeat + 1}/{flags.repeats}: {name}", flush=True)
            per_second, per_core_second = _measure(make(), flags)
            wall.setdefault(name, []).append(per_second)
            core.setdefault(name, []).append(per_core_second)
    return [
        {
            "variant": name,
            "images_per_second": round(statistics.median(wall[name]), 1),
            "lowest": round(min(wall[name]), 1),
            "highest": round(max(wall[name]), 1),
            "images_per_core_second": round(statistics.median(core[name]), 1),
            "ratio_to_plain": _ratio(wall, name),
            "core_ratio_to_plain": _ratio(core, name),
            "repeats": flags.repeats,
            "images": flags.batches * flags.batch_size,
            "image_size": flags.image_size,
            "cores": os.cpu_count(),
            "tensorflow": tf.__version__,
            "python": platform.python_version(),
        }
        for name in variants
    ]


def _measure(dataset, flags):
    """Images per second, and per second of processor time."""
    iterator = iter(dataset)
    for _ in range(max(4, flags.batches // 4)):  # Starts, tunes and fills.
        next(iterator)
    wall, core = time.perf_counter(), time.process_time()
    for _ in range(flags.batches):
        next(iterator)
    wall, core = time.perf_counter() - wall, time.process_time() - core
    images = flags.batches * flags.batch_size
    return images / wall, images / core


def _ratio(rates, name):
    """Median over the repeats of the rate in terms of the reference's."""
    pairs = zip(rates[name], rates[input_variants.REFERENCE])
    return round(statistics.median(a / b for a, b in pairs), 3)


def memory(variants, flags):
    """Rows of resident memory while the largest pipeline runs."""
    name = input_variants.AUGMENTED
    batches = flags.images // flags.batch_size
    every = max(1, batches // _MEMORY_SAMPLES)
    return [
        {
            "variant": name,
            "images": number * flags.batch_size,
            "resident_mib": round(_resident_mib(), 1),
        }
        for number, _ in enumerate(variants[name]().take(batches), 1)
        if number % every == 0
    ]


def _resident_mib():
    """Memory of this process that is resident, in MiB (Linux)."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def draw(rates, memory, path):
    """Draws the rates as bars and the memory as a line."""
    figure, ((left, right),) = figures.subplots(1, 2, width=5.5, height=3.6)
    names = [row["variant"].split(": ")[1] for row in rates]
    left.barh(names, [row["images_per_second"] for row in rates])
    left.invert_yaxis()
    left.set_xlabel(f"images per second, {os.cpu_count()} cores")
    resident = [row["resident_mib"] for row in memory]
    right.plot([row["images"] for row in memory], resident, marker="o")
    right.set_ylim(0, 1.2 * max(resident))
    right.set_xlabel("images")
    right.set_ylabel("resident memory, MiB")
    right.set_title(memory[0]["variant"], fontsize=9)
    figure.savefig(path)
