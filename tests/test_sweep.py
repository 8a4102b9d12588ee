"""Sweeps run as commands, and the files they write."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
from PIL import Image
import psutil
import pytest

from experiments import config_fields
from experiments.sweeps import axes
from experiments.sweeps import files
from experiments.sweeps import grid
from tests import sweep_rows

ROOT = pathlib.Path(__file__).parents[1]
COLUMNS = (
    "preset,network,dataset,method,batch_size,epsilon,staleness,learning_rate,"
    "variant,seed,split,smoke_test,top1,train_top1,final_loss,"
    "attack_started,mean_cost,steps,images_per_second,step_time_ms,seconds,"
    "published,model_dir"
)


def _start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "experiments" / script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        text=True,
    )


def _run(script, *arguments):
    process = _start(script, *arguments)
    output, _ = process.communicate()
    return process.returncode, output


def _rows(path):
    with open(path, newline="") as file:
        assert file.readline().strip() == COLUMNS
        file.seek(0)
        return list(csv.DictReader(file))


def _wait_for(path):
    deadline = time.monotonic() + 240
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_folder_is_locked_for_one_sweep(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_LOCK_TIMEOUT_SECONDS", 0.2)
    with files.locked(tmp_path):
        with pytest.raises(ValueError, match=f"process {os.getpid()}, is run"):
            with files.locked(tmp_path):
                pass
    with files.locked(tmp_path):
        pass


SUMMARY = {
    **sweep_rows.SUMMARY,
    "batch_size": 9,
    "method": "conadv",
    "seed": 0,
}


def test_the_table_of_results(tmp_path):
    specs = grid.make_specs("resnet50_table1", (), [8192, 98304])
    specs = axes.with_axes(specs, {"attack.epsilon": [0.1]})
    specs = axes.with_seeds(specs, 2)
    # Rows are in the order of the grid, whichever run finished first. The
    # paper's accuracies hold only for its epsilon.
    finished = {spec.name: SUMMARY for spec in reversed(specs[:-1])}
    files.write_results(tmp_path / "results.csv", specs, finished)
    rows = _rows(tmp_path / "results.csv")
    assert [r["model_dir"] for r in rows] == [c.name for c in specs[:-1]]
    picked = ("preset", "network", "method", "batch_size", "epsilon")
    picked += "staleness", "seed", "split", "top1", "published"
    for index, expected in (
        (0, "resnet50_8k_baseline resnet50 baseline 8192 - - 0 test 0.5 76.6"),
        (6, "resnet50_96k_disadv resnet50 disadv 98304 0.1 0 0 test 0.5 -"),
        (-1, "resnet50_96k_disadv resnet50 disadv 98304 0.1 0 1 test 0.5 -"),
        (7, "resnet50_96k_conadv resnet50 conadv 98304 0.1 1 0 test 0.5 -"),
    ):
        assert [rows[index][p] or "-" for p in picked] == expected.split()


def test_rows_of_other_commands_are_kept_while_their_runs_exist(tmp_path):
    path = tmp_path / "results.csv"
    names = []
    for method in ("baseline", "conadv", "disadv", "baseline"):
        (spec,) = grid.make_specs("", [method], [64])
        names.append(spec.name)
        if method != "conadv":
            (tmp_path / spec.name).mkdir(exist_ok=True)
            (tmp_path / spec.name / "summary.json").touch()
        others = files.read_other_rows(path, [spec])
        summaries = {spec.name: SUMMARY}
        assert list(files.write_results(path, [spec], summaries, others)) == [
            spec.name
        ]
    assert [row["model_dir"] for row in _rows(path)] == [names[2], names[0]]
    path.write_text("method,top1\nconadv,0.9\n")
    with pytest.raises(ValueError, match="model_dir; received .*method, top1"):
        files.read_other_rows(path, [])


def test_a_finished_run_with_another_configuration_is_refused(tmp_path):
    (spec,) = grid.make_specs("", ["conadv"], [64])
    folder = tmp_path / spec.name
    folder.mkdir()
    config = config_fields.override(
        spec.config, ["epochs=3", "attack.epsilon=0.2"]
    )
    values = json.loads(json.dumps(config, default=vars))
    (folder / "config.json").write_text(json.dumps(values))
    assert files.finished_summaries(tmp_path, [spec]) == {}  # Unfinished.
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    with pytest.raises(
        ValueError,
        match="epochs is 3 there, received 30; attack.epsilon is 0.2 there, "
        "received 0.1",
    ):
        files.finished_summaries(tmp_path, [spec])
    del values["step"]  # Older runs lack this field.
    values.update(epochs=30, attack={"epsilon": 0.1})
    (folder / "config.json").write_text(json.dumps(values))
    assert files.finished_summaries(tmp_path, [spec]) == {spec.name: SUMMARY}


QUICK = ("--quick", "--method=baseline", "--processes=1")


def test_a_sweep_writes_its_files(tmp_path):
    arguments = (
        *QUICK,
        "--global_batch_size=432",
        # Fails, because there are fewer training images.
        "--global_batch_size=1298",
        "--seeds=1",
        "--callback=tensorflow.keras.callbacks:TerminateOnNaN",
        f"--output_dir={tmp_path}",
    )
    code, output = _run("sweep.py", *arguments)
    assert code == 1
    name = "digits_432_baseline_seed0"
    assert f"{name}: top-1" in output
    assert "Expected a global batch size from 1 to 1297" in output
    assert "error: 1 failed" in output and "seed0.log" in output
    (row,) = _rows(tmp_path / "results.csv")
    assert row["model_dir"] == name
    assert "| baseline | " in output and "(n=1)" in output
    facts = json.loads((tmp_path / "sweep.json").read_text())
    assert facts["command"][2:] == list(arguments)
    assert facts["processes"] == 1
    summary = json.loads((tmp_path / name / "summary.json").read_text())
    assert summary["callbacks"] == [arguments[-2].partition("=")[2]]
    with Image.open(tmp_path / "results.png") as picture:
        assert len(picture.getcolors(1 << 24)) > 50


# SIGKILL, which no handler can catch, during the second run.
@pytest.mark.slow
def test_a_killed_sweep_continues(tmp_path):
    arguments = (
        *QUICK,
        "--global_batch_size=432",
        # Fails, because there are fewer training images.
        "--global_batch_size=1298",
        "--seeds=2",
        f"--output_dir={tmp_path}",
    )
    sweep = _start("sweep.py", *arguments)
    first = tmp_path / "digits_432_baseline_seed0"
    second = tmp_path / "digits_432_baseline_seed1"
    _wait_for(second / "config.json")
    (child,) = psutil.Process(sweep.pid).children()
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()
    sweep.stdout.close()
    finished_at = (first / "summary.json").stat().st_mtime_ns
    assert not (second / "summary.json").exists()
    code, output = _run("sweep.py", *arguments)
    assert not child.is_running()
    assert code == 1
    assert "digits_432_baseline_seed1: top-1" in output
    assert output.count("Expected a global batch size from 1 to 1297") == 4
    assert "error: 2 failed" in output and "seed1.log" in output
    assert (first / "summary.json").stat().st_mtime_ns == finished_at
    assert (tmp_path / f"{second.name}.cut1" / "config.json").exists()
    rows = _rows(tmp_path / "results.csv")
    assert [row["model_dir"] for row in rows] == [first.name, second.name]
    assert "| baseline | " in output and "(n=2)" in output


# Earlier runs in the same process have no effect.
@pytest.mark.slow
def test_a_run_of_a_sweep_equals_a_separate_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    code, output = _run(
        "sweep.py",
        "--preset=digits_table1",
        "--quick",
        "--global_batch_size=432",
        "--method=baseline",
        "--method=conadv_aa",
        "--seeds=2",
        "--processes=1",
        f"--output_dir={tmp_path / 'sweep'}",
    )
    assert code == 0, output
    code, output = _run(
        "run.py",
        "--preset=digits_432_conadv_aa",
        "--quick",
        "--seed=1",
        f"--model_dir={tmp_path / 'alone'}",
    )
    assert code == 0, output
    folders = (
        tmp_path / "sweep" / "digits_432_conadv_aa_seed1",
        tmp_path / "alone",
    )
    config, alone = ((f / "config.json").read_text() for f in folders)
    assert config == alone
    history, alone = (_history(f / "history.csv") for f in folders)
    assert history == alone and "val_accuracy" in history
    weights, alone = (_weights(f / "network.weights.h5") for f in folders)
    assert weights.keys() == alone.keys() and len(weights) > 20
    for name, values in weights.items():
        np.testing.assert_array_equal(values, alone[name], name)


def _history(path):
    """Returns the only epoch's values without timings."""
    with open(path, newline="") as file:
        (row,) = csv.DictReader(file)
    for timing in ("images_per_second", "step_time_ms"):
        del row[timing]
    return row


def _weights(path):
    import h5py

    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


# The learning rate is chosen on training images; the test set is used once.
@pytest.mark.slow
def test_tuning(tmp_path):
    code, output = _run(
        "sweep.py",
        *QUICK,
        "--global_batch_size=64",
        "--tune_learning_rate=4,0.001",
        "--tune_seeds=1",
        "--seeds=1",
        f"--output_dir={tmp_path}",
    )
    assert code == 0, output
    tried = _rows(tmp_path / "tune" / "tuning.csv")
    assert [row["split"] for row in tried] == ["validation"] * 2
    assert [row["batch_size"] for row in tried] == ["48"] * 2
    assert [float(row["learning_rate"]) for row in tried] == [4, 0.001]
    # At the smaller rate, one epoch learns nothing.
    assert float(tried[0]["top1"]) > float(tried[1]["top1"])
    (row,) = _rows(tmp_path / "results.csv")
    assert row["split"] == "test" and float(row["learning_rate"]) == 4
    assert row["batch_size"] == "64" and row["steps"] == "20"
