"""The flags of sweep.py, and the settings they describe."""

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
    "A group of presets, whose rows --method and --global_batch_size select: "
    f"{', '.join(presets.GROUPS)}. Or one preset (run.py --list_presets), "
    "which they change. By default digits.",
)
flags.DEFINE_multi_enum(
    "method",
    [],
    list(methods.METHODS),
    "Methods to run; may be repeated, as all that follow but --seeds. "
    f"{methods.describe(methods.METHODS)}.",
)
flags.DEFINE_multi_integer(
    "global_batch_size", [], "Batch sizes to run.", lower_bound=1
)
flags.DEFINE_multi_float(
    "epsilon", [], "Radii of the attack to run.", lower_bound=0.0
)
flags.DEFINE_multi_integer(
    "staleness", [], "Values of tau to run.", lower_bound=0
)
flags.DEFINE_multi_float(
    "learning_rate", [], "Peak learning rates to run.", lower_bound=0.0
)
flags.DEFINE_multi_string(
    "variant",
    [],
    "key=value[,key=value], as in --set, for a second run of every row that "
    "it changes, beside the row as it is.",
)
flags.DEFINE_integer("seeds", 5, "Seeds 0, 1, ... to run.", lower_bound=1)
flags.DEFINE_multi_string(
    "set", [], "key=value for every run, as in run.py; may be repeated."
)
flags.DEFINE_bool(
    "quick", False, "Run a smoke test of every run, as in run.py."
)
flags.DEFINE_list(
    "tune_learning_rate",
    [],
    "Peak rates, separated by commas, to choose from for each row and radius: "
    "trained on a part of the training images, compared on the rest of them.",
)
flags.DEFINE_integer(
    "tune_seeds", 2, "Seeds for each rate that is tried.", lower_bound=1
)
flags.DEFINE_float(
    "tune_fraction",
    0.25,
    "Of the training images, to compare rates on.",
    lower_bound=0.0,
    upper_bound=1.0,
)
flags.DEFINE_integer("processes", 2, "Runs at once.", lower_bound=1)
flags.DEFINE_string(
    "output_dir", None, "Folder of the runs; by default one under runs/."
)
# What sets a value in all rows, where an axis or tuning would set it again.
_AXES = {
    "attack.epsilon": "epsilon",
    "staleness": "staleness",
    "optimizer.learning_rate": "learning_rate",
}


def read_settings():
    """The settings that the flags describe, which lack seeds.

    Returns:
      List of `grid.Cell`.

    Raises:
      ValueError: if a flag is wrong, contradicts another or has no effect.
    """
    for name in grid.parse(FLAGS.set):
        if name in _AXES and FLAGS[_AXES[name]].value:
            raise ValueError(
                f"Expected {name} from --set or --{_AXES[name]}; received both."
            )
    found = grid.rows(
        FLAGS.preset, FLAGS.method, FLAGS.global_batch_size, FLAGS.set
    )
    found = axes.with_axes(
        found, FLAGS.epsilon, FLAGS.staleness, FLAGS.learning_rate
    )
    return axes.with_variants(found, FLAGS.variant)


def read_tuning(settings):
    """The cells that the flags choose learning rates by.

    Args:
      settings: list of `grid.Cell`.

    Returns:
      List of `grid.Cell`, seeds included; empty if nothing is tuned.

    Raises:
      ValueError: if a rate is no number, or rates are set otherwise too.
    """
    if not FLAGS.tune_learning_rate:
        for flag in ("tune_seeds", "tune_fraction"):
            if FLAGS[flag].present:
                raise ValueError(
                    f"Expected --tune_learning_rate with --{flag}; received "
                    "none, so that nothing is tuned."
                )
        return []
    set_otherwise = [f"--learning_rate={rate}" for rate in FLAGS.learning_rate]
    set_otherwise += [
        f"--{flag}={text}"
        for flag in ("variant", "set")
        for text in FLAGS[flag].value
        if "optimizer.learning_rate" in text
    ]
    if set_otherwise:
        raise ValueError(
            "Expected rates to be tuned or set; received --tune_learning_rate "
            f"and {' '.join(set_otherwise)}."
        )
    try:
        rates = [float(rate) for rate in FLAGS.tune_learning_rate]
    except ValueError:
        raise ValueError(
            "Expected numbers separated by commas in --tune_learning_rate; "
            f"received {FLAGS.tune_learning_rate}."
        ) from None
    tried = tuning.cells(settings, rates, FLAGS.tune_fraction)
    return axes.with_seeds(tried, FLAGS.tune_seeds)
