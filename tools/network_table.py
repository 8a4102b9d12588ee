"""Prints a Markdown table of networks that can be trained with ConAdv.

    python tools/network_table.py           # Counts parameters.
    python tools/network_table.py --verify  # Also trains each for two steps.

Parameters are counted for 1000 classes (10 for CIFAR). With --verify each
network is converted, trained for two ConAdv steps on two small images, and
exported.
"""

import pathlib
import sys

# Lets the script run from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from experiments import command_line
from experiments import log_filter

flags.DEFINE_bool("verify", False, "Train each network for two steps.")
flags.DEFINE_bool("large", False, "All networks, not one of each family.")


def main():
    """Prints each row as soon as it is known."""
    log_filter.start()
    from tools.networks import table

    table.run()


if __name__ == "__main__":
    command_line.run_without_arguments(main)
