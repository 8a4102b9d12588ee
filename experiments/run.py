"""Trains and evaluates a classifier.

    python experiments/run.py                      # ConAdv on digits, 1 minute
    python experiments/run.py --method=baseline --global_batch_size=432
    python experiments/run.py --set optimizer.momentum=0.95 --seed=3
    python experiments/run.py --preset=resnet50_96k_conadv_aa --tpu=local

Writes config.json, history.csv, summary.json, curves.png, examples.png and
network.weights.h5 to --model_dir.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
import time

# Hides TensorFlow's start-up messages, unless the user has set a level.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Allows running this script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app
from absl import flags
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import paths
from experiments import build
from experiments import callbacks
from experiments import command_line
from experiments import drift
from experiments import plots
from experiments import presets
from experiments import results
from experiments import resume
from experiments import run_flags
from experiments import run_folder
from experiments import smoke_test
from experiments import start
from experiments import statistics_lag

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(run_flags)
flags.adopt_module_key_flags(resume)


def main(argv):
    """Trains one configuration, or lists the presets."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    if FLAGS.list_presets:
        for preset in presets.PRESETS.values():
            print(f"{preset.name:36} {preset.describe()}")
        return
    model_dir = None
    try:
        resume.check_flags()
        config = read_config()
        strategy = run_flags.make_strategy(config)
        with open_folder(config, is_chief(strategy)) as (model_dir, summary):
            if summary is not None:
                results.print_summary(summary, model_dir)
            else:
                train(config, model_dir, strategy)
    except resume.Preempted:
        resume.preempted(model_dir)
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except (ValueError, FloatingPointError, ImportError, OSError) as error:
        sys.exit(f"error: {error}")


@contextlib.contextmanager
def open_folder(config, chief):
    """Opens the folder of the flags for a run.

    Args:
      config: a `RunConfig`.
      chief: whether this process writes the files of the run.

    Yields:
      (path of the folder, summary of the run or None if it is not finished).
    """
    name = FLAGS.model_dir
    if FLAGS.resume:
        with run_folder.existing(name, config, chief) as found:
            yield found
    elif chief:
        with run_folder.new(name, config) as path:
            yield path, None
    else:  # The first process creates it.
        yield paths.as_path(name), None


def read_config():
    """Returns the `RunConfig` of the flags; describes it if it is a preset."""
    config = run_flags.read_config()
    if FLAGS.preset:
        preset = presets.get(FLAGS.preset)
        print(
            f"smoke test of {preset.name}: {preset.source}"
            if FLAGS.quick
            else f"{preset.name}: {preset.describe()}"
        )
        print(json.dumps(dataclasses.asdict(config), indent=2))
    if not FLAGS.quick:
        return config
    name = FLAGS.model_dir if FLAGS.resume else None
    return smoke_test.prepare(config, run_folder.earlier_config(name))


def is_chief(strategy):
    """Returns whether this process writes the files of the run."""
    return ca.distribution.worker_index_and_count(strategy)[0] == 0


def train(config, model_dir, strategy):
    """Trains and evaluates one configuration.

    Args:
      config: a `RunConfig`.
      model_dir: path of the folder for the results.
      strategy: a `tf.distribute.Strategy`.

    Returns:
      The content of summary.json in the first process, None in the others.
    """
    started = time.time()
    chief = is_chief(strategy)
    tf.keras.utils.set_random_seed(config.seed)
    tf.keras.mixed_precision.set_global_policy(config.precision)
    print(
        f"{config.method} on {config.dataset}: "
        f"{ca.distribution.describe(strategy)}"
    )
    if (
        config.optimizer.warmup_epochs >= config.epochs
        and not config.smoke_test
    ):
        print(
            "note: the learning rate warms up for all of the "
            f"{config.epochs} epochs and never decays; give a shorter "
            f"--set optimizer.warmup_epochs={config.epochs / 8:g}"
        )
    replicas = strategy.num_replicas_in_sync
    dataset = build.dataset(config, replicas)
    schedule = build.schedule(config, dataset, replicas)
    with strategy.scope():
        model = build.model(config, dataset, schedule, replicas)
    throughput = ca.ThroughputLogger(
        config.global_batch_size // model.step.microbatches,
        examples_per_epoch=None if config.drop_remainder else dataset.num_train,
    )
    checkpoints = resume.checkpoints(model_dir, strategy)
    epoch, batch = checkpoints.position if checkpoints else (0, 0)
    run_folder.check_data(model_dir, dataset, bool(epoch or batch), chief)
    drift_callbacks = drift.callbacks(
        config, dataset, model_dir / "drift.csv" if chief else None
    )
    evaluated = {}
    try:
        model.fit(
            build.training_data(config, dataset, schedule, epoch, batch),
            validation_data=build.test_data(dataset),
            validation_freq=callbacks.evaluated_epochs(
                schedule.epochs, config.evaluate_every
            ),
            epochs=schedule.epochs,
            steps_per_epoch=schedule.batches_per_epoch,
            # A progress bar on a terminal, one line per epoch in a log.
            verbose=(1 if sys.stdout.isatty() else 2) if chief else 0,
            callbacks=[
                throughput,
                ca.TrainingMonitor(config.max_skipped_steps),
                callbacks.LearningRateLogger(),
                *(callbacks.files(config, model_dir, epoch) if chief else []),
                *drift_callbacks,
                *resume.callbacks(
                    checkpoints, alone=config.strategy != "multi_worker"
                ),
            ],
        )
        if (
            epoch == schedule.epochs
        ):  # An earlier process trained the last epoch.
            evaluated = model.evaluate(
                build.test_data(dataset), verbose=0, return_dict=True
            )
    except tf.errors.InvalidArgumentError as error:
        if dataset.bad_records.error is None:
            raise
        raise ValueError(dataset.bad_records.error) from error
    except (
        tf.errors.DataLossError,
        tf.errors.FailedPreconditionError,  # Too few records.
        tf.errors.NotFoundError,
    ):
        dataset.source.check_files()
        raise
    # All processes take part, because reading a moving mean averages over them.
    network = model.export_network()
    if not chief:
        return None
    # A user may have removed the file.
    rows = resume.history(model_dir / "history.csv")
    last = rows.get(schedule.epochs - 1, {})
    summary = {
        "smoke_test": config.smoke_test,
        "split": config.split,
        "top1": evaluated.get("accuracy", last.get("val_accuracy")),
        # Accuracy on clean images during the last epoch.
        "train_top1": last.get("accuracy"),
        "final_loss": last.get("loss"),
        **start.summary(config, model.attack, list(rows.values())),
        "images_per_second": throughput.images_per_second,
        "step_time_ms": throughput.step_time_ms,
        "steps": schedule.updates,
        "seconds": time.time() - started,
        "method": config.method,
        "batch_size": config.global_batch_size,
        "seed": config.seed,
        "versions": results.versions(),
    }
    results.save_weights(network, model_dir / "network.weights.h5")
    plots.curves(model_dir / "history.csv", model_dir / "curves.png")
    plots.examples(
        network, dataset.test, build.attack(config), model_dir / "examples.png"
    )
    results.write_json(model_dir / "summary.json", summary)
    results.print_summary(summary, model_dir)
    for callback in drift_callbacks:
        drift.finish(callback, model_dir)
    note = statistics_lag.note(network, dataset, summary)
    if note:
        print(f"\n{note}")
    return summary


if __name__ == "__main__":
    command_line.run(main)
