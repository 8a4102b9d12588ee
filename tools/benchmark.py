r"""Times the step of ConAdv against its alternatives, in turns.

    python tools/benchmark.py                       # ResNet-20, about 3 minutes
    python tools/benchmark.py --network=resnet_cifar20 --image_size=8 \
        --batch_size=1 --batch_size=4 --repeats=30
    python tools/benchmark.py --variant=baseline --variant=conadv --jit_compile

Variants, all of one network, loss, optimizer and data:

  baseline, disadv, conadv   the bare step of the method
  nsl                        AdversarialRegularization of neural-structured-
                             learning with the same attack; if it is
                             installed, and not with XLA
  nsl_fit, conadv_fit, shared_fit
                             the same through `fit`: its call, epoch and logs
  conadv_no_refresh          ConAdv without writing the shadow copy
  conadv_sgd                 ConAdv with SGD and momentum for LARS

Each repeat runs all variants for --steps steps in a new random order. Prints
medians and quartiles, and those of the ratios within each repeat, for every
combination of networks, image and batch sizes. Writes times.csv (each repeat),
summary.json (with cores, load and versions) and benchmark.png to --output_dir.
Needs an otherwise idle machine.
"""

import itertools
import os
import pathlib
import sys
import time

# TensorFlow's start-up messages are noise here; set it yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Runs as a script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app
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
    "network", ["resnet_cifar20"], f"{models.NAMES}; repeat for several."
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
    [name for name in variants.NAMES if name not in models.CHEAPER],
    list(variants.NAMES),
    "Variants to time; repeat the flag for several.",
)
flags.DEFINE_integer("repeats", 10, "Turns of each variant.", lower_bound=1)
flags.DEFINE_integer("steps", 20, "Steps per turn; of *_fit it is a `fit`.", 1)
flags.DEFINE_integer("warmup_steps", 5, "Steps of each before the clock.", 1)
flags.DEFINE_integer("seed", 0, "Of weights and of the order of the turns.")
flags.DEFINE_string("output_dir", "runs/benchmark", "Folder of the results.")


def main(argv):
    """Times all settings; what is done is written after each."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    output = pathlib.Path(FLAGS.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    environment = benchmark_results.environment()
    rows = []
    axes = FLAGS.network, FLAGS.image_size, FLAGS.batch_size
    settings = list(itertools.product(*axes))
    for number, setting in enumerate(settings, 1):
        network, image_size, batch_size = setting
        _say(
            f"[{number}/{len(settings)}] {network}, {batch_size} images of "
            f"{image_size}x{image_size}"
        )
        times = _times(*setting)
        rows += benchmark_results.rows((*setting, FLAGS.jit_compile), times)
        csv_file.write(output / "times.csv", rows)
    times = benchmark_results.read_csv(output / "times.csv")
    benchmark_results.plot(times, output / "benchmark.png")
    results.write_json(
        output / "summary.json",
        {
            **environment,
            "flags": {
                flag.name: flag.value
                for flag in FLAGS.get_key_flags_for_module(sys.argv[0])
            },
            "settings": benchmark_results.summary(times),
        },
    )
    print(f"\n{environment['cores']} cores\n")
    print(benchmark_results.tables(times))


def _times(network, image_size, batch_size):
    """Milliseconds per step of each variant, one for each repeat."""
    tf.keras.backend.clear_session()
    runs, xla = {}, FLAGS.jit_compile
    for name in dict.fromkeys(FLAGS.variant):
        tf.keras.utils.set_random_seed(FLAGS.seed)
        model = models.network(network, image_size)
        try:
            runs[name] = variants.build(name, model, batch_size, xla)
        except variants.UnavailableError as error:
            _say(f"  {name} is left out: {error}")
    if not runs:
        sys.exit("error: no variant is left to time.")
    # After the last seed is set, which makes TensorFlow forget its kernels.
    for name, run in runs.items():
        start = time.perf_counter()
        run(FLAGS.warmup_steps)
        _say(f"  {name} ready after {time.perf_counter() - start:.0f} s")

    def progress(repeat):
        _say(f"  repeat {repeat} of {FLAGS.repeats}")

    turns = FLAGS.repeats, FLAGS.steps, FLAGS.seed
    return timing.alternate(runs, *turns, progress)


def _say(line):
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    command_line.run(main)
