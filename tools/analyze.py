"""Compares trained runs by sharpness, loss landscape and robustness.

    python tools/analyze.py runs/baseline runs/conadv --output_dir=analysis

Takes folders of finished runs of experiments/run.py, all on one dataset, and
rebuilds their networks. On the same training images it measures the largest
eigenvalues of the Hessian (plain and filter-normalized) and the loss along
random filter-normalized directions. On the same test images it measures the
accuracy under FGSM and PGD. All measurements are in inference mode through the
main batch norm. Writes eigenvalues.csv, landscape.csv and robustness.csv, a PNG
file for each, and summary.json, and prints a table by method.
"""

import pathlib
import sys

# The script runs from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from experiments import command_line
from experiments import log_filter

FLAGS = flags.FLAGS
flags.DEFINE_string("output_dir", "analysis", "Empty folder for results.")
flags.DEFINE_integer(
    "num_examples", 500, "Number of training images and of test images.", 1
)
flags.DEFINE_integer("eigenvalues", 5, "Number of largest eigenvalues.", 1)
flags.DEFINE_list(
    "epsilons",
    None,
    "Radii for pixels in [0, 1]; by default 1/4, 1/2, 1 and 3/2 of the largest "
    "radius of the runs.",
)
flags.DEFINE_integer("pgd_steps", 20, "Number of gradient steps of PGD.", 1)
flags.DEFINE_float("radius", 0.5, "Largest distance in the landscape.", 0.0)
flags.DEFINE_integer("points", 21, "Distances in the landscape; odd number.", 3)
flags.DEFINE_integer("directions", 3, "Number of random directions.", 1)
flags.DEFINE_integer("seed", 0, "Seed of the directions and random starts.")
flags.DEFINE_string("data_dir", None, "Folder or bucket of tfds datasets.")


def main(argv):
    """Reads the runs, measures and compares them."""
    if len(argv) == 1:
        sys.exit(
            "error: Expected folders of runs: python tools/analyze.py RUN "
            "[RUN ...]."
        )
    if FLAGS.points % 2 == 0:
        sys.exit(f"error: Expected odd --points; received {FLAGS.points}.")
    log_filter.start()
    from tools.runs import comparison

    try:
        comparison.run(argv[1:])
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    command_line.run(main)
