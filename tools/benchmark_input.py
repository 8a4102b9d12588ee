"""Measures the input pipeline: images per second, per core, and memory.

    python tools/benchmark_input.py --output_dir=runs/input
    python tools/benchmark_input.py --images=10000 --repeats=5

Needs no network: the photographs are scikit-learn's two samples, cut and
scaled to sizes as in ImageNet. The variants run one after the other, again and
again, in one process; the tables show medians. The reference, "plain loop", is
what a tutorial would write: read, decode all, crop at random, resize.

Writes rates.csv, memory.csv and input.png to --output_dir.
"""

import argparse
import os
import pathlib
import platform
import statistics
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import tensorflow as tf

from conadv_tf import csv_file
from experiments import figures
from tools import input_variants

_MEMORY_SAMPLES = 10


def main():
    """Parses flags, measures, writes and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output_dir", default="runs/input")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--files", type=int, default=64, help="JPEGs made")
    parser.add_argument("--batches", type=int, default=16, help="timed each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--images", type=int, default=2000, help="for the memory"
    )
    flags = parser.parse_args()
    output = pathlib.Path(flags.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        input_variants.write_photos(pathlib.Path(folder), flags.files)
        variants = input_variants.make_variants(folder, flags)
        rates = measure_rates(variants, flags)
        memory = measure_memory(variants, flags)
    csv_file.write(output / "rates.csv", rates)
    csv_file.write(output / "memory.csv", memory)
    draw(rates, memory, output / "input.png")
    print_tables(rates, memory)


def measure_rates(variants, flags):
    """Rows of the table: medians over repeats, the variants by turns."""
    wall = {name: [] for name in variants}
    core = {name: [] for name in variants}
    for repeat in range(flags.repeats):
        for name, make in variants.items():
            print(f"repeat {repeat + 1}/{flags.repeats}: {name}", flush=True)
            per_second, per_core_second = measure_once(make(), flags)
            wall[name].append(per_second)
            core[name].append(per_core_second)
    return [
        {
            "variant": name,
            "images_per_second": round(statistics.median(wall[name]), 1),
            "lowest": round(min(wall[name]), 1),
            "highest": round(max(wall[name]), 1),
            "images_per_core_second": round(statistics.median(core[name]), 1),
            "ratio_to_plain": ratio(wall, name),
            "core_ratio_to_plain": ratio(core, name),
            "repeats": flags.repeats,
            "images": flags.batches * flags.batch_size,
            "image_size": flags.image_size,
            "cores": os.cpu_count(),
            "tensorflow": tf.__version__,
            "python": platform.python_version(),
        }
        for name in variants
    ]


def measure_once(dataset, flags):
    """(images per second, images per second of processor time)."""
    iterator = iter(dataset)
    for _ in range(max(4, flags.batches // 4)):  # Starts, tunes and fills.
        next(iterator)
    wall, core = time.perf_counter(), time.process_time()
    for _ in range(flags.batches):
        next(iterator)
    images = flags.batches * flags.batch_size
    return (
        images / (time.perf_counter() - wall),
        images / (time.process_time() - core),
    )


def ratio(rates, name):
    """Median over the repeats of the rate in terms of the reference's."""
    if not name.startswith("photos"):
        return ""
    pairs = zip(rates[name], rates[input_variants.REFERENCE])
    return round(statistics.median(a / b for a, b in pairs), 3)


def measure_memory(variants, flags):
    """Rows of resident memory while the largest pipeline runs."""
    name = input_variants.AUGMENTED
    if name not in variants:
        name = input_variants.TWO_VIEWS
    batches = flags.images // flags.batch_size
    every = max(1, batches // _MEMORY_SAMPLES)
    rows = []
    for number, _ in enumerate(variants[name]().take(batches), 1):
        if number % every == 0:
            rows.append(
                {
                    "variant": name,
                    "images": number * flags.batch_size,
                    "resident_mib": round(resident_mib(), 1),
                }
            )
    return rows


def resident_mib():
    """Memory of this process that is resident, in MiB (Linux)."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def draw(rates, memory, path):
    """Draws the rates as bars and the memory as a line."""
    photos = [row for row in rates if row["variant"].startswith("photos")]
    figure, ((left, right),) = figures.panels(1, 2, width=5.5, height=3.6)
    names = [row["variant"].split(": ")[1] for row in photos]
    left.barh(names, [row["images_per_second"] for row in photos])
    left.invert_yaxis()
    left.set_xlabel(f"images per second, {os.cpu_count()} cores")
    right.plot(
        [row["images"] for row in memory],
        [row["resident_mib"] for row in memory],
        marker="o",
    )
    right.set_ylim(0, 1.2 * max(row["resident_mib"] for row in memory))
    right.set_xlabel("images")
    right.set_ylabel("resident memory, MiB")
    right.set_title(memory[0]["variant"], fontsize=9)
    figure.savefig(path)


def print_tables(rates, memory):
    """What the files hold, for the terminal."""
    print(
        f"\n{'':36}{'images/s':>9}{'/ plain':>9}{'per core':>10}{'/ plain':>9}"
    )
    for row in rates:
        print(
            f"{row['variant']:36}{row['images_per_second']:9.0f}"
            f"{row['ratio_to_plain']:>9}{row['images_per_core_second']:10.0f}"
            f"{row['core_ratio_to_plain']:>9}"
        )
    print(f"\nMemory, {memory[0]['variant']}:")
    for row in memory:
        print(f"{row['images']:8} images {row['resident_mib']:8.0f} MiB")


if __name__ == "__main__":
    main()
