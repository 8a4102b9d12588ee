"""Reports the cost of each method's training step, counted and not timed.

    python tools/graph_report.py                        # ResNet-20, 32x32
    python tools/graph_report.py --network=resnet50 --image_size=224

Prints a table with a row for each method:

  products      convolutions and matrix products in the graph of the step
  chain         products on the longest dependency chain, which must run one
                after another on any number of processors
  operations    arithmetic operations, and the part of them in products
  accessed      bytes that instructions and fusions read and write
  memory        bytes of the step's arguments (weights, momentum, the batch),
                and in total

Products and chain are counted in TensorFlow's graph of the step, the rest in
the module that XLA:CPU compiles from it. tools/step/graph_walk.py and
tools/step/cost.py give the rules. The counts are the same on every machine.
With --output_dir the command also writes graph_report.csv and
graph_report.json.
"""

import os
import pathlib
import sys

# The module is counted, not run: XLA's passes are needed, LLVM's are not.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# Lets the script run from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from experiments import command_line
from experiments import log_filter
from experiments.methods import COMPARED
from experiments.methods import describe
from tools.step import methods

FLAGS = flags.FLAGS
flags.DEFINE_string("network", "resnet_cifar20", methods.NETWORK_HELP)
flags.DEFINE_integer("image_size", 32, "Height and width.", lower_bound=1)
flags.DEFINE_integer("batch_size", 32, "Images per step and replica.", 1)
flags.DEFINE_enum(
    "precision",
    "float32",
    ("float32", "mixed_bfloat16"),
    "Keras policy. XLA:CPU computes bfloat16 products in float32: operations "
    "are right, bytes and memory are the CPU's.",
)
flags.DEFINE_multi_enum(
    "method",
    list(COMPARED),
    list(methods.METHODS),
    "Methods to report on; repeat the flag for several. "
    + describe(methods.METHODS),
)
flags.DEFINE_string("output_dir", None, "Folder for CSV and JSON.")


def main():
    """Prints the table and writes it if --output_dir is given."""
    log_filter.start()
    import tensorflow as tf
    import tqdm

    from conadv_tf import csv_file
    from experiments import results
    from tools.step import cost
    from tools.step import models

    tf.keras.mixed_precision.set_global_policy(FLAGS.precision)
    rows = []
    for method in tqdm.tqdm(dict.fromkeys(FLAGS.method), "compiled methods"):
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
        content = {"steps": rows, "versions": results.versions()}
        results.write_json(folder / "graph_report.json", content)


if __name__ == "__main__":
    command_line.run_without_arguments(main)
