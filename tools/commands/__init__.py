"""The console scripts conadv-run, conadv-sweep and conadv-report.

Installed as the package `conadv_tf_commands`, which contains `experiments` and
`tools` (see setup.py), because top-level packages with these names could clash
with others. The module imports nothing that loads TensorFlow, so that the
scripts can set its log level first.
"""

import pathlib
import runpy


def run():
    """Runs experiments/run.py."""
    _script("experiments/run.py")


def sweep():
    """Runs experiments/sweep.py."""
    _script("experiments/sweep.py")


def report():
    """Runs tools/report.py."""
    _script("tools/report.py")


def _script(name):
    inside = pathlib.Path(__file__).resolve().parent
    # A checkout has the scripts in its root, an installation in this package.
    root = inside if (inside / "experiments").is_dir() else inside.parents[1]
    runpy.run_path(str(root / name), run_name="__main__")
