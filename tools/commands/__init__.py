"""The console scripts conadv-run, conadv-sweep and conadv-report.

Installed as `conadv_tf_commands`, with `experiments` and `tools` in it (see
setup.py): names of their own would be anybody's. It imports nothing that
loads TensorFlow before a script has said how loud that may be.
"""

import pathlib
import runpy


def run():
    """See experiments/run.py."""
    _script("experiments/run.py")


def sweep():
    """See experiments/sweep.py."""
    _script("experiments/sweep.py")


def report():
    """See tools/report.py."""
    _script("tools/report.py")


def _script(name):
    inside = pathlib.Path(__file__).resolve().parent
    # From a checkout they are where they are.
    root = inside if (inside / "experiments").is_dir() else inside.parents[1]
    runpy.run_path(str(root / name), run_name="__main__")
