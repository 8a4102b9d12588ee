r"""Times the training step of ConAdv against its alternatives, in turns.

    python tools/benchmark.py                       # ResNet-20, about 3 minutes
    python tools/benchmark.py --network=resnet_cifar20 --image_size=8 \
        --batch_size=1 --batch_size=4 --repeats=30
    python tools/benchmark.py --variant=baseline --variant=conadv --jit_compile

The variants train the same network with the same loss, optimizer and data:

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
and quartiles of the times, and of ratios of two times within each repeat. It
writes times.csv (each repeat), summary.json (with cores, load and versions) and
benchmark.png to --output_dir. The machine should be idle otherwise.
"""

import itertools
import os
import pathlib
import sys
import time

# Hides TensorFlow's start-up messages; set the variable yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Lets the script run from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags
import tensorflow as tf

from conadv_tf import csv_file
from experiments import command_line
from experiments import results
from tools.step import benchmark_results
from tools.step import models
from tools.step import timing
from tools.step import variants

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "network", ["resnet_cifar20"], f"{models.NETWORK_HELP} Repeat for several."
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
    list(variants.NAMES),
    "Variants to time; repeat the flag for several.",
)
flags.DEFINE_integer("repeats", 10, "Turns of each variant.", lower_bound=1)
flags.DEFINE_integer("steps", 20, "Steps per turn, one fit for *_fit.", 1)
flags.DEFINE_integer("warmup_steps", 5, "Steps before the first turn.", 1)
flags.DEFINE_integer("seed", 0, "Seed of the weights and of the order.")
flags.DEFINE_string("output_dir", "runs/benchmark", "Folder for the results.")


def main():
    """Times all settings; times.csv is written after each of them."""
    output = pathlib.Path(FLAGS.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    environment = benchmark_results.environment()
    axes = FLAGS.network, FLAGS.image_size, FLAGS.batch_size
    combinations = list(itertools.product(*axes, [FLAGS.jit_compile]))
    settings = {}
    for number, setting in enumerate(combinations, 1):
        network, image_size, batch_size, _ = setting
        _log(
            f"[{number}/{len(combinations)}] {network}, {batch_size} images of "
            f"{image_size}x{image_size}"
        )
        settings[setting] = _times(*setting)
        rows = benchmark_results.rows(settings)
        csv_file.write(output / "times.csv", rows)
    benchmark_results.plot(settings, output / "benchmark.png")
    own = FLAGS.get_key_flags_for_module(sys.argv[0])
    content = {
        **environment,
        "flags": {flag.name: flag.value for flag in own},
        "settings": benchmark_results.summary(settings),
    }
    results.write_json(output / "summary.json", content)
    print(f"\n{environment['cores']} cores\n")
    print(benchmark_results.tables(settings))


def _times(network, image_size, batch_size, jit_compile):
    """Times the variants that can run in one setting.

    Returns:
      Dict from each variant to its milliseconds per step, one per repeat.
    """
    tf.keras.backend.clear_session()
    runs = {}
    for name in dict.fromkeys(FLAGS.variant):
        tf.keras.utils.set_random_seed(FLAGS.seed)
        model = models.network(network, image_size)
        try:
            runs[name] = variants.build(name, model, batch_size, jit_compile)
        except variants.UnavailableError as error:
            _log(f"  {name} is left out: {error}")
    if not runs:
        sys.exit("error: none of the variants can run.")
    # Not in the loop above: setting a seed makes TensorFlow drop its kernels.
    for name, run in runs.items():
        start = time.perf_counter()
        run(FLAGS.warmup_steps)
        _log(f"  {name} ready after {time.perf_counter() - start:.0f} s")
    return timing.alternate(runs, FLAGS.repeats, FLAGS.steps, FLAGS.seed)


def _log(line):
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    command_line.run_without_arguments(main)
