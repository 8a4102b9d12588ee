"""Reports on a sweep: tables, tests, pictures.

    python tools/report.py runs/digits            # report.md and PNG files
    python tools/report.py runs/digits --html     # and report.html, one file

Takes a folder of experiments/sweep.py, finished or not, prints its tables and
writes them to --output_dir: top-1 by method and batch size beside the paper's,
gains over the baseline paired by seed with intervals and corrected tests,
ConAdv against DisAdv, accuracy against epsilon and tau, variants, speed, what
is missing, commands and versions. report.html opens without a server or a
network.
"""

import os
import pathlib
import shlex
import sys

# TensorFlow's start-up messages are noise here; set it yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Runs as a script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app
from absl import flags

from conadv_tf import paths
from experiments import command_line
from tools.sweep_report import groups as groups_lib
from tools.sweep_report import report
from tools.sweep_report import runs

FLAGS = flags.FLAGS
flags.DEFINE_bool("html", False, "Also write report.html.")
flags.DEFINE_string(
    "output_dir",
    None,
    "Folder for the report, written over; by default SWEEP/report.",
)
flags.DEFINE_float(
    "epsilon",
    None,
    "Radius to compare with where a method has several; by default that with "
    "most seeds.",
    lower_bound=0.0,
)
flags.DEFINE_float(
    "margin",
    0.5,
    "Points of top-1 within which ConAdv and DisAdv count as equal. To be "
    "chosen before the results are seen.",
)


def main(argv):
    """Reads the sweep, writes the report, prints its tables."""
    if len(argv) != 2:
        raise app.UsageError(f"Expected one sweep; received {argv[1:]}.")
    folder = paths.as_path(argv[1])
    output_dir = paths.as_path(FLAGS.output_dir or folder / "report")
    command = shlex.join(["python", "tools/report.py", *sys.argv[1:]])
    try:
        if not FLAGS.margin > 0:
            raise ValueError(f"Expected --margin > 0; received {FLAGS.margin}.")
        sweep = runs.read_sweep(folder)
        groups = groups_lib.of_sweep(sweep, FLAGS.epsilon)
        output_dir.mkdir(parents=True, exist_ok=True)
        found = report.contents(
            sweep, groups, FLAGS.margin, command, output_dir
        )
        title = report.title(sweep, groups)
        report.write(title, found, output_dir, FLAGS.html)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    command_line.run(main)
