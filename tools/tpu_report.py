r"""Compiles training steps with the TPU compiler, without a TPU.

    python tools/tpu_report.py --python=$HOME/tpu-venv/bin/python \
        --network=resnet50 --image_size=224 --batch_size=64

The training step of each method is exported here and compiled by the real TPU
compiler in a separate environment, which --create_environments creates, or
these commands:

    python3.11 -m venv $HOME/tpu-venv
    $HOME/tpu-venv/bin/pip install jax==0.10.2 libtpu==0.0.52

With --kernels_python, an environment that holds only the wheels
tensorflow-tpu==2.20.0 and libtpu==0.0.21, the report also lists operations that
TPUs do not support.

Prints tables of the methods, of the cycles by part and kind of work, and of the
most expensive instructions. Writes the tables and the modules to --output_dir.
Cycles are the compiler's estimates for one core, not measurements. ResNet-50
takes minutes per method.
"""

import pathlib
import sys
import types

# Lets the script run from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from experiments import command_line
from experiments import log_filter
from experiments.methods import describe
from tools.step import methods
from tools.tpu.methods import METHODS

FLAGS = flags.FLAGS
flags.DEFINE_string("python", None, "Python of the environment with jax.")
flags.DEFINE_string(
    "kernels_python",
    None,
    "Python of the environment with tensorflow-tpu, which looks up kernels.",
)
flags.DEFINE_bool(
    "create_environments",
    False,
    "Create the two environments (FOLDER/bin/python) if they are missing.",
)
flags.DEFINE_string("network", "resnet_cifar20", methods.NETWORK_HELP)
flags.DEFINE_integer("image_size", 32, "Height and width.", lower_bound=1)
flags.DEFINE_multi_enum(
    "method",
    list(METHODS),
    [*METHODS, "rotating_roles"],
    "Steps to compile; repeat the flag for several. attack: only the attack; "
    "rotating_roles: its three roles, each with --batch_size images; "
    + describe(methods.METHODS),
)
flags.DEFINE_multi_string(
    "earlier",
    [],
    "report.csv of an earlier run. Its rows join the table and the plot unless "
    "the step is compiled again; repeat the flag for several.",
)
flags.DEFINE_multi_integer(
    "batch_size",
    [8],
    "Images of one step on one core; repeat the flag for several.",
    lower_bound=1,
)
flags.DEFINE_string("precision", "mixed_bfloat16", "Keras precision policy.")
flags.DEFINE_string(
    "topology",
    "v3:2x2",
    "TPU to compile for: v2:2x2, v3:2x2, v4:2x2x1, v5e:2x2, v5p:2x2x1, "
    "v6e:2x2. A step is compiled for one core of it.",
)
flags.DEFINE_integer(
    "num_instructions", 10, "Most expensive instructions to print per step.", 0
)
flags.DEFINE_string("output_dir", "runs/tpu", "Folder for the results.")


def main():
    """Compiles each step and prints the tables."""
    log_filter.start()
    from tools.tpu import report

    own = FLAGS.get_key_flags_for_module(sys.argv[0])
    options = types.SimpleNamespace(**{flag.name: flag.value for flag in own})
    try:
        report.report(options)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    command_line.run_without_arguments(main)
