"""experiments/run.py as a user runs it, and the files that it writes."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import csv_file
from experiments import callbacks
from experiments import methods
from experiments import plots
from tests import in_process
from tests.marks import all_slow_but
from tools.runs import trained_runs

ROOT = pathlib.Path(__file__).parents[1]
QUICK = ("--epochs=2", "--set=network.depth=8", "--set=network.width=4")


def run(script, *arguments, cwd=ROOT, **variables):
    environment = {**os.environ, **variables}
    environment.pop("TF_CPP_MIN_LOG_LEVEL")  # The command sets it.
    return subprocess.run(
        [sys.executable, str(ROOT / "experiments" / script), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Function that trains a method and returns its folder and output."""
    folder = tmp_path_factory.mktemp("runs")

    @functools.cache
    def train(method, *flags):
        path = folder / f"{method}{len(flags)}"
        result = run(
            "run.py",
            f"--method={method}",
            f"--model_dir={path}",
            *flags,
            *QUICK,
            cwd=folder,
            # The first run prepares the digits without printing to stderr.
            TFDS_DATA_DIR=str(folder / "tfds"),
        )
        assert result.returncode == 0, result.stderr
        return path, result.stdout, result.stderr

    return train


METHODS = all_slow_but(["conadv"], methods.COMPARED)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_writes_its_files(finished, method):
    folder, output, errors = finished(method)
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary) == {
        "top1",
        "train_top1",
        "final_loss",
        "delayed",
        "attack_started",
        "mean_cost",
        "images_per_second",
        "step_time_ms",
        "steps",
        "seconds",
        "method",
        "batch_size",
        "seed",
        "split",
        "smoke_test",
        "versions",
    }
    assert summary["method"] == method and summary["steps"] == 20
    assert 0 < summary["top1"] < 1 and summary["images_per_second"] > 0
    rows = csv_file.read(folder / "history.csv")
    assert len(rows) == 2
    assert float(rows[-1]["val_accuracy"]) == summary["top1"]
    assert float(rows[-1]["accuracy"]) == summary["train_top1"]
    for name in ("curves.png", "examples.png"):
        with Image.open(folder / name) as picture:
            assert picture.width > 600 and len(picture.getcolors(1 << 24)) > 50
    # The first run writes the digits. A line for each epoch fits a terminal.
    lines = output.splitlines()
    assert "ownloading" not in output
    (header,) = (n for n, line in enumerate(lines) if "time left" in line)
    assert lines[header + 1].startswith("  1/2    ")
    assert lines[header + 2].startswith("  2/2    ") and not lines[header + 3]
    assert max(map(len, lines[header : header + 3])) <= 80
    assert f"{summary['top1']:.2%}" in lines[header + 2]
    assert "\b" not in output and "\r" not in output and not errors
    assert f"{summary['top1']:.2%}" in output
    assert str(folder) in output
    assert "for all of the 2 epochs" in output


# The name of the weights file once told Keras the wrong format.
@pytest.mark.parametrize("method", METHODS)
def test_the_weights_of_a_run_load(finished, method):
    dataset = ca.data.load("digits", 8)
    folder, *_ = finished(method)
    network = trained_runs.TrainedRun(folder).network(dataset)
    correct = np.concatenate(
        [
            np.argmax(network(images), -1) == labels
            for images, labels in dataset.test
        ]
    )
    summary = json.loads((folder / "summary.json").read_text())
    assert correct.mean() == pytest.approx(summary["top1"])


@pytest.mark.slow
def test_methods_differ_only_in_the_method(finished):
    configs = []
    for method in methods.COMPARED:
        folder, *_ = finished(method)
        configs.append(json.loads((folder / "config.json").read_text()))
        configs[-1].pop("method")
        configs[-1].pop("step")
        configs[-1].pop("drift_every")
    assert configs[0] == configs[1] == configs[2]


def test_a_finished_run_is_not_overwritten(finished):
    folder, *_ = finished("conadv")
    before = (folder / "summary.json").read_text()
    with pytest.raises(SystemExit, match=f"{folder}.*overwritten"):
        in_process.main(f"--model_dir={folder}", *QUICK)
    assert (folder / "summary.json").read_text() == before


@pytest.mark.slow
def test_a_run_measures_its_drift(finished):
    folder, output, _ = finished("conadv", "--set=drift_every=7")
    rows = csv_file.read(folder / "drift.csv")
    assert [(row["epoch"], row["step"]) for row in rows] == [
        ("0", "7"),
        ("1", "14"),
    ]
    theorem = json.loads((folder / "drift.json").read_text())["theorem_1"]
    assert theorem["measured"] == pytest.approx(
        np.mean([float(row["gradient_norm"]) ** 2 for row in rows])
    )
    assert f"signs agree {float(rows[-1]['sign_agreement']):.1%}" in output
    with Image.open(folder / "drift.png") as picture:
        assert picture.width > 1000 and len(picture.getcolors(1 << 24)) > 50


# More wrong flags are tested in tests/test_documents.py.
@pytest.mark.parametrize(
    "flag, message",
    [
        ("--dataset=no_such_set", "'no_such_set'"),
        ("--set=network.name=resnet50", "resnet with network.depth=50"),
        ("--global_batch_size=5000", "1297"),
        ("--strategy=tpu", "'local'"),
    ],
)
def test_wrong_flags_say_what_is_allowed(flag, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        in_process.main(flag, f"--model_dir={tmp_path / 'x'}")
    assert not (tmp_path / "x").exists()  # The corrected command can use it.


# The text is long, and nobody needs it without a machine to train on.
def test_the_settings_of_a_preset_follow_the_strategy(tmp_path, capsys):
    with pytest.raises(SystemExit, match="TPU 'local' could not be reached"):
        in_process.main("--preset=resnet50_1k_conadv", "--tpu=local")
    assert not capsys.readouterr().out


def fit(path, first, epochs, every):
    """Trains the epochs from `first` on and writes the history to a file."""
    model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["accuracy"])
    images = np.ones((4, 2), np.float32)
    return model.fit(
        images,
        images[:, :1],
        validation_data=(images, images[:, :1]),
        validation_freq=callbacks.evaluated_epochs(epochs, every),
        initial_epoch=first,
        epochs=epochs,
        verbose=0,
        callbacks=[callbacks.HistoryFile(path, first)],
    ).history


def test_the_history_file_has_the_logs_of_each_epoch(tmp_path):
    path = tmp_path / "history.csv"
    history = fit(path, 0, 5, 2)
    rows = csv_file.read(path)
    assert list(rows[0]) == ["epoch", *sorted(history)]
    assert [row["epoch"] for row in rows] == list("01234")
    assert [float(row["loss"]) for row in rows] == history["loss"]
    assert [float(rows[n]["val_loss"]) for n in (1, 3, 4)] == history[
        "val_loss"
    ]
    assert rows[0]["val_loss"] == rows[2]["val_loss"] == ""
    plots.curves(path, tmp_path / "curves.png")


def test_a_resumed_run_replaces_the_rows_of_epochs_that_it_repeats(tmp_path):
    path = tmp_path / "history.csv"
    before = fit(path, 0, 5, 1)
    after = fit(path, 3, 6, 2)
    rows = csv_file.read(path)
    assert [row["epoch"] for row in rows] == list("012345")
    losses = before["loss"][:3] + after["loss"]
    assert [float(row["loss"]) for row in rows] == losses
    fit(path, 0, 1, 1)
    assert len(csv_file.read(path)) == 1


@pytest.mark.parametrize(
    "epochs, every, expected",
    [(4, 1, [1, 2, 3, 4]), (5, 2, [2, 4, 5]), (3, 7, [3])],
)
def test_the_last_epoch_is_evaluated(epochs, every, expected):
    assert callbacks.evaluated_epochs(epochs, every) == expected
