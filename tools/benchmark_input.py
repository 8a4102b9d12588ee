"""Measures the input pipeline: images per second, per core, and memory.

    python tools/benchmark_input.py --output_dir=runs/input
    python tools/benchmark_input.py --images=10000 --repeats=5

Needs no network connection: the photographs are crops of scikit-learn's two
sample images, scaled to typical sizes of ImageNet images. The pipelines are
timed in turns within one process, and the tables show medians over the
repeats. The reference, "plain loop", does the minimum that a tutorial would:
it reads and decodes each file, crops at random and resizes.

Writes rates.csv, memory.csv and input.png to --output_dir.
"""

import pathlib
import sys

# Lets the script run from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from experiments import command_line
from experiments import log_filter

FLAGS = flags.FLAGS
flags.DEFINE_string("output_dir", "runs/input", "Folder for the results.")
flags.DEFINE_integer("image_size", 224, "Height and width.", lower_bound=1)
flags.DEFINE_integer("batch_size", 32, "Images per batch.", lower_bound=1)
flags.DEFINE_integer("files", 64, "JPEGs to write.", lower_bound=1)
flags.DEFINE_integer("batches", 16, "Batches per measurement.", lower_bound=1)
flags.DEFINE_integer("repeats", 5, "Measurements per pipeline.", lower_bound=1)
flags.DEFINE_integer("images", 2000, "Images to measure memory over.", 1)


def main():
    """Measures, and writes and prints the results."""
    log_filter.start()
    from tools.pipelines import speed

    speed.run()


if __name__ == "__main__":
    command_line.run_without_arguments(main)
