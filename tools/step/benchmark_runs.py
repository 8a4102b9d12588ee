"""Times the training steps that the flags of benchmark.py describe.

Importing this module imports TensorFlow, so the command does it after it has
checked its flags.
"""

import itertools
import pathlib
import sys
import time

from absl import flags
import tensorflow as tf

from conadv_tf import csv_file
from experiments import results
from tools.step import benchmark_results
from tools.step import first_step
from tools.step import models
from tools.step import timing
from tools.step import variants

FLAGS = flags.FLAGS


def run():
    """Times all settings; times.csv is written after each of them."""
    output = pathlib.Path(FLAGS.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    environment = benchmark_results.environment()
    axes = FLAGS.network, FLAGS.image_size, FLAGS.batch_size
    combinations = list(itertools.product(*axes, [FLAGS.jit_compile]))
    settings, first_steps = {}, {}
    for number, setting in enumerate(combinations, 1):
        network, image_size, batch_size, _ = setting
        _log(
            f"[{number}/{len(combinations)}] {network}, {batch_size} images of "
            f"{image_size}x{image_size}"
        )
        settings[setting] = _times(*setting)
        rows = benchmark_results.rows(settings, "ms_per_step")
        csv_file.write(output / "times.csv", rows)
        if FLAGS.first_step_repeats:
            first_steps[setting] = first_step.measure(
                settings[setting], setting, FLAGS.first_step_repeats, FLAGS.seed
            )
            csv_file.write(
                output / "first_step.csv",
                benchmark_results.rows(first_steps, "cpu_seconds"),
            )
    benchmark_results.plot(settings, output / "benchmark.png")
    own = FLAGS.get_key_flags_for_module(sys.argv[0])
    content = {
        **environment,
        "flags": {flag.name: flag.value for flag in own},
        "settings": benchmark_results.summary(settings, first_steps),
    }
    results.write_json(output / "summary.json", content)
    print(f"\nnumber of cores: {environment['cores']}\n")
    print(benchmark_results.tables(settings))
    for setting, seconds in first_steps.items():
        title = benchmark_results.title(setting)
        print(f"**{title}**, first step\n\n{first_step.table(seconds)}\n")


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
