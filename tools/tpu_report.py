"""What the TPU compiler makes of a training step, without a TPU.

    python tools/tpu_report.py --python=$HOME/tpu-venv/bin/python \
        --network=resnet20 --batch_size=8 --output=runs/tpu

Each method's whole step is lowered here and compiled by the real TPU compiler
in an environment of its own, which is made once:

    python3.11 -m venv $HOME/tpu-venv
    $HOME/tpu-venv/bin/pip install jax==0.10.2 libtpu==0.0.52

With --kernels_python, an environment that holds only the wheel
tensorflow-tpu==2.19.1, it also names operations that TPUs do not have.

Prints a table of the methods, of what the cycles go into and of the dearest
instructions; writes all of it, with the modules, to --output. Cycles are the
compiler's estimates for one core, not measurements. ResNet-50 takes minutes a
method.
"""

import json
import os
import pathlib
import subprocess
import sys

# TensorFlow's start-up messages are noise here; set it yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Runs as a script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app
from absl import flags

from tools import cost_tables
from tools import hlo_costs
from tools import tpu_compiler
from tools import tpu_kernels

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "python", None, "Python of the environment with jax and libtpu."
)
flags.DEFINE_string(
    "kernels_python",
    None,
    "Python of the environment with tensorflow-tpu; without it operations are "
    "not looked up.",
)
flags.DEFINE_enum(
    "network",
    "resnet20",
    ["resnet20", "resnet50", "efficientnet_b2"],
    "Network, at its own image size.",
)
flags.DEFINE_multi_enum(
    "method",
    ["baseline", "attack", "disadv", "conadv"],
    ["baseline", "attack", "disadv", "conadv"],
    "Steps to compile; repeat the flag for several. attack: only the attack.",
)
flags.DEFINE_multi_integer(
    "batch_size",
    [8],
    "Images of one step on one core; repeat the flag for several.",
    lower_bound=1,
)
flags.DEFINE_integer("staleness", 1, "tau of conadv.", lower_bound=1)
flags.DEFINE_integer(
    "views", 1, "2: with an augmented view.", lower_bound=1, upper_bound=2
)
flags.DEFINE_string(
    "precision", "mixed_bfloat16", "Keras precision policy of the network."
)
flags.DEFINE_string(
    "topology",
    "v3:2x2",
    "TPU to compile for: v2:2x2, v3:2x2, v4:2x2x1, v5e:2x2, ... A step is "
    "compiled for one core of it.",
)
flags.DEFINE_integer(
    "num_dearest", 10, "Instructions to print for each step.", lower_bound=0
)
flags.DEFINE_string("output", "runs/tpu", "Folder for the results.")


def main(argv):
    """Lowers and compiles each step, then prints the tables."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    output = pathlib.Path(FLAGS.output)
    try:
        check_python(FLAGS.python, "--python", tpu_compiler.REQUIREMENTS)
        if FLAGS.kernels_python:
            check_python(
                FLAGS.kernels_python,
                "--kernels_python",
                tpu_kernels.REQUIREMENTS,
            )
        report(output)
    except ValueError as error:
        sys.exit(f"error: {error}")


def check_python(python, flag, requirements):
    """Raises a ValueError that says how to make a missing environment."""
    if python and pathlib.Path(python).is_file():
        return
    raise ValueError(
        f"Expected {flag} to be the Python of an environment with "
        f"{requirements}; received {python!r}. Make one of its own: "
        f"python3.11 -m venv tpu-venv && tpu-venv/bin/pip install "
        f"{requirements}; then {flag}=tpu-venv/bin/python."
    )


def report(output):
    """Compiles all steps and writes and prints what came out."""
    output.mkdir(parents=True, exist_ok=True)
    rows, details = [], []
    for size in FLAGS.batch_size:
        for method in FLAGS.method:
            path = output / f"{FLAGS.network}_{method}_{size}"
            export(path, method, size)
            if FLAGS.kernels_python:
                absent = absent_kernels(FLAGS.kernels_python, path)
                details.append(kernels_text(method, size, absent))
            facts, text = compile_step(FLAGS.python, path, FLAGS.topology)
            found = hlo_costs.costs(text)
            rows.append(cost_tables.summary(method, size, facts, found))
            details.append(details_text(method, size, found, FLAGS.num_dearest))
            # A step takes minutes: show what there is.
            print(details[-1], flush=True)
    rows = cost_tables.with_relative(rows)
    table = cost_tables.methods_table(rows)
    print(table)
    (output / "report.md").write_text("\n".join([table, *details]))
    (output / "report.csv").write_text(cost_tables.csv_text(rows))
    (output / "report.json").write_text(
        json.dumps({"flags": flag_values(), "steps": rows}, indent=2)
    )


def flag_values():
    """The flags that decide the result."""
    names = ("network", "staleness", "views", "precision", "topology")
    return {name: FLAGS[name].value for name in names}


def export(path, method, batch_size):
    """Writes the step's HLO and its operations beside `path`."""
    # Late, so that a wrong flag is told at once.
    import tensorflow as tf

    import conadv_tf as ca
    from tools import step_export

    tf.keras.mixed_precision.set_global_policy(FLAGS.precision)
    function, specs = step_export.step_function(
        step_export.NETWORKS[FLAGS.network](),
        method,
        batch_size,
        ca.PGD(4 / 255, random_start=0.8),
        FLAGS.staleness,
        FLAGS.views,
    )
    _with_suffix(path, ".hlo.pb").write_bytes(step_export.hlo(function, specs))
    _with_suffix(path, ".operations.json").write_text(
        json.dumps(step_export.operations(function, specs))
    )


def _with_suffix(path, suffix):
    return path.with_name(path.name + suffix)


def compile_step(python, path, topology):
    """Compiles an exported step with the TPU compiler.

    Args:
      python: of the environment with jax and libtpu.
      path: where `export` wrote.
      topology: see the flag.

    Returns:
      (dict of facts, text of the optimized module).

    Raises:
      ValueError: if it does not compile, with the compiler's words.
    """
    run_tool(
        python, "tpu_compiler", topology, _with_suffix(path, ".hlo.pb"), path
    )
    facts = json.loads(_with_suffix(path, ".json").read_text())
    return facts, _with_suffix(path, ".hlo.txt").read_text()


def absent_kernels(python, path):
    """Operations of an exported step that TPUs have no kernel for."""
    missing = _with_suffix(path, ".missing.json")
    run_tool(
        python, "tpu_kernels", _with_suffix(path, ".operations.json"), missing
    )
    return json.loads(missing.read_text())


def run_tool(python, name, *arguments):
    """Runs a script of this folder in another environment.

    Raises:
      ValueError: with the last lines of its errors, if it fails.
    """
    script = pathlib.Path(__file__).with_name(f"{name}.py")
    # The environment is not to see this one's packages.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = subprocess.run(
        [python, str(script), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise ValueError(
            f"{name} failed with exit code {result.returncode} in {python}: "
            + "\n".join(result.stderr.strip().splitlines()[-8:])
        )


def kernels_text(method, batch_size, absent):
    """A paragraph about operations without a TPU kernel."""
    title = f"{method}, {batch_size} images: "
    if not absent:
        return title + "all operations have a TPU kernel.\n"
    names = ", ".join(f"{name} {types}" for name, types in absent)
    return title + f"no TPU kernel for {names}.\n"


def details_text(method, batch_size, found, count):
    """What the cycles of a step go into, as Markdown."""
    title = f"## {method}, {batch_size} images\n"
    if not found:
        return title + "\nThe compiler estimates no cycles for this TPU.\n"
    return "\n".join(
        [
            title,
            cost_tables.breakdown_table(found, "part"),
            cost_tables.breakdown_table(found, "kind"),
            cost_tables.dearest_table(found, count),
        ]
    )


if __name__ == "__main__":
    app.run(main)
