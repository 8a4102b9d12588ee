"""The console scripts conadv-run, conadv-sweep and conadv-report.

setup.py installs this package as conadv_tf_commands, with `experiments` and
`tools` inside, because top-level packages with these names could clash with
others. This module imports nothing that loads TensorFlow, so that the scripts
can set its log level first.
"""

import pathlib
import runpy


def run():
    """Runs experiments/run.py."""
    _script("conadv-run", "experiments/run.py")


def sweep():
    """Runs experiments/sweep.py."""
    _script("conadv-sweep", "experiments/sweep.py")


def report():
    """Runs tools/report.py."""
    _script("conadv-report", "tools/report.py")


def _script(command, name):
    inside = pathlib.Path(__file__).resolve().parent
    # A checkout has the scripts in its root, an installation in this package.
    root = inside if (inside / "experiments").is_dir() else inside.parents[1]
    runpy.run_path(str(root / name), {"COMMAND": command}, "__main__")
