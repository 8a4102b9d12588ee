"""The flags of run.py, and the configuration and strategy they describe."""

from absl import flags
from absl import logging
import tensorflow as tf

import conadv_tf as ca
from experiments import config as config_lib
from experiments import config_fields
from experiments import methods
from experiments import presets
from experiments import unused_settings

_DEFAULT = config_lib.RunConfig()
FLAGS = flags.FLAGS
flags.DEFINE_enum(
    "method",
    _DEFAULT.method,
    list(methods.BASE_METHODS),
    methods.describe(methods.BASE_METHODS) + ".",
)
flags.DEFINE_string(
    "dataset",
    _DEFAULT.dataset,
    f"What to train on: one of {', '.join(ca.data.NAMES)}, any other image "
    "classification set of tensorflow-datasets, folder:PATH with one folder "
    "of images for each class, or npz:PATH with arrays x_train, y_train, "
    "x_test and y_test.",
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
    "would, one after another; in place of --global_batch_size.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "per_replica_batch_size", None, "See --emulate_replicas.", lower_bound=1
)
flags.DEFINE_alias("per_replica_batch", "per_replica_batch_size")
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
    "num_steps",
    _DEFAULT.attack.num_steps,
    "Gradient steps of the attack.",
    lower_bound=1,
)
flags.DEFINE_alias("attack_steps", "num_steps")
flags.DEFINE_integer(
    "staleness",
    _DEFAULT.staleness,
    "Updates the attack's weights are behind, for conadv.",
    lower_bound=0,
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
    "Run a smoke test: one epoch of a few small batches of noise images, with "
    "the same network, method and optimizer.",
)
flags.DEFINE_multi_string(
    "set",
    [],
    "key=value for everything else; may be repeated. Keys: "
    + ", ".join(config_fields.names(config_lib.RunConfig)),
)
# Settings of groups that have a flag of their own.
_GROUPED = {"epsilon": "attack.epsilon", "num_steps": "attack.num_steps"}


def read_config():
    """The configuration that the flags describe.

    Raises:
      ValueError: if a value does not fit, is given twice, or is given and
        has no effect.
    """
    config = presets.get(FLAGS.preset).config if FLAGS.preset else _DEFAULT
    given = {}
    for flag in FLAGS:
        name = _GROUPED.get(flag, flag)
        if FLAGS[flag].present and name in config_fields.names(
            config_lib.RunConfig
        ):
            given[name] = FLAGS[flag].value
    by_name = config_fields.parse(config_lib.RunConfig, FLAGS.set)
    for name in given.keys() & by_name.keys():
        raise ValueError(
            f"Expected {name} once; received it as a flag, {given[name]!r}, "
            f"and with --set, {by_name[name]!r}."
        )
    given.update(by_name)
    config = config_fields.replace(config, given)
    unused_settings.check_given([config], given)
    return config


def make_strategy(config):
    """The strategy of the flags; TensorFlow must not have computed before."""
    if FLAGS.num_replicas and not tf.config.list_physical_devices("GPU"):
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * FLAGS.num_replicas,
        )
    # Not a line for each collective and each checkpoint.
    tf.get_logger().setLevel("WARNING")
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    if config.strategy == "multi_worker" and not FLAGS.model_dir:
        raise ValueError("Several workers need a --model_dir that all share.")
    return ca.distribution.strategy(
        config.strategy,
        tpu=config.tpu,
        num_replicas=FLAGS.num_replicas,
        workers=FLAGS.workers,
        worker_index=FLAGS.worker_index,
    )
