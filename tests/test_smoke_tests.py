"""A rehearsal says that it is none but that, wherever its numbers stand."""

import dataclasses
import json

import pytest

from experiments import config as config_lib
from experiments import config_override
from experiments import presets
from experiments import results
from experiments import smoke_test
from experiments.sweeps import axes
from experiments.sweeps import files
from experiments.sweeps import grid
from experiments.sweeps import table
from tests.sweep_rows import row
from tests.sweep_rows import SUMMARY
from tests.sweep_rows import write
from tools.sweep_report import groups
from tools.sweep_report import page
from tools.sweep_report import report
from tools.sweep_report import runs


@pytest.mark.parametrize("dataset", ["digits", "cifar10", "npz:here.npz"])
def test_a_shrunk_configuration_says_so(dataset):
    config = config_lib.Config(dataset=dataset)
    small = smoke_test.shrink(config, "made")
    assert small.rehearsal and not config.rehearsal
    differing = config_override.differences(config, small)
    assert "rehearsal is False there, received True" in differing
    # Only by being shrunk.
    with pytest.raises(ValueError, match="Unknown configuration key"):
        config_override.override(config, ["rehearsal=true"])


def test_the_closing_table(capsys):
    summary = {**SUMMARY, "method": "conadv", "batch_size": 8, "seed": 0}
    results.print_summary({**summary, "rehearsal": True}, "run")
    assert "50.00%, a rehearsal: no result" in capsys.readouterr().out
    results.print_summary(summary, "run")  # As older runs have it.
    assert "rehearsal" not in capsys.readouterr().out


# Noise was 51.90 points below the paper.
def test_the_table_of_a_sweep(tmp_path):
    rows = grid.rows("resnet50_table1", ["conadv"], [98304])
    small = [
        dataclasses.replace(row, config=smoke_test.shrink(row.config, "made"))
        for row in rows
    ]
    for found, kind, published in (
        (rows, "False", "75.3"),
        (small, "True", ""),
    ):
        cells = axes.with_seeds(found, 2)
        made = files.tabulate(
            tmp_path / "results.csv", cells, {c.name: SUMMARY for c in cells}
        )
        for read in table_of(tmp_path):
            assert (read["rehearsal"], read["published"]) == (kind, published)
        text = table.markdown([*made.values()])
        assert (smoke_test.NOTE in text) == (kind == "True")


def table_of(folder):
    from conadv_tf import csv_file

    return csv_file.read(folder / "results.csv")


def written(folder, rows):
    sweep = runs.read_sweep(write(folder, rows))
    found = groups.of_sweep(sweep, None)
    contents = report.contents(sweep, found, 0.5, "command", folder)
    return page.markdown(report.title(sweep, found), contents)


ROWS = [
    row(method, size, seed, 0.5 + 0.1 * seed * size)
    for method in ("baseline", "conadv")
    for size in (1, 2)
    for seed in (0, 1)
]


def test_a_report(tmp_path):
    text = written(tmp_path / "mine", ROWS)
    assert text.startswith("# resnet_cifar on digits: sweep mine\n")
    assert "paper 77.4" in text and "on test data" in text
    assert "ehears" not in text
    # By its rows; or, of a table that lacks the column, by its command.
    marked = [{**r, "rehearsal": True} for r in ROWS]
    old = tmp_path / "old"
    write(old, [])
    command = ["python", "experiments/sweep.py", "--quick"]
    (old / "sweep.json").write_text(json.dumps({"command": command}))
    for folder, found in ((tmp_path / "sweep_1", marked), (old, ROWS)):
        text = written(folder, found)
        assert text.startswith("# Rehearsal of resnet_cifar on digits: sweep")
        assert "sweep sweep" not in text
        assert page.plain(smoke_test.NOTE) in text
        assert "77.4" not in text and "on test data" not in text
        assert "| ours - paper |" not in text
        lines = text.splitlines()
        titles = [line for line in lines if line.startswith("**")]
        pictures = [n for n, line in enumerate(lines) if line[:2] == "!["]
        assert len(titles) > 3 and pictures
        assert all("(a rehearsal: no result)" in title for title in titles)
        for number in pictures:
            assert lines[number + 2].startswith("*A rehearsal: no result.")


def test_a_table_that_says_neither(tmp_path):
    write(tmp_path, [{**ROWS[0], "rehearsal": "maybe"}])
    with pytest.raises(ValueError, match="True or False as rehearsal.*'maybe'"):
        runs.read_sweep(tmp_path)


def test_presets_are_no_rehearsals():
    assert not any(p.config.rehearsal for p in presets.PRESETS.values())
