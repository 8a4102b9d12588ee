"""Trains a classifier: from flags to a trained model and its plots.

    python experiments/run.py                      # ConAdv on digits, 1 minute
    python experiments/run.py --method=baseline --global_batch_size=432
    python experiments/run.py --set optimizer.momentum=0.95 --seed=3
    python experiments/run.py --preset=resnet50_96k_conadv_aa --tpu=local

Writes config.json, history.csv, summary.json, curves.png, examples.png and
network.weights.h5 to --model_dir.
"""

import dataclasses
import json
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
from experiments import presets
from experiments import rehearsal
from experiments import results

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
flags.DEFINE_string(
    "preset",
    None,
    "A row of the paper, or of digits, to start from; other flags change it. "
    "See --list_presets.",
)
flags.DEFINE_bool("list_presets", False, "List the presets and stop.")
flags.DEFINE_bool(
    "quick",
    False,
    "Rehearse: one epoch of a few small batches on made images of the same "
    "structure, with the same network, method and optimizer.",
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
    if FLAGS.list_presets:
        for preset in presets.PRESETS.values():
            print(f"{preset.name:36} {preset.describe()}")
        return
    model_dir = None
    try:
        config = config_from_flags()
        model_dir = new_model_dir(FLAGS.model_dir, config)
        train(config, model_dir)
    except (ValueError, FloatingPointError) as error:
        if model_dir is not None:
            results.discard_unused(model_dir)
        sys.exit(f"error: {error}")


def config_from_flags():
    """The configuration that the flags describe."""
    config = _DEFAULT
    if FLAGS.preset:
        preset = presets.get(FLAGS.preset)
        print(f"{preset.name}: {preset.describe()}")
        config = preset.config
    given = {name for name in FLAGS if FLAGS[name].present}
    fields = {field.name for field in dataclasses.fields(config)}
    attack = {"epsilon": "epsilon", "attack_steps": "num_steps"}
    config = dataclasses.replace(
        config,
        **{name: FLAGS[name].value for name in given & fields},
        attack=dataclasses.replace(
            config.attack,
            **{attack[name]: FLAGS[name].value for name in given & set(attack)},
        ),
    )
    config = config_lib.override(config, FLAGS.set)
    if FLAGS.preset:
        print(json.dumps(dataclasses.asdict(config), indent=2))
    return rehearsal.shrink(config) if FLAGS.quick else config


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


def train(config, model_dir):
    """Trains and evaluates one configuration.

    Args:
      config: a `Config`.
      model_dir: pathlib.Path of an existing folder for the results.

    Returns:
      The summary, as written to summary.json.
    """
    started = time.time()
    tf.keras.utils.set_random_seed(config.seed)
    tf.keras.mixed_precision.set_global_policy(config.precision)
    strategy = ca.distribution.strategy(config.strategy, config.tpu)
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
    try:
        history = model.fit(
            build.training_data(config, dataset, schedule),
            validation_data=build.test_data(dataset),
            epochs=schedule.epochs,
            steps_per_epoch=schedule.batches_per_epoch,
            callbacks=[
                throughput,
                ca.TrainingHealth(config.max_skipped_steps),
                LearningRateLogger(),
                tf.keras.callbacks.CSVLogger(str(model_dir / "history.csv")),
                *tensorboard(config, model_dir),
            ],
        ).history
    except tf.errors.InvalidArgumentError as error:
        if dataset.faults.error is None:
            raise
        raise ValueError(dataset.faults.error) from error
    summary = {
        "top1": history["val_accuracy"][-1],
        "final_loss": history["loss"][-1],
        "images_per_second": throughput.images_per_second,
        "step_time_ms": throughput.step_time_ms,
        "steps": schedule.updates,
        "seconds": time.time() - started,
        "method": config.method,
        "batch_size": config.global_batch_size,
        "seed": config.seed,
        "versions": results.versions(),
    }
    network = model.export_network()
    network.save_weights(model_dir / "network.weights.h5")
    plots.curves(model_dir / "history.csv", model_dir / "curves.png")
    plots.examples(
        network, dataset.test, build.attack(config), model_dir / "examples.png"
    )
    results.write_json(model_dir / "summary.json", summary)
    results.print_summary(summary, model_dir)
    return summary


def tensorboard(config, model_dir):
    """Keras's TensorBoard callback, or none, as a list."""
    if not config.tensorboard and config.profile_batches is None:
        return []
    profile = config.profile_batches
    return [
        tf.keras.callbacks.TensorBoard(
            str(model_dir / "tensorboard"),
            profile_batch=[int(n) for n in profile.split(",")]
            if profile
            else 0,
        )
    ]


class LearningRateLogger(tf.keras.callbacks.Callback):
    """Adds the learning rate of the last update to an epoch's logs."""

    def on_epoch_end(self, epoch, logs=None):
        """Reads it from the optimizer."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


if __name__ == "__main__":
    app.run(main)
