"""What the training step of each method costs, counted rather than timed.

    python tools/graph_report.py                        # ResNet-20, 32x32
    python tools/graph_report.py --network=resnet50 --image_size=224

Prints a table with a row for each method:

  products      convolutions and matrix products in the step's graph
  chain         the most of them that must follow one another, whatever the
                number of processors
  operations    arithmetic operations; of them in products
  accessed      bytes that instructions and fusions read and write
  memory        bytes for the step's arguments (weights, momentum, the batch)
                and in all

Products and chain are of TensorFlow's graph of the step, the rest of the
module that XLA:CPU makes of it; see tools/step/graph_walk.py and
tools/step/hlo_cost.py for what is counted. The same on every machine. With
--output_dir also writes graph_report.csv and graph_report.json.
"""

import os
import pathlib
import sys

# TensorFlow's start-up messages are noise here; set it yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The module is counted, not run: XLA's passes, but not LLVM's.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# Runs as a script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app
from absl import flags
import tensorflow as tf

from conadv_tf import csv_file
from experiments import command_line
from experiments import results
from experiments.methods import BASE_METHODS
from tools.step import cost
from tools.step import models

FLAGS = flags.FLAGS
flags.DEFINE_string("network", "resnet_cifar20", f"{models.NAMES}.")
flags.DEFINE_integer("image_size", 32, "Height and width.", lower_bound=1)
flags.DEFINE_integer("batch_size", 32, "Images per step and replica.", 1)
flags.DEFINE_enum(
    "precision",
    "float32",
    ("float32", "mixed_bfloat16"),
    "Keras policy. XLA:CPU computes bfloat16 products in float32: operations "
    "are right, bytes and memory those of the CPU.",
)
flags.DEFINE_multi_enum(
    "method",
    list(BASE_METHODS),
    [*BASE_METHODS, *models.CHEAPER],
    "Methods to report on; repeat the flag. quarter and eighth attack that "
    "part of a batch; shared and shared_instead have one pass for all.",
)
flags.DEFINE_string("output_dir", None, "Folder for CSV and JSON.")


def main(argv):
    """Prints the table, and writes it if asked to."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    tf.keras.mixed_precision.set_global_policy(FLAGS.precision)
    rows = []
    for method in dict.fromkeys(FLAGS.method):
        print(f"tracing and compiling {method} ...", file=sys.stderr)
        tf.keras.backend.clear_session()
        network = models.network(FLAGS.network, FLAGS.image_size)
        rows.append(cost.of_method(method, network, FLAGS.batch_size))
    names = ("network", "image_size", "batch_size", "precision")
    setting = {name: FLAGS[name].value for name in names}
    print(", ".join(f"{key} {value}" for key, value in setting.items()) + "\n")
    print(cost.table(rows))
    if FLAGS.output_dir:
        folder = pathlib.Path(FLAGS.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [{**setting, **row} for row in rows]
        csv_file.write(folder / "graph_report.csv", rows)
        results.write_json(
            folder / "graph_report.json",
            {"steps": rows, "versions": results.versions()},
        )


if __name__ == "__main__":
    command_line.run(main)
