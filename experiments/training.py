"""Trains and evaluates the configuration of run.py.

Importing this module imports TensorFlow, so run.py does it after it has checked
its flags.
"""

import contextlib
import dataclasses
import json
import sys
import time

from absl import flags
from absl import logging
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import paths
from experiments import build
from experiments import callbacks
from experiments import drift
from experiments import epoch_lines
from experiments import plots
from experiments import results
from experiments import resume
from experiments import run_folder
from experiments import smoke_test
from experiments import start
from experiments import statistics_lag
from experiments import user_callbacks

FLAGS = flags.FLAGS


def run(config, preset=None):
    """Trains a configuration in the folder of the flags.

    An error or a preemption ends the process.

    Args:
      config: the `RunConfig` of the flags; with --quick the one to scale down.
      preset: the `Preset` that it starts from, which is shown with all
        settings; or None.
    """
    model_dir = None
    try:
        strategy = make_strategy(config)
        if FLAGS.quick:
            name = FLAGS.model_dir if FLAGS.resume else None
            config = smoke_test.prepare(config, run_folder.earlier_config(name))
        if preset is not None and is_chief(strategy):
            describe(preset, config)
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


def describe(preset, config):
    """Prints a preset, and its `RunConfig` with the changes of other flags."""
    print(
        f"smoke test of {preset.name}: {preset.source}"
        if config.smoke_test
        else f"{preset.name}: {preset.describe()}"
    )
    print(json.dumps(dataclasses.asdict(config), indent=2))


def make_strategy(config):
    """Returns the distribution strategy of the flags.

    Call it before TensorFlow runs an operation, because it may divide the CPU.

    Args:
      config: the `RunConfig` of the flags.
    """
    if FLAGS.num_replicas and not tf.config.list_physical_devices("GPU"):
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * FLAGS.num_replicas,
        )
    # Otherwise TensorFlow logs each collective and each checkpoint.
    tf.get_logger().setLevel("WARNING")
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    return ca.distribution.strategy(
        config.strategy,
        tpu=config.tpu,
        num_replicas=FLAGS.num_replicas,
        workers=FLAGS.workers,
        worker_index=FLAGS.worker_index,
    )


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
    if config.conditions.is_delayed:
        print(start.describe(config.conditions))
    if (
        config.optimizer.warmup_epochs >= config.epochs
        and not config.smoke_test
    ):
        print(
            "note: the learning rate warms up for all of the "
            f"{config.epochs} epochs and never decays; give a shorter "
            f"--set optimizer.warmup_epochs={config.epochs / 8:g}"
        )
    own_callbacks = user_callbacks.create(config, model_dir, chief)
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
            verbose=0,  # `EpochLines` shows less, and the time left.
            callbacks=[
                throughput,
                ca.TrainingMonitor(config.max_skipped_steps),
                callbacks.LearningRateLogger(),
                *(callbacks.files(config, model_dir, epoch) if chief else []),
                *([epoch_lines.EpochLines()] if chief else []),
                *drift_callbacks,
                *own_callbacks,
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
    cost = build.step(config.step).cost(model.attack, config.views)
    summary = {
        "smoke_test": config.smoke_test,
        "split": config.split,
        "top1": evaluated.get("accuracy", last.get("val_accuracy")),
        # Accuracy on clean images during the last epoch.
        "train_top1": last.get("accuracy"),
        "final_loss": last.get("loss"),
        **start.summary(config, cost, list(rows.values())),
        "images_per_second": throughput.images_per_second,
        "step_time_ms": throughput.step_time_ms,
        "steps": schedule.updates,
        "seconds": time.time() - started,
        "method": config.method,
        "batch_size": config.global_batch_size,
        "seed": config.seed,
        **({"callbacks": FLAGS.callback} if FLAGS.callback else {}),
        "versions": results.versions(),
    }
    results.save_weights(network, model_dir / "network.weights.h5")
    plots.curves(
        model_dir / "history.csv",
        model_dir / "curves.png",
        f"{config.method} on {config.dataset_stem}, "
        f"batch size {config.global_batch_size:,}",
        config.smoke_test,
    )
    plots.examples(
        network,
        dataset.test,
        build.attack(config),
        model_dir / "examples.png",
        config.smoke_test,
    )
    results.write_json(model_dir / "summary.json", summary)
    results.print_summary(summary, model_dir)
    for callback in drift_callbacks:
        drift.finish(callback, model_dir, config.smoke_test)
    note = statistics_lag.note(network, dataset, summary)
    if note:
        print(f"\n{note}")
    return summary
