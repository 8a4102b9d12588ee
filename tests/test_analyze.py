"""The output of tools/analyze.py, and the comparison of runs."""

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
from experiments.results import MeanStd
from tools.runs import trained_runs

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
    """Folders of finished runs of experiments/run.py, of untrained networks."""
    folder = tmp_path_factory.mktemp("runs")
    for method, seed in (("baseline", 0), ("conadv", 1)):
        run = folder / f"{method}_{seed}"
        run.mkdir()
        config = config_lib.RunConfig(
            method=method,
            seed=seed,
            network=config_lib.NetworkConfig(depth=8, width=4),
        )
        (run / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
        network = ca.networks.resnet_cifar(8, 10, (8, 8, 1), width=4)
        network.save_weights(run / "network.weights.h5")
    return sorted(map(str, folder.iterdir()))


@pytest.mark.slow
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
    )
    assert result.returncode == 0, result.stderr
    expected_rows = {
        "eigenvalues": 2 * 2,
        "landscape": 2 * 3,
        "robustness": 2 * 3,
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
    assert groups["baseline"]["n"] == groups["conadv"]["n"] == 1
    assert "conadv 128 (n=1)" in result.stdout
    assert "pgd2@0.1" in result.stdout

    before = (output / "summary.json").stat().st_mtime_ns
    result = analyze(*arguments)
    assert result.returncode != 0 and "already holds" in result.stderr
    assert "Traceback" not in result.stderr
    assert (output / "summary.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_unfinished_run(runs, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    result = analyze(runs[0], str(tmp_path), f"--output_dir={tmp_path / 'o'}")
    assert result.returncode != 0
    assert f"{tmp_path} has no network.weights.h5" in result.stderr
    assert not (tmp_path / "o").exists()


# Measurements on images of another size or of another split are not comparable.
# A baseline on augmented images is another method.
def test_runs_on_different_images_are_not_compared(tmp_path):
    def run(name, **settings):
        folder = tmp_path / name
        folder.mkdir()
        config = dataclasses.asdict(config_lib.RunConfig(**settings))
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "network.weights.h5").touch()
        return trained_runs.TrainedRun(folder)

    augmented = {"augmentation": "autoaugment_digits"}
    runs = {
        "aa": run("a", method="baseline", **augmented),
        "conadv_aa": run("b", **augmented),
        "disadv": run("c", method="disadv"),
    }
    assert [each.identity["method"] for each in runs.values()] == [*runs]
    trained_runs.check_comparable(list(runs.values()))
    for name, value in (("image_size", 16), ("validation_fraction", 0.2)):
        with pytest.raises(ValueError, match=rf"one {name},.*'{value}'"):
            other = run(name, **{name: value})
            trained_runs.check_comparable([runs["aa"], other])


def test_comparison_by_method(capsys):
    tables = {"robustness": [], "eigenvalues": [], "landscape": []}
    for run, method, value in (("a", "x", 1.0), ("b", "y", 2.0), ("c", "y", 4)):
        common = {"run": run, "method": method, "batch_size": 8}
        tables["robustness"] += [
            {**common, "attack": "none", "epsilon": 0.0, "accuracy": value},
            {**common, "attack": "fgsm", "epsilon": 0.1, "accuracy": -value},
            {**common, "attack": "fgsm", "epsilon": 0.2, "accuracy": 0.0},
        ]
        tables["eigenvalues"] += [
            {
                **common,
                "filter_normalized": normalized,
                "index": index,
                "eigenvalue": 10 * value * (2 if normalized else 1) / index,
            }
            for normalized in (False, True)
            for index in (1, 2)
        ]
        tables["landscape"] += [
            {**common, "direction": direction, "offset": a, "loss": loss}
            for direction in (0, 1)
            for a, loss in ((-0.5, 5.0), (0.0, 1.0), (0.5, 5.0 + value))
        ]
    compared = trained_runs.compare(tables, 0.1)
    (count, one), (number, two) = compared["x", 8], compared["y", 8]
    assert (count, number) == (1, 2)
    assert one["clean"] == MeanStd(1.0, None)
    assert two["clean"] == MeanStd(3.0, pytest.approx(2**0.5))
    assert two["fgsm@0.1"].mean == -3.0
    assert two["lambda_1"].mean == 30.0
    assert two["filter-normalized lambda_1"].mean == 60.0
    assert two["loss rise at 0.5"].mean == pytest.approx(5.5)
    trained_runs.print_table(compared)
    output = capsys.readouterr().out
    assert "y 8 (n=2)" in output and "30 +- 14" in output
    row = trained_runs.as_rows(compared)[1]
    assert (row["method"], row["n"]) == ("y", 2)
    assert row["fgsm@0.1"]["mean"] == -3.0
