"""tools/analyze.py as a user runs it."""

import csv
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

from PIL import Image
import pytest

import conadv_tf as ca
from experiments import config as config_lib

ROOT = pathlib.Path(__file__).parents[1]


def analyze(*arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "analyze.py"), *arguments],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What experiments/run.py leaves behind, of untrained networks."""
    folder = tmp_path_factory.mktemp("runs")
    for method, seed in (("baseline", 0), ("conadv", 0), ("conadv", 1)):
        run = folder / f"{method}_{seed}"
        run.mkdir()
        config = config_lib.Config(
            method=method,
            seed=seed,
            network=config_lib.Network(depth=8, width=4),
        )
        (run / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
        network = ca.networks.resnet_cifar(8, 10, (8, 8, 1), width=4)
        network.save_weights(run / "network.weights.h5")
    return sorted(map(str, folder.iterdir()))


def test_files_and_table(runs, tmp_path):
    output = tmp_path / "out"
    arguments = (*runs, f"--output_dir={output}", "--num_examples=32")
    result = analyze(
        *arguments,
        "--eigenvalues=1",
        "--pgd_steps=2",
        "--points=3",
        "--directions=1",
        "--epsilons=0.1",
        "--plane",
    )
    assert result.returncode == 0, result.stderr
    expected_rows = {
        "eigenvalues": 3 * 2,
        "landscape": 3 * 3,
        "plane": 3 * 9,
        "robustness": 3 * 3,
    }
    for name, count in expected_rows.items():
        with open(output / f"{name}.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == count, name
        assert {row["run"] for row in rows} == set(runs)
        with Image.open(output / f"{name}.png") as picture:
            assert picture.width > 600
            assert len(picture.getcolors(1 << 24)) > 50
    summary = json.loads((output / "summary.json").read_text())
    groups = {group["method"]: group for group in summary["methods"]}
    assert groups["baseline"]["n"] == 1 and groups["conadv"]["n"] == 2
    assert groups["baseline"]["clean"]["std"] is None
    assert groups["conadv"]["lambda_1"]["std"] > 0
    assert "conadv 128 (n=2)" in result.stdout and "+-" in result.stdout
    assert "pgd2@0.1" in result.stdout

    before = (output / "summary.json").stat().st_mtime_ns
    result = analyze(*arguments)
    assert result.returncode != 0 and "already holds" in result.stderr
    assert "Traceback" not in result.stderr
    assert (output / "summary.json").stat().st_mtime_ns == before


def test_unfinished_run(runs, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    result = analyze(runs[0], str(tmp_path), f"--output_dir={tmp_path / 'o'}")
    assert result.returncode != 0
    assert f"{tmp_path} has no network.weights.h5" in result.stderr
    assert not (tmp_path / "o").exists()
