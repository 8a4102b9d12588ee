"""The results of a smoke test are marked as such wherever they are shown."""

import dataclasses
import json
import pathlib
import tempfile

import pytest

from conadv_tf import csv_file
from experiments import config as config_lib
from experiments import config_fields
from experiments import presets
from experiments import results
from experiments import run_folder
from experiments import smoke_test
from experiments import training
from experiments.sweeps import axes
from experiments.sweeps import files
from experiments.sweeps import grid
from experiments.sweeps import overview
from tests import in_process
from tests.sweep_rows import markdown
from tests.sweep_rows import row
from tests.sweep_rows import SUMMARY
from tests.sweep_rows import write
from tools.sweep_report import page
from tools.sweep_report import sweep


@pytest.mark.parametrize("dataset", ["digits", "cifar10", "npz:here.npz"])
def test_a_scaled_down_configuration_is_marked(dataset):
    config = config_lib.RunConfig(dataset=dataset)
    small = smoke_test.scale_down(config, "made")
    assert small.smoke_test and not config.smoke_test
    differing = config_fields.differences(config, small)
    assert "smoke_test is False there, received True" in differing
    # Users cannot set the mark.
    with pytest.raises(ValueError, match="Unknown configuration key"):
        config_fields.override(config, ["smoke_test=true"])


# A resumed smoke test once had other images and was refused.
def test_a_resumed_smoke_test_has_the_same_images(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    config = config_lib.RunConfig(dataset="cifar10")
    first = smoke_test.prepare(config)
    with run_folder.new(tmp_path / "run", first):
        pass
    images = pathlib.Path(first.dataset.removeprefix("folder:"))
    changed, removed, *_ = sorted(images.rglob("*.jpg"))
    before = removed.read_bytes()
    changed.write_bytes(b"a user's file")
    removed.unlink()
    earlier = run_folder.earlier_config(str(tmp_path / "run"))
    assert smoke_test.prepare(config, earlier) == first
    assert removed.read_bytes() == before
    assert changed.read_bytes() == b"a user's file"
    assert smoke_test.prepare(config, run_folder.earlier_config(None)) != first


def test_the_printed_summary_is_marked(capsys):
    summary = {**SUMMARY, "method": "conadv", "batch_size": 8, "seed": 0}
    results.print_summary({**summary, "smoke_test": True}, "run")
    assert "50.00%, smoke test: not a result" in capsys.readouterr().out
    results.print_summary(summary, "run")  # Older runs have no mark.
    assert "smoke test" not in capsys.readouterr().out


# A table once compared accuracies on noise with published ones.
def test_the_table_of_a_sweep_is_marked(tmp_path):
    rows = grid.make_specs("resnet50_table1", ["conadv"], [98304])
    small = [
        dataclasses.replace(
            row, config=smoke_test.scale_down(row.config, "made")
        )
        for row in rows
    ]
    for found, kind, published in (
        (rows, "False", "75.3"),
        (small, "True", ""),
    ):
        specs = axes.with_seeds(found, 2)
        made = files.write_results(
            tmp_path / "results.csv", specs, {c.name: SUMMARY for c in specs}
        )
        for read in csv_file.read(tmp_path / "results.csv"):
            assert (read["smoke_test"], read["published"]) == (kind, published)
        text = overview.markdown([*made.values()])
        assert (smoke_test.NOTE in text) == (kind == "True")


ROWS = [
    row(method, size, seed, 0.5 + 0.1 * seed * size)
    for method in ("baseline", "conadv")
    for size in (1, 2)
    for seed in (0, 1)
]


def test_a_report_is_marked(tmp_path):
    text = markdown(tmp_path / "mine", ROWS)
    assert text.startswith("# resnet_cifar on digits: sweep mine\n")
    assert "paper 77.4" in text and "on test data" in text
    assert "moke test" not in text
    # The rows have the mark. A table that lacks the column is recognized by the
    # command that wrote it.
    marked = [{**r, "smoke_test": True} for r in ROWS]
    old = tmp_path / "old"
    write(old, [])
    command = ["python", "experiments/sweep.py", "--quick"]
    (old / "sweep.json").write_text(json.dumps({"command": command}))
    for folder, found in ((tmp_path / "sweep_1", marked), (old, ROWS)):
        text = markdown(folder, found)
        assert text.startswith("# Smoke test of resnet_cifar on digits: sweep")
        assert "sweep sweep" not in text
        assert page.plain(smoke_test.NOTE) in text
        assert "77.4" not in text and "on test data" not in text
        assert "| ours - paper |" not in text
        lines = text.splitlines()
        titles = [line for line in lines if line.startswith("**")]
        pictures = [n for n, line in enumerate(lines) if line[:2] == "!["]
        assert len(titles) > 3 and pictures
        assert all("(smoke test: not a result)" in title for title in titles)
        for number in pictures:
            assert lines[number + 2].startswith("*Smoke test: not a result.")


def test_a_mark_is_true_or_false(tmp_path):
    write(tmp_path, [{**ROWS[0], "smoke_test": "maybe"}])
    with pytest.raises(
        ValueError, match="True or False as smoke_test.*'maybe'"
    ):
        sweep.read_sweep(tmp_path)


def test_presets_are_not_smoke_tests():
    assert not any(p.config.smoke_test for p in presets.PRESETS.values())


# Writing the images starts TensorFlow, and then devices cannot be divided.
def test_the_strategy_is_made_before_the_images(monkeypatch):
    def stop(config):
        raise ValueError("strategy")

    monkeypatch.setattr(training, "make_strategy", stop)
    monkeypatch.setattr(smoke_test, "prepare", None)
    with pytest.raises(SystemExit, match="error: strategy"):
        in_process.main("--quick", "--dataset=imagenet2012")
