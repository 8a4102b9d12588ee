"""Runs code in a new Python process."""

import os
import pathlib
import subprocess
import sys

from conadv_tf import keras2

ROOT = pathlib.Path(__file__).parents[1]


def run(code, **variables):
    """Runs code that finds this package.

    Args:
      code: Python code.
      **variables: environment variables. Without any, the variable that chooses
        a version of Keras is not set.

    Returns:
      The `subprocess.CompletedProcess`, with text.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    if not variables:
        environment.pop(keras2.VARIABLE, None)
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
