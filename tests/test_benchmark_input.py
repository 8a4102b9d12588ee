"""tools/benchmark_input.py as a user runs it, with a few small images."""

import csv
import os
import pathlib
import subprocess
import sys

from PIL import Image
import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.slow
def test_tables_and_plot_are_written(tmp_path):
    result = subprocess.run(
        [
            sys.executable,
            str(ROOT / "tools" / "benchmark_input.py"),
            f"--output_dir={tmp_path / 'out'}",
            "--image_size=32",
            "--batch_size=2",
            "--files=4",
            "--batches=2",
            "--repeats=1",
            "--images=40",
        ],
        env={**os.environ, "TFDS_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    with open(tmp_path / "out" / "rates.csv", newline="") as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert float(rows["photos: plain loop"]["ratio_to_plain"]) == 1.0
    for name in ("photos: one view", "photos: two views", "photos: evaluation"):
        assert float(rows[name]["images_per_core_second"]) > 0
        assert float(rows[name]["core_ratio_to_plain"]) > 0
        assert name in result.stdout
    with open(tmp_path / "out" / "memory.csv", newline="") as file:
        memory = list(csv.DictReader(file))
    assert [int(row["images"]) for row in memory] == list(range(4, 41, 4))
    assert all(float(row["resident_mib"]) > 50 for row in memory)
    with Image.open(tmp_path / "out" / "input.png") as picture:
        assert len(picture.getcolors(1 << 24)) > 50
