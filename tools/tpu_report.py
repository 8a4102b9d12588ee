"""What the TPU compiler makes of a training step, without a TPU.

    python tools/tpu_report.py --python=$HOME/tpu-venv/bin/python \
        --network=resnet50 --image_size=224 --batch_size=64

Each method's whole step is lowered here and compiled by the real TPU compiler
in an environment of its own, which --create_environments makes, or these:

    python3.11 -m venv $HOME/tpu-venv
    $HOME/tpu-venv/bin/pip install jax==0.10.2 libtpu==0.0.52

With --kernels_python, an environment that holds only the wheels
tensorflow-tpu==2.20.0 and libtpu==0.0.21, it also names operations that TPUs do
not have.

Prints a table of the methods, of what the cycles go into and of the dearest
instructions; writes all of it, with the modules, to --output_dir. Cycles are
the compiler's estimates for one core, not measurements. ResNet-50 takes
minutes a method.
"""

import os
import pathlib
import sys
import types

# TensorFlow's start-up messages are noise here; set it yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Runs as a script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app
from absl import flags

from experiments import command_line
from experiments import methods
from tools.step import models
from tools.tpu import report
from tools.tpu.export import METHODS

FLAGS = flags.FLAGS
flags.DEFINE_string("python", None, "Of the environment with jax and libtpu.")
flags.DEFINE_string(
    "kernels_python",
    None,
    "Of that with tensorflow-tpu, which looks up kernels.",
)
flags.DEFINE_bool(
    "create_environments",
    False,
    "Make the two environments where they are missing (FOLDER/bin/python).",
)
flags.DEFINE_string("network", "resnet_cifar20", models.NETWORK_HELP)
flags.DEFINE_integer("image_size", 32, "Height and width.", lower_bound=1)
flags.DEFINE_multi_enum(
    "method",
    list(METHODS),
    list(METHODS),
    "Steps to compile; repeat the flag for several. attack: only the attack; "
    + methods.describe(models.METHODS),
)
flags.DEFINE_multi_string(
    "earlier",
    [],
    "report.csv of an earlier run, whose rows join the table and the picture "
    "where a step is not compiled anew; repeat the flag for several.",
)
flags.DEFINE_multi_integer(
    "batch_size",
    [8],
    "Images of one step on one core; repeat the flag for several.",
    lower_bound=1,
)
flags.DEFINE_enum(
    "placement",
    "local",
    ["local", "phased"],
    "phased: conadv's three phases and shared's two, each a step of its own "
    "on a working batch of --batch_size images.",
)
flags.DEFINE_string("precision", "mixed_bfloat16", "Keras precision policy.")
flags.DEFINE_string(
    "topology",
    "v3:2x2",
    "TPU to compile for: v2:2x2, v3:2x2, v4:2x2x1, v5e:2x2, v5p:2x2x1, "
    "v6e:2x2. A step is compiled for one core of it.",
)
flags.DEFINE_integer("num_dearest", 10, "Instructions printed a step.", 0)
flags.DEFINE_string("output_dir", "runs/tpu", "Folder for the results.")


def main(argv):
    """Lowers and compiles each step, then prints the tables."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    own = FLAGS.get_key_flags_for_module(sys.argv[0])
    options = types.SimpleNamespace(**{flag.name: flag.value for flag in own})
    try:
        report.report(options)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    command_line.run(main)
