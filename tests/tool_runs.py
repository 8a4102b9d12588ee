"""Runs tools in processes, as a user does."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
# Flags of the tools that measure a training step.
TINY = ("--network=resnet_cifar8x2", "--image_size=8", "--batch_size=2")


def run_tool(name, output, *arguments, path=ROOT):
    return subprocess.run(
        [
            sys.executable,
            str(ROOT / "tools" / f"{name}.py"),
            f"--output_dir={output}",
            *arguments,
        ],
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=True,
    )
