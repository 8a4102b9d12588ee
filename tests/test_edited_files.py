"""Files of runs and sweeps that a user has edited or a crash has cut."""

import contextlib
import dataclasses
import json
import os

from absl.testing import flagsaver
import pytest

from experiments import callbacks
from experiments import config as config_lib
from experiments import plots
from experiments import results
from experiments import resume
from experiments import run
from experiments import run_folder
from experiments.sweeps import files
from experiments.sweeps import grid
from tests.sweep_rows import SUMMARY as ROW
from tools.runs import trained_runs

SUMMARY = {**ROW, "method": "conadv", "batch_size": 8, "seed": 0}


@contextlib.contextmanager
def refused(message, path):
    """Expects a ValueError that names the file."""
    with pytest.raises(ValueError, match=message) as error:
        yield
    assert str(path) in str(error.value)


HISTORY = "epoch,loss,val_accuracy\n0,0.5,\n1,0.25,0.75\n"


@pytest.mark.parametrize(
    "text, message",
    [
        ("[]", "Expected a JSON object.*received \\[\\]"),
        ("null", "received None"),
        ("3", "received 3"),
        ("", "is not JSON"),
        ('{"epochs": 3', "is not JSON"),
        ('{"epochs": null}', "is not valid. Expected epochs to be of type int"),
        ('{"attack": null}', "is not valid.*AttackConfig"),
        ('{"step": [1]}', "is not valid. Expected a step of class"),
        ('{"epoch": 3}', "is not valid.*epoch"),
        (b"\xff\xfe{", "is not JSON"),
    ],
)
def test_a_damaged_config_is_named(text, message, tmp_path):
    text = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "config.json").write_bytes(text)
    (tmp_path / "network.weights.h5").touch()
    path = tmp_path / "config.json"
    with refused(message, path):
        with run_folder.existing(tmp_path, config_lib.RunConfig()):
            pass
    with refused(message, path):
        trained_runs.TrainedRun(tmp_path)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is not JSON.*--resume writes it again"),
        ("[]", "JSON object.*--resume writes it again"),
        ("{}", "Expected method.*type str; received None"),
        (json.dumps({**SUMMARY, "top1": None}), "top1.*float; received None"),
        (json.dumps({**SUMMARY, "final_loss": "x"}), "number or null.*'x'"),
    ],
)
def test_a_damaged_summary_is_named(text, message, tmp_path):
    (spec,) = grid.make_specs("", ["conadv"], [64])
    folder = tmp_path / spec.name
    folder.mkdir()
    config = dataclasses.asdict(spec.config)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "summary.json").write_text(text)
    path = folder / "summary.json"
    with refused(message, path):
        with run_folder.existing(folder, spec.config):
            pass
    with refused(message, path):
        files.finished_summaries(tmp_path, [spec])


def test_summaries_may_lack_measurements(capsys, tmp_path):
    kept = ("top1", "steps", "seconds", "method", "batch_size", "seed")
    text = json.dumps({name: SUMMARY[name] for name in kept})
    (tmp_path / "summary.json").write_text(text)
    results.print_summary(results.read_summary(tmp_path), tmp_path)
    assert capsys.readouterr().out.count("not measured") == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace(",", ";"),
        lambda text: ("\ufeff" + text.replace(",", ";")).replace("\n", "\r\n"),
        lambda text: text[:-1],  # The last line end is missing.
    ],
)
def test_a_history_that_a_spreadsheet_saved_is_read(change, tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(change(HISTORY), encoding="utf-8", newline="")
    history = callbacks.HistoryFile(path, epoch=2)
    history.on_epoch_end(2, {"loss": 0.125})
    assert path.read_text() == (
        "epoch,loss,val_accuracy\n0,0.5,\n1,0.25,0.75\n2,0.125,\n"
    )
    plots.curves(path, tmp_path / "curves.png")
    assert resume.history(path)[1]["val_accuracy"] == 0.75


@pytest.mark.parametrize(
    "text, message",
    [
        (HISTORY.replace("0.25", '"0,25"'), "line 3, column loss.*'0,25'"),
        (HISTORY.replace("epoch", "time"), "column epoch; received None"),
        (HISTORY + "x", "line 4, column epoch; received 'x'"),
        (HISTORY.replace("0.75", "0.75,1"), r"line 3.*received \['1'\]"),
        (HISTORY.encode("utf-16"), "table in UTF-8"),
    ],
)
def test_a_damaged_history_is_named(text, message, tmp_path):
    path = tmp_path / "history.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with refused(message, path):
        callbacks.HistoryFile(path, epoch=2)
    # A run from the start needs no earlier rows.
    callbacks.HistoryFile(path)


def test_a_damaged_table_of_a_sweep_is_named(tmp_path):
    (spec,) = grid.make_specs("", ["conadv"], [64])
    path = tmp_path / "results.csv"
    files.write_results(path, [spec], {spec.name: SUMMARY})
    whole = path.read_text()
    (tmp_path / spec.name).mkdir()
    (tmp_path / spec.name / "summary.json").touch()
    assert len(files.read_other_rows(path, [])) == 1
    for name, text in (
        ("model_dir", whole[: whole.rindex(",")]),
        ("top1", whole.replace(",0.5,", ",half,")),
        ("batch_size", whole.replace(",64,", ",6 4,")),
    ):
        path.write_text(text)
        with refused(f"as {name} in .*line 2", path):
            files.read_other_rows(path, [])


# All epochs are in the checkpoint, and the test set can be evaluated again.
@pytest.mark.slow
def test_a_finished_training_needs_no_history(tmp_path, capsys):
    flags = (
        "--method=baseline",
        "--epochs=1",
        "--global_batch_size=512",
        "--set=network.depth=8",
        "--set=network.width=2",
        f"--model_dir={tmp_path / 'run'}",
    )

    def main(*more):
        with flagsaver.flagsaver():
            run.FLAGS(["run.py", *flags, *more])
            run.main(["run.py"])

    main()
    before = results.read_json(tmp_path / "run/summary.json")
    os.remove(tmp_path / "run/summary.json")
    with open(tmp_path / "run/history.csv", "r+") as file:
        file.truncate(9)
    main("--resume")
    os.remove(tmp_path / "run/summary.json")
    os.remove(tmp_path / "run/history.csv")
    main("--resume")
    after = results.read_json(tmp_path / "run/summary.json")
    assert after["top1"] == before["top1"] and after["steps"] == before["steps"]
    assert after["train_top1"] is None and after["final_loss"] is None
