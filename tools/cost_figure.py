"""Draws the cost of each method over plain training from committed tables.

    python tools/cost_figure.py

The arithmetic and the TPU cycles are from a table of tools/tpu_report.py, and
the CPU times from a table of tools/benchmark.py. Also prints the numbers.
"""

import pathlib
import sys

# The script runs from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from experiments import command_line
from experiments import log_filter

FLAGS = flags.FLAGS
_EVIDENCE = pathlib.Path(__file__).resolve().parents[1] / "experiments/evidence"
flags.DEFINE_string(
    "tpu",
    str(_EVIDENCE / "tpu_resnet50.csv"),
    "Table of tools/tpu_report.py for ResNet-50 at 224x224.",
)
flags.DEFINE_string(
    "benchmark",
    str(_EVIDENCE / "benchmark_shared.csv"),
    "Table of tools/benchmark.py for ResNet-20 at 32x32.",
)
flags.DEFINE_integer("tpu_images", 64, "Images of a step in --tpu.")
flags.DEFINE_integer("benchmark_images", 16, "Images of a step in --benchmark.")
flags.DEFINE_string(
    "output", str(_EVIDENCE / "costs.png"), "PNG file to write."
)


def main():
    """Reads the tables and draws the figure."""
    log_filter.start()
    from conadv_tf import paths
    from experiments import plots
    from tools.step import cost_figure

    tpu, benchmark = map(paths.as_path, (FLAGS.tpu, FLAGS.benchmark))
    try:
        costs = cost_figure.read(
            tpu, FLAGS.tpu_images, benchmark, FLAGS.benchmark_images
        )
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(cost_figure.table(costs))
    plots.save(cost_figure.draw(costs), paths.as_path(FLAGS.output))


if __name__ == "__main__":
    command_line.run_without_arguments(main)
