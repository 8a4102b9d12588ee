"""Reports on a sweep: tables, statistical tests and plots.

    python tools/report.py runs/digits            # report.md and PNG files
    python tools/report.py runs/digits --html     # and report.html, one file

Takes a folder of experiments/sweep.py, finished or not, prints its tables and
writes them to --output_dir: top-1 by method and batch size beside the paper's,
gains over the baseline paired by seed with intervals and corrected tests,
ConAdv against DisAdv, accuracy against epsilon and tau, variants, speed,
missing runs, commands and versions. report.html opens without a server or a
network. Needs pandas: pip install -e ".[report]".
"""

import pathlib
import shlex
import sys

# The script runs from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app
from absl import flags

from experiments import command_line
from experiments import log_filter

FLAGS = flags.FLAGS
flags.DEFINE_bool("html", False, "Also write report.html.")
flags.DEFINE_string(
    "output_dir",
    None,
    "Folder for the report, whose files are overwritten; by default "
    "SWEEP/report.",
)
flags.DEFINE_float(
    "epsilon",
    None,
    "Radius at which to compare a method that has several; by default the one "
    "with the most seeds.",
    lower_bound=0.0,
)
flags.DEFINE_float(
    "margin",
    0.5,
    "Points of top-1 within which ConAdv and DisAdv count as equal. Choose it "
    "before you see the results.",
)


def main(argv):
    """Reads the sweep, writes the report and prints its tables."""
    if len(argv) != 2:
        raise app.UsageError(f"Expected one sweep; received {argv[1:]}.")
    if not FLAGS.margin > 0:
        sys.exit(f"error: Expected --margin > 0; received {FLAGS.margin}.")
    log_filter.start()
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        sys.exit(f'error: {error}. Install it: pip install -e ".[report]"')
    from conadv_tf import paths
    from tools.sweep_report import page
    from tools.sweep_report import report
    from tools.sweep_report import seed_groups
    from tools.sweep_report import sweep as sweep_lib

    folder = paths.as_path(argv[1])
    output_dir = paths.as_path(FLAGS.output_dir or folder / "report")
    command = shlex.join([*command_line.command(), *sys.argv[1:]])
    try:
        sweep = sweep_lib.read_sweep(folder)
        runs = seed_groups.comparable_runs(sweep, FLAGS.epsilon, FLAGS.margin)
        output_dir.mkdir(parents=True, exist_ok=True)
        sections = report.contents(sweep, runs, command, output_dir)
        title = report.title(sweep, runs)
        page.write(title, sections, output_dir, FLAGS.html)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    command_line.run(main)
