"""Trains a classifier: from flags to a trained model and its plots.

    python experiments/run.py                      # ConAdv on digits, 1 minute
    python experiments/run.py --method=baseline --global_batch_size=432
    python experiments/run.py --set optimizer.momentum=0.95 --seed=3

Writes config.json, history.csv, summary.json, curves.png, examples.png and
network.weights.h5 to --model_dir.
"""

import dataclasses
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

import conadv_tf as ca
from experiments import build
from experiments import config as config_lib
from experiments import plots
from experiments import results
from experiments import resume

_DEFAULT = config_lib.Config()
FLAGS = flags.FLAGS
flags.DEFINE_enum(
    "method",
    _DEFAULT.method,
    config_lib.METHODS,
    "baseline: no attack; disadv: attack, then update; conadv: attack with "
    "stale weights beside the update.",
)
flags.DEFINE_string(
    "dataset",
    _DEFAULT.dataset,
    f"What to train on: one of {', '.join(ca.data.NAMES)}, any other image "
    "classification set of tensorflow-datasets, or folder:PATH with one folder "
    "of images for each class.",
)
flags.DEFINE_enum(
    "augmentation",
    _DEFAULT.augmentation,
    config_lib.AUGMENTATIONS,
    "Of all training images for the baseline; else of a second view beside "
    "the clean one, with a batch norm of its own.",
)
flags.DEFINE_integer(
    "global_batch_size",
    _DEFAULT.global_batch_size,
    "Images per step over all replicas.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "emulate_replicas",
    None,
    "Train exactly as this many replicas of --per_replica_batch_size images "
    "would, one after another; replaces --global_batch_size.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "per_replica_batch_size", None, "See --emulate_replicas.", lower_bound=1
)
flags.DEFINE_integer(
    "epochs", _DEFAULT.epochs, "Passes over the training set.", lower_bound=1
)
flags.DEFINE_float(
    "epsilon",
    _DEFAULT.attack.epsilon,
    "Radius of the attack in pixels of [0, 1] (8/255 is 0.0314).",
    lower_bound=0.0,
)
flags.DEFINE_integer(
    "attack_steps",
    _DEFAULT.attack.num_steps,
    "Gradient steps of the attack.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "staleness",
    _DEFAULT.staleness,
    "Updates the attack's weights are behind, for conadv.",
    lower_bound=1,
)
flags.DEFINE_enum(
    "strategy", _DEFAULT.strategy, ca.distribution.NAMES, "How to distribute."
)
flags.DEFINE_list(
    "workers", [], "host:port of each process of --strategy=multi_worker."
)
flags.DEFINE_integer(
    "worker_index", None, "Which of --workers this is, from 0.", lower_bound=0
)
flags.DEFINE_integer(
    "num_replicas",
    None,
    "Devices of --strategy=mirrored; without a GPU the CPU is divided.",
    lower_bound=1,
)
flags.DEFINE_string("tpu", None, "TPU name, 'local' or grpc:// address.")
flags.DEFINE_integer(
    "max_bad_records",
    _DEFAULT.max_bad_records,
    "Images that cannot be decoded, or without a valid label, to skip before "
    "stopping.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "max_skipped_steps",
    _DEFAULT.max_skipped_steps,
    "Steps with a gradient that is not finite to skip before stopping.",
    lower_bound=0,
)
flags.DEFINE_integer("seed", _DEFAULT.seed, "Seed of everything random.")
flags.DEFINE_string(
    "model_dir",
    None,
    "Folder for the results, which must not hold anything yet; by default a "
    "new one under runs/.",
)
flags.DEFINE_string(
    "data_dir", None, "Folder or bucket of prepared tfds datasets."
)
flags.DEFINE_multi_string(
    "set",
    [],
    "key=value for everything else; may be repeated. Keys: "
    + ", ".join(config_lib.names(_DEFAULT)),
)


def main(argv):
    """Parses flags, trains, and says what came out."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    model_dir = None
    try:
        config = config_from_flags()
        strategy = make_strategy(config)
        if FLAGS.resume:
            model_dir, summary = resume.open_model_dir(FLAGS.model_dir, config)
            if summary is not None:
                results.print_summary(summary, model_dir)
                return
        elif is_chief(strategy):
            model_dir = new_model_dir(FLAGS.model_dir, config)
        train(config, model_dir or pathlib.Path(FLAGS.model_dir), strategy)
    except resume.Preempted:
        resume.preempted(model_dir)
    except (ValueError, FloatingPointError) as error:
        if model_dir is not None:
            results.discard_unused(model_dir)
        sys.exit(f"error: {error}")


def config_from_flags():
    """The configuration that the flags describe."""
    names = {field.name for field in dataclasses.fields(_DEFAULT)}
    config = dataclasses.replace(
        _DEFAULT,
        **{name: FLAGS[name].value for name in sorted(names & set(FLAGS))},
        attack=dataclasses.replace(
            _DEFAULT.attack,
            epsilon=FLAGS.epsilon,
            num_steps=FLAGS.attack_steps,
        ),
    )
    return config_lib.override(config, FLAGS.set)


def make_strategy(config):
    """The strategy of the flags; TensorFlow must not have computed before."""
    if FLAGS.num_replicas and not tf.config.list_physical_devices("GPU"):
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * FLAGS.num_replicas,
        )
    tf.get_logger().setLevel("WARNING")  # Not a line for each collective.
    if config.strategy == "multi_worker" and not FLAGS.model_dir:
        raise ValueError("Several workers need a --model_dir that all share.")
    return ca.distribution.strategy(
        config.strategy,
        config.tpu,
        FLAGS.num_replicas,
        FLAGS.workers,
        FLAGS.worker_index,
    )


def is_chief(strategy):
    """Whether this process writes the files."""
    resolver = strategy.cluster_resolver
    return not (
        resolver and resolver.task_type == "worker" and resolver.task_id
    )


def new_model_dir(name, config):
    """Creates the folder for a run; never one that holds another run.

    Args:
      name: folder, or None for a new one under runs/.
      config: a `Config`, from which a default name is made.

    Returns:
      pathlib.Path of an empty folder.

    Raises:
      ValueError: if the folder holds files or cannot be written.
    """
    if name is None:
        stem = (
            f"{config.dataset}_{config.method}_{config.global_batch_size}"
            f"_seed{config.seed}"
        )
        number = 1
        while (path := pathlib.Path("runs") / f"{stem}_{number}").exists():
            number += 1
    else:
        path = pathlib.Path(name)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ValueError(
                f"--model_dir={name} already holds something, and a run is "
                "never overwritten. Choose a new folder, or remove this one."
            )
    try:
        path.mkdir(parents=True, exist_ok=True)
        results.write_json(path / "config.json", dataclasses.asdict(config))
    except OSError as error:
        raise ValueError(
            f"Cannot write to --model_dir={path}: {error}."
        ) from error
    return path


def train(config, model_dir, strategy):
    """Trains and evaluates one configuration.

    Args:
      config: a `Config`.
      model_dir: pathlib.Path of the folder for the results.
      strategy: a `tf.distribute.Strategy`.

    Returns:
      The summary, as written to summary.json; None in all processes but the
      first.
    """
    started = time.time()
    tf.keras.utils.set_random_seed(config.seed)
    tf.keras.mixed_precision.set_global_policy(config.precision)
    where = ca.distribution.describe(strategy)
    print(f"{config.method} on {config.dataset}: {where}")
    replicas = strategy.num_replicas_in_sync
    dataset = build.dataset(config, replicas)
    schedule = build.schedule(config, dataset, replicas)
    with strategy.scope():
        model = build.model(config, dataset, schedule, replicas)
    throughput = ca.ThroughputLogger(
        config.global_batch_size // model.microbatches,
        examples_per_epoch=None if config.drop_remainder else dataset.num_train,
    )
    checkpoints = resume.checkpoints(model_dir, strategy)
    epoch, batch = checkpoints.position if checkpoints else (0, 0)
    callbacks = [throughput, ca.TrainingHealth(config.max_skipped_steps)]
    callbacks.append(results.LearningRateLogger())
    if is_chief(strategy):
        resume.trim_history(model_dir / "history.csv", epoch)
        callbacks.append(
            tf.keras.callbacks.CSVLogger(
                str(model_dir / "history.csv"), append=epoch > 0
            )
        )
    callbacks += [checkpoints] if checkpoints else []
    callbacks.append(resume.Preemption(checkpoints))
    try:
        model.fit(
            build.training_data(config, dataset, schedule, epoch, batch),
            validation_data=build.test_data(dataset),
            epochs=schedule.epochs,
            steps_per_epoch=schedule.batches_per_epoch,
            verbose="auto" if is_chief(strategy) else 0,
            callbacks=callbacks,
        )
    except tf.errors.InvalidArgumentError as error:
        if dataset.faults.error is None:
            raise
        raise ValueError(dataset.faults.error) from error
    # Of all processes: reading a moving mean takes the mean over them.
    network = model.export_network()
    if not is_chief(strategy):
        return None
    last = resume.last_row(model_dir / "history.csv")
    summary = {
        "top1": last["val_accuracy"],
        "final_loss": last["loss"],
        "images_per_second": throughput.images_per_second,
        "step_time_ms": throughput.step_time_ms,
        "steps": schedule.updates,
        "seconds": time.time() - started,
        "method": config.method,
        "batch_size": config.global_batch_size,
        "seed": config.seed,
        "versions": results.versions(),
    }
    network.save_weights(model_dir / "network.weights.h5")
    plots.curves(model_dir / "history.csv", model_dir / "curves.png")
    plots.examples(
        network, dataset.test, build.attack(config), model_dir / "examples.png"
    )
    results.write_json(model_dir / "summary.json", summary)
    results.print_summary(summary, model_dir)
    return summary


if __name__ == "__main__":
    app.run(main)
