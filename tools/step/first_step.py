"""CPU time until the first training step is done, in fresh processes.

A user waits for it: the model is created and compiled, the step is traced,
TensorFlow optimizes the graph and runs it once. Each measurement needs a
separate process, because a second trace in a process is faster. As a
command, the module makes one measurement:

    python -m tools.step.first_step conadv resnet_cifar20 32 4 0 0
"""

import os
import pathlib
import random
import subprocess
import sys

import tensorflow as tf
import tqdm

from experiments import log_filter
from experiments import markdown_table
from tools.step import models
from tools.step import timing
from tools.step import variants

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Plain Keras, to which all are compared.
REFERENCE = "keras"


def measure(names, arguments, repeats, seed=0, run=None):
    """Measures variants in turns, each in a fresh process on one thread.

    Args:
      names: names of variants; `REFERENCE` is added.
      arguments: network, image size, batch size and jit_compile.
      repeats: number of processes for each variant.
      seed: seed of the order and of the weights.
      run: function of a variant's name that returns CPU seconds; by default
        `in_process`.

    Returns:
      Dict from each name to its list of CPU seconds, one per repeat.
    """
    run = run or (lambda name: in_process(name, *arguments, seed))
    order = random.Random(seed)
    seconds = {name: [] for name in dict.fromkeys([REFERENCE, *names])}
    with tqdm.tqdm(desc="first steps", total=repeats * len(seconds)) as bar:
        for _ in range(repeats):
            for name in order.sample(list(seconds), len(seconds)):
                seconds[name].append(run(name))
                bar.update()
    return seconds


def in_process(*arguments):
    """Calls `cpu_seconds` in a fresh process."""
    values = [str(int(x) if isinstance(x, bool) else x) for x in arguments]
    # Without TensorFlow's messages, unless the user has set a level.
    level = {} if log_filter.IS_SET else {log_filter.LEVEL: "3"}
    result = subprocess.run(
        [sys.executable, "-m", "tools.step.first_step", *values],
        cwd=ROOT,
        env={**os.environ, **level},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(result.stdout.split()[-1])


def cpu_seconds(name, network, batch_size, jit_compile):
    """Measures the CPU seconds, user and system, of one variant.

    Args:
      name: one of `methods.VARIANTS`.
      network: functional Keras model from images to logits.
      batch_size: number of images per step.
      jit_compile: whether XLA compiles the step.
    """
    data = variants.batches(network, batch_size)
    start = os.times()
    variants.build_for(name, network, data, jit_compile)(1)
    end = os.times()
    return end.user + end.system - start.user - start.system


def table(seconds):
    """Formats medians, and ratios to plain Keras, as Markdown."""
    return markdown_table.table(
        ("variant", "first step, CPU seconds", f"over {REFERENCE}"),
        [
            (
                name,
                f"{timing.Quartiles.of(values):.2f}",
                f"{timing.ratio(seconds, name, REFERENCE):.2f}",
            )
            for name, values in seconds.items()
        ],
    )


def main(name, network, image_size, batch_size, jit_compile, seed):
    """Prints the CPU seconds of one variant; all arguments are strings."""
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(int(seed))
    network = models.network(network, int(image_size))
    print(cpu_seconds(name, network, int(batch_size), jit_compile == "1"))


if __name__ == "__main__":
    main(*sys.argv[1:])
