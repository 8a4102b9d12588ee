"""The flags of run.py, and the configuration that they describe."""

from absl import flags

from experiments import config as config_lib
from experiments import config_fields
from experiments import methods
from experiments import presets
from experiments import unused_settings

FLAGS = flags.FLAGS
_DEFAULT = config_lib.RunConfig()
# Names of all settings.
NAMES = config_fields.names(config_lib.RunConfig)
# {flag: help} of the flags that set a setting. They have its type, default and
# bounds.
_HELP = {
    "method": f"{methods.describe(methods.BASE_METHODS)}.",
    "dataset": "What to train on: one of "
    f"{', '.join(config_lib.DATASETS)}, any other image classification dataset "
    "of tensorflow-datasets, folder:PATH with one folder of images for each "
    "class, or npz:PATH with arrays x_train, y_train, x_test and y_test.",
    "augmentation": "Augmentation of the training images. The baseline trains "
    "on augmented images only; the other methods train on the clean images "
    "and, as a second view with a separate batch norm, on the augmented ones.",
    "global_batch_size": "Images per update over all replicas.",
    "emulate_replicas": "Train exactly as this many replicas of "
    "--per_replica_batch_size images would, one after another; instead of "
    "--global_batch_size.",
    "per_replica_batch_size": "Images of each replica of --emulate_replicas.",
    "epochs": "Passes over the training set.",
    "epsilon": "Radius of the attack for pixels in [0, 1]; 8/255 is 0.0314.",
    "num_steps": "Gradient steps of the attack.",
    "staleness": "Updates between the weights of the attack and the weights "
    "trained on its result, for conadv.",
    "strategy": "Distribution strategy.",
    "tpu": "TPU name, 'local' or grpc:// address.",
    "max_bad_records": "Images without a valid label, or that cannot be "
    "decoded, to skip before the run stops.",
    "max_skipped_steps": "Steps with a gradient that is not finite to skip "
    "before the run stops.",
    "seed": "Seed of all random numbers.",
    "data_dir": "Folder or bucket of prepared tensorflow-datasets.",
}
# Settings of a group that have a flag without the name of the group.
_GROUPED = {
    "epsilon": "attack.epsilon",
    "num_steps": "attack.num_steps",
    "staleness": "step.staleness",
}


def _define(flag, text):
    """Defines the flag of a setting, given its help."""
    setting = _GROUPED.get(flag, flag)
    field = config_fields.settings(config_lib.RunConfig)[setting]
    default = config_fields.value(_DEFAULT, setting)
    kind, _ = config_fields.kind_of(field)
    values = field.metadata.get("values")
    if kind is not str:
        define = flags.DEFINE_integer if kind is int else flags.DEFINE_float
        low = kind(config_fields.bounds(values)[0]) if values else None
        if values and field.metadata["remedy"](low):
            low = None  # The error of the configuration says more.
        define(flag, default, text, lower_bound=low)
    elif values:
        flags.DEFINE_enum(flag, default, values, text)
    else:
        flags.DEFINE_string(flag, default, text)


class _PatternParser(flags.ArgumentParser):
    """Parses a flag that may stand without a pattern, which then is ""."""

    def parse(self, argument):
        """Returns the pattern; None if the flag is negated."""
        return {"true": "", "false": None}.get(argument, argument)


for _flag, _text in _HELP.items():
    _define(_flag, _text)
flags.DEFINE_list(
    "workers", [], "host:port of each process of --strategy=multi_worker."
)
flags.DEFINE_integer(
    "worker_index",
    None,
    "Position of this process in --workers, from 0.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "num_replicas",
    None,
    "Devices of --strategy=mirrored. Without a GPU the CPU is divided.",
    lower_bound=1,
)
flags.DEFINE_string(
    "model_dir",
    None,
    "Folder for the results, which must be empty or new. Default: a new folder "
    "in runs/.",
)
flags.DEFINE_string(
    "preset",
    None,
    "Preset to start from: a row of the paper's tables, or one for the digits. "
    "Other flags change its settings. --list_presets lists them.",
)
flags.DEFINE_flag(
    flags.Flag(
        _PatternParser(),
        None,
        "list_presets",
        None,
        "List the presets and exit. --list_presets=digits lists those with "
        "this part of a name; --list_presets=GROUP lists a group of sweep.py.",
        boolean=True,  # It needs no value.
    )
)
flags.DEFINE_bool(
    "quick",
    False,
    "Run a smoke test: one epoch of a few small batches of noise images, with "
    "the same network, method and optimizer.",
)
flags.DEFINE_multi_string(
    "set",
    [],
    "key=value for all other settings; may be repeated. Keys: "
    + ", ".join(NAMES),
)
flags.DEFINE_integer(
    "checkpoint_every",
    0,
    "Batches between checkpoints; 0 saves at the end of each epoch.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "keep_checkpoints",
    3,
    "Number of the latest checkpoints to keep; 0 saves none.",
    lower_bound=0,
)
flags.DEFINE_bool(
    "resume",
    False,
    "Continue the run in --model_dir, given the same other flags. If the run "
    "is finished, print its summary.",
)


def read_config():
    """Returns the `RunConfig` that the flags describe.

    Raises:
      ValueError: if a value is wrong, is given twice or has no effect.
    """
    _check_checkpoints()
    config = presets.get(FLAGS.preset).config if FLAGS.preset else _DEFAULT
    given = {
        _GROUPED.get(flag, flag): FLAGS[flag].value
        for flag in _HELP
        if FLAGS[flag].present
    }
    by_name = config_fields.parse(config_lib.RunConfig, FLAGS.set)
    for name in given.keys() & by_name.keys():
        raise ValueError(
            f"Expected {name} once; received it as a flag, {given[name]!r}, "
            f"and with --set, {by_name[name]!r}."
        )
    given |= by_name
    config = config_fields.replace(config, given)
    unused_settings.check_given([config], given)
    return config


def check_model_dir(config):
    """Raises a ValueError if several processes would choose their folders."""
    if config.strategy == "multi_worker" and not FLAGS.model_dir:
        raise ValueError(
            "Expected a --model_dir that all workers share with "
            "--strategy=multi_worker; received none."
        )


def _check_checkpoints():
    """Raises a ValueError for flags that require checkpoints without any."""
    for flag in ("resume", "checkpoint_every"):
        if FLAGS[flag].value and not FLAGS.keep_checkpoints:
            raise ValueError(
                f"Expected --keep_checkpoints above 0 with --{flag}; received "
                "0, with which no checkpoints are written or read."
            )
