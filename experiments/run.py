"""Trains and evaluates a classifier.

    python experiments/run.py                      # ConAdv on digits, 1 minute
    python experiments/run.py --method=baseline --global_batch_size=432
    python experiments/run.py --set optimizer.momentum=0.95 --seed=3
    python experiments/run.py --preset=resnet50_96k_conadv_aa --tpu=local

Writes config.json, history.csv, summary.json, curves.png, examples.png and
network.weights.h5 to --model_dir.
"""

import pathlib
import sys

# Allows running this script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app
from absl import flags

from experiments import command_line
from experiments import log_filter
from experiments import preset_list
from experiments import presets
from experiments import run_flags
from experiments import user_callbacks

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(run_flags)
flags.adopt_module_key_flags(user_callbacks)


def main(argv):
    """Trains one configuration, or lists the presets."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}.")
    try:
        if FLAGS.list_presets is not None:
            found = preset_list.matching(FLAGS.list_presets)
            command_line.print_text("\n".join(preset_list.lines(found)))
            return
        config = run_flags.read_config()
        run_flags.check_model_dir(config)
        user_callbacks.check()
    except ValueError as error:
        sys.exit(f"error: {error}")
    log_filter.start()
    from experiments import training

    training.run(config, FLAGS.preset and presets.get(FLAGS.preset))


if __name__ == "__main__":
    command_line.run(main, run_flags.NAMES)
