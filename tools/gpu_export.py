"""Training steps as files, to be timed on a GPU by JAX alone.

    python tools/gpu_export.py --network=resnet50 --image_size=224 \
        --batch_size=64 --output_dir=runs/gpu

XLA compiles what TensorFlow made of a step, but for a new GPU a new XLA is
wanted, which TensorFlow 2.15 has not got. Copy the folder and `tools/` to a
machine with jax for its GPU, and there

    python tools/gpu_time.py runs/gpu

The steps are those of `tools/tpu_report.py`: whole training steps of one batch
that lies in memory, without input.
"""

import itertools
import os
import pathlib
import sys

# TensorFlow's start-up messages are noise here; set it yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Runs as a script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app
from absl import flags

from experiments.methods import TRAINED
from tools.gpu import export
from tools.step import models

METHODS = [*TRAINED, *models.CHEAPER]

FLAGS = flags.FLAGS
flags.DEFINE_string("network", "resnet_cifar20", f"{models.NAMES}.")
flags.DEFINE_integer("image_size", 32, "Height and width.", lower_bound=1)
flags.DEFINE_multi_enum(
    "method", METHODS, METHODS, "Steps to export; repeat the flag for several."
)
flags.DEFINE_multi_integer(
    "batch_size", [8], "Images of a step; repeat the flag.", lower_bound=1
)
flags.DEFINE_multi_string(
    "precision", ["mixed_bfloat16"], "Keras precision policy; repeat the flag."
)
flags.DEFINE_string("output_dir", "runs/gpu", "Folder for the steps.")


def main(argv):
    """Exports each method at each precision and batch size."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    wanted = itertools.product(FLAGS.precision, FLAGS.batch_size, FLAGS.method)
    export.write(
        [(method, size, precision) for precision, size, method in wanted],
        FLAGS.network,
        FLAGS.image_size,
        FLAGS.output_dir,
    )


if __name__ == "__main__":
    app.run(main)
