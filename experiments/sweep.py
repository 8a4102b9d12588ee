r"""Trains a grid of configurations in several processes and tabulates them.

    python experiments/sweep.py --preset=digits_table1 --seeds=2 --quick
    python experiments/sweep.py --method=baseline --method=conadv \
        --global_batch_size=432 --epsilon=0.05 --epsilon=0.1 --seeds=5
    python experiments/sweep.py --preset=digits_1297_conadv \
        --variant=start.epoch=5 --variant=attack.warmup_epochs=10
    python experiments/sweep.py --preset=digits_table1 --seeds=10 \
        --tune_learning_rate=0.5,1,2,4,8 --tune_seeds=2

If a sweep is interrupted, the same command continues it: finished runs are
kept, and the folder of an unfinished run is renamed before the run starts
again. Another command for the same folder adds its runs.

Writes to the output folder: results.csv with a row for each finished run,
updated after each run; results.png; a folder and a log for each run. Tuning
runs and their table, tuning.csv, are in the subfolder tune/.
"""

import pathlib
import sys

# Makes the script work from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app
from absl import flags

from experiments import command_line
from experiments import log_filter
from experiments import user_callbacks
from experiments.sweeps import axes
from experiments.sweeps import sweep_flags

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(sweep_flags)
flags.adopt_module_key_flags(user_callbacks)


def main(argv):
    """Checks the flags and runs the sweep."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}.")
    try:
        specs = sweep_flags.read_specs()
        sweep_flags.read_trials(specs)
        axes.with_seeds(specs, FLAGS.seeds)
        user_callbacks.check()
    except ValueError as error:
        sys.exit(f"error: {error}")
    log_filter.start()
    from experiments.sweeps import sweeping

    sweeping.run(specs)


if __name__ == "__main__":
    command_line.run(main)
