r"""Times the training step of ConAdv against its alternatives, in turns.

    python tools/benchmark.py                   # ResNet-20, about 10 minutes
    python tools/benchmark.py --network=resnet_cifar20 --image_size=8 \
        --batch_size=1 --batch_size=4 --repeats=30
    python tools/benchmark.py --variant=baseline --variant=conadv --jit_compile

The variants train the same network with the same loss, optimizer and data:

  keras                      plain training of the network itself by Keras
  baseline, disadv, conadv, ...
                             the bare training step of the method
  nsl                        AdversarialRegularization of neural-structured-
                             learning with the same attack; requires that
                             package, and runs only without XLA
  nsl_fit, baseline_fit, ...
                             the same through `fit`, with its overhead per
                             call, epoch and step
  conadv_no_refresh          ConAdv without updating the shadow copy
  conadv_sgd                 ConAdv with SGD and momentum instead of LARS

Each repeat runs all variants for --steps steps in a new random order. For every
combination of networks, image sizes and batch sizes the command prints medians
and quartiles of the times, and of ratios of two times within each repeat. The
row "first step" is the CPU time in a fresh process, on one thread, from the
network to the end of the first step: creating and compiling the model, tracing
and running the step once. --first_step_repeats=0 skips it. The command writes
times.csv and first_step.csv (each repeat), summary.json (with cores, load and
versions) and benchmark.png to --output_dir. The machine should be idle
otherwise.
"""

import pathlib
import sys

# Lets the script run from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from experiments import command_line
from experiments import log_filter
from tools.step import methods

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "network", ["resnet_cifar20"], f"{methods.NETWORK_HELP} Repeat for several."
)
flags.DEFINE_multi_integer(
    "image_size", [32], "Height and width; repeat the flag for several.", 1
)
flags.DEFINE_multi_integer(
    "batch_size", [4], "Images per step; repeat the flag for several.", 1
)
flags.DEFINE_bool("jit_compile", False, "Whether XLA compiles the steps.")
flags.DEFINE_multi_enum(
    "variant",
    [
        *("baseline", "disadv", "conadv", "nsl", "nsl_fit", "conadv_fit"),
        *("shared_pass_fit", "conadv_no_refresh", "conadv_sgd"),
    ],
    methods.VARIANTS,
    "Variants to time; repeat the flag for several.",
)
flags.DEFINE_integer("repeats", 10, "Turns of each variant.", lower_bound=1)
flags.DEFINE_integer("steps", 20, "Steps per turn, one fit for *_fit.", 1)
flags.DEFINE_integer("warmup_steps", 5, "Steps before the first turn.", 1)
flags.DEFINE_integer(
    "first_step_repeats", 3, "Fresh processes to time each first step.", 0
)
flags.DEFINE_integer("seed", 0, "Seed of the weights and of the order.")
flags.DEFINE_string("output_dir", "runs/benchmark", "Folder for the results.")


def main():
    """Times all settings."""
    log_filter.start()
    from tools.step import benchmark_runs

    benchmark_runs.run()


if __name__ == "__main__":
    command_line.run_without_arguments(main)
