"""Flags of sweep.py and the runs that they describe."""

from absl import flags

from experiments import methods
from experiments import presets
from experiments.sweeps import axes
from experiments.sweeps import grid
from experiments.sweeps import tuning

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "preset",
    "",
    "Group of presets, from which --method and --global_batch_size select: "
    f"{', '.join(presets.GROUPS)}. Or one preset (see run.py --list_presets), "
    "whose method and batch size they replace. Default: digits.",
)
flags.DEFINE_multi_enum(
    "method",
    [],
    list(methods.METHODS),
    "Method. Flags with one value for each run, such as this one, may be "
    f"repeated. {methods.describe(methods.METHODS)}.",
)
flags.DEFINE_multi_integer(
    "global_batch_size", [], "Images per update.", lower_bound=1
)
flags.DEFINE_multi_float(
    "epsilon", [], "Attack radius, in pixels of [0, 1].", lower_bound=0.0
)
flags.DEFINE_multi_integer(
    "staleness",
    [],
    "Staleness of the attack, for conadv: updates between its weights and the "
    "update that trains on its result, >= 1.",
)
flags.DEFINE_multi_float(
    "learning_rate", [], "Peak learning rate.", lower_bound=0.0
)
flags.DEFINE_multi_string(
    "variant",
    [],
    "Changes, key=value[,key=value] as in --set. Each run that they affect is "
    "run with and without them.",
)
flags.DEFINE_integer("seeds", 5, "Number of seeds: 0, 1, ...", lower_bound=1)
flags.DEFINE_multi_string(
    "set", [], "key=value for every run, as in run.py; may be repeated."
)
flags.DEFINE_bool("quick", False, "Run smoke tests, as in run.py.")
flags.DEFINE_list(
    "tune_learning_rate",
    [],
    "Peak learning rates, separated by commas. The best one is chosen for each "
    "run on held-out training images.",
)
flags.DEFINE_integer(
    "tune_seeds", 2, "Number of seeds to tune with.", lower_bound=1
)
flags.DEFINE_float(
    "tune_fraction",
    0.25,
    "Fraction of the training images to hold out for tuning.",
    lower_bound=0.0,
    upper_bound=1.0,
)
flags.DEFINE_integer("processes", 2, "Runs at the same time.", lower_bound=1)
flags.DEFINE_string(
    "output_dir", None, "Folder for all runs. Default: a folder in runs/."
)
# The flags that vary a setting.
_AXIS_FLAGS = {
    "attack.epsilon": "epsilon",
    "step.staleness": "staleness",
    "optimizer.learning_rate": "learning_rate",
}


def read_specs():
    """Returns the runs that the flags describe, without seeds.

    Returns:
      List of `grid.RunSpec`.

    Raises:
      ValueError: if a flag is invalid, contradicts another or has no effect.
    """
    axis_values = {
        setting: FLAGS[flag].value for setting, flag in _AXIS_FLAGS.items()
    }
    changes = grid.parse_assignments(FLAGS.set)
    for name in changes:
        if axis_values.get(name):
            raise ValueError(
                f"Expected {name} from --set or --{_AXIS_FLAGS[name]}; "
                "received both. Leave one out."
            )
    assignments = list(FLAGS.set)
    rates = FLAGS.learning_rate or _tuned_rates()
    is_set = "optimizer.learning_rate" in changes
    if rates and "optimizer.name" in changes and not is_set:
        # LAMB refuses the default rate, which is for LARS.
        assignments.append(f"optimizer.learning_rate={rates[0]}")
    specs = grid.make_specs(
        FLAGS.preset, FLAGS.method, FLAGS.global_batch_size, assignments
    )
    specs = axes.with_axes(specs, axis_values)
    return axes.with_variants(specs, FLAGS.variant)


def read_trials(specs):
    """Returns the runs with which the learning rates are tuned.

    Args:
      specs: list of `grid.RunSpec`, without seeds.

    Returns:
      List of `grid.RunSpec`, with seeds; empty without --tune_learning_rate.

    Raises:
      ValueError: if a learning rate is not a number, or is also set by another
        flag.
    """
    if not FLAGS.tune_learning_rate:
        for flag in ("tune_seeds", "tune_fraction"):
            if FLAGS[flag].present:
                raise ValueError(
                    f"Expected --tune_learning_rate with --{flag}, which has "
                    "no effect without it; received none."
                )
        return []
    also_set = [f"--learning_rate={rate}" for rate in FLAGS.learning_rate]
    also_set += [
        f"--{flag}={text}"
        for flag in ("variant", "set")
        for text in FLAGS[flag].value
        if "optimizer.learning_rate" in text
    ]
    if also_set:
        raise ValueError(
            "Expected learning rates to be either tuned or set; received "
            f"--tune_learning_rate and {' '.join(also_set)}. Leave one out."
        )
    trials = tuning.trials(specs, _tuned_rates(), FLAGS.tune_fraction)
    return axes.with_seeds(trials, FLAGS.tune_seeds)


def _tuned_rates():
    """Returns the numbers of --tune_learning_rate."""
    try:
        return [float(rate) for rate in FLAGS.tune_learning_rate]
    except ValueError:
        raise ValueError(
            "Expected numbers separated by commas in --tune_learning_rate; "
            f"received {FLAGS.tune_learning_rate}."
        ) from None
