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
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from conadv_tf import csv_file
from tools.data import input_speed
from tools.data import input_variants


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
    parser.add_argument("--images", type=int, default=2000, help="for memory")
    flags = parser.parse_args()
    output = pathlib.Path(flags.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        input_variants.write_photos(pathlib.Path(folder), flags.files)
        variants = input_variants.make_variants(folder, flags)
        rates = input_speed.rates(variants, flags)
        memory = input_speed.memory(variants, flags)
    csv_file.write(output / "rates.csv", rates)
    csv_file.write(output / "memory.csv", memory)
    input_speed.draw(rates, memory, output / "input.png")
    print_tables(rates, memory)


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
