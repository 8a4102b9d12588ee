"""Runs, sweeps and reports in folders that are given by an address."""

import io
import os
import pathlib
import signal
import subprocess
import sys
from unittest import mock

from PIL import Image
import pytest

import conadv_tf as ca
from conadv_tf import csv_file
from conadv_tf import paths
from experiments import lock
from experiments import results
from tests import in_process
from tests.test_run import QUICK
from tools.runs import trained_runs

ROOT = pathlib.Path(__file__).parents[1]


def main(*arguments):
    in_process.main(*QUICK, "--global_batch_size=432", *arguments)


# The address is on a disk, because TensorFlow treats ram://x/ckpt-3.index as a
# file in a folder ckpt-3.
@pytest.mark.slow
def test_a_run_at_an_address_is_preempted_and_resumed(tmp_path, capsys):
    folder = paths.as_path(f"file://{tmp_path}/runs/mine")
    save = ca.Checkpoints.save
    flags = (f"--model_dir={folder}",)

    def preempt(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return save(self)

    with mock.patch.object(ca.Checkpoints, "save", preempt):
        with pytest.raises(SystemExit) as error:
            main(*flags)
    assert error.value.code == 75
    assert len(csv_file.read(folder / "history.csv")) == 1
    assert not (folder / "summary.json").exists()
    main(*flags, "--resume")
    history = csv_file.read(folder / "history.csv")
    assert [row["epoch"] for row in history] == ["0", "1"]
    summary = results.read_json(folder / "summary.json")
    assert summary["top1"] == float(history[-1]["val_accuracy"])
    assert f"{folder}" in capsys.readouterr().out
    for name in ("curves.png", "examples.png"):
        Image.open(io.BytesIO((folder / name).read_bytes())).verify()
    assert not any(".partial" in each.name for each in folder.iterdir())
    trained_runs.TrainedRun(folder).network(
        mock.Mock(num_classes=10, image_shape=(8, 8, 1))
    )
    # A finished run only prints. Another run is refused and creates nothing.
    main(*flags, "--resume")
    with pytest.raises(SystemExit, match="already holds something"):
        main(*flags)
    assert not pathlib.Path("file:").exists()


@pytest.mark.parametrize("name", ["gs:/bucket/run", "nowhere://bucket/run"])
def test_invalid_addresses(name):
    with pytest.raises(SystemExit, match="error: .*(two slashes|nowhere)"):
        main(f"--model_dir={name}")


# The lock holds on one machine. It does not change the file at the address.
def test_the_lock_of_an_address():
    path = paths.as_path("ram://locks/config.json")
    path.write_text("{}")
    for _ in range(2):
        with lock.exclusive(path, lambda content: "taken"):
            with pytest.raises(ValueError, match="taken"):
                with lock.exclusive(path, lambda content: "taken"):
                    pass
            with lock.exclusive(
                path.with_name("other"), lambda content: "taken"
            ):
                pass
    assert path.read_text() == "{}"


def command(script, *arguments):
    result = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


# The address is on a disk, because processes do not share memory.
@pytest.mark.slow
def test_a_sweep_and_its_report(tmp_path):
    folder = paths.as_path(f"file://{tmp_path}/sweep")
    arguments = (
        "--quick",
        "--method=baseline",
        "--global_batch_size=432",
        "--seeds=1",
        "--processes=1",
        f"--output_dir={folder}",
    )
    command("experiments/sweep.py", *arguments)
    name = "digits_432_baseline_seed0"
    others = {f"{name}.log", "results.csv", "results.png", "sweep.json"}
    assert {each.name for each in folder.iterdir()} == {name, *others}
    assert "baseline on digits" in (folder / f"{name}.log").read_text()
    # Finished runs are not repeated.
    summary = tmp_path / "sweep" / name / "summary.json"
    before = summary.stat().st_mtime_ns
    assert "(n=1)" in command("experiments/sweep.py", *arguments)
    assert before == summary.stat().st_mtime_ns
    output = command("tools/report.py", str(folder), "--html")
    assert f"Wrote report.md and report.html to {folder}/report" in output
