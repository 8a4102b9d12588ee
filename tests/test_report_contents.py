"""The content of reports on complete, incomplete and damaged sweeps."""

import pytest

from experiments.sweeps.files import COLUMNS
from tests.sweep_rows import markdown
from tests.sweep_rows import row
from tests.sweep_rows import write
from tools.sweep_report import seed_groups
from tools.sweep_report import sweep


def test_a_variant_represents_no_method(tmp_path):
    rows = [
        row("conadv", 8, seed, 0.5, variant="a=1" if seed else "")
        for seed in range(3)
    ]
    read = sweep.read_sweep(write(tmp_path, rows))
    (runs,) = seed_groups.comparable_runs(read).values()
    assert [*runs.groups.variant] == ["", "a=1"]
    assert [*runs.representatives.index] == [0]
    (pair,) = seed_groups.with_originals(runs.groups).itertuples()
    assert (pair.variant, pair.variant_other) == ("a=1", "")
    assert seed_groups.with_originals(runs.groups[1:]).empty


def test_missing_parts_are_explained(tmp_path):
    text = markdown(tmp_path, [row("conadv", 8, 0, 0.5)])
    assert not list(tmp_path.glob("*.png"))
    for expected in (
        "No plot against batch size",
        "No batch size has runs of the baseline and of a method.",
        "No batch size has runs of both.",
        "No method has several values of epsilon.",
        "No method has several values of tau.",
        "has no tune/tuning.csv",
        "there is no sweep.json",
        "Nothing is missing.",
        "## Left out for lack of runs",
    ):
        assert expected in text, expected
    # Sections without a table and columns without a number are left out.
    assert "## ConAdv against DisAdv" not in text
    assert "| std |" not in text and "| rates tried |" not in text


def test_one_seed_has_no_tests(tmp_path):
    methods = ("baseline", "conadv", "disadv")
    text = markdown(tmp_path, [row(method, 8, 0, 0.5) for method in methods])
    assert "| ConAdv | 8 | 1 | +0.00 |\n" in text
    assert "| method | batch size | pairs | mean gain |" in text
    assert text.count("Not tested: a test needs two seeds") == 2
    assert "Holm" not in text


def test_networks_are_not_compared(tmp_path):
    rows = [row("baseline", 8, 0, 0.5), row("baseline", 16, 0, 0.5)]
    rows += [{**r, "network": "other", "top1": 0.25} for r in rows]
    rows.insert(0, row("disadv_aa", 16, 0, 0.5))
    rows += [{**rows[0], "network": "bad", "top1": ""}]
    text = markdown(tmp_path, rows)
    assert "| baseline | 25.00 (1) | 25.00 (1) |" in text
    # Unknown methods come last.
    last = "| DisAdv + AutoAugment | - |"
    assert f"| baseline | 50.00 (1) | 50.00 (1) |\n{last}" in text
    assert "## bad on digits\n\nNo run has an accuracy." in text
    assert "(batch_size_1.png)" in text and "(batch_size_2.png)" in text


@pytest.mark.parametrize("older", [False, True])
def test_training_accuracy_and_cost_are_shown_where_known(older, tmp_path):
    added = ("train_top1", "attack_started", "mean_cost")
    columns = [c for c in COLUMNS if not older or c not in added]
    rows = [
        row("baseline", 8, seed, 0.5, train_top1=fit, mean_cost=1.125)
        for seed, fit in enumerate((0.25, 0.875))
    ]
    text = markdown(tmp_path, rows, columns)
    assert ("| training |" in text) != older
    assert ("| 56.2 | 1.12 |" in text) != older


def test_gains_and_training_accuracy_are_those_of_the_same_variant(tmp_path):
    rows = [
        row(
            method,
            8,
            seed,
            top1 + gain * (seed + 1),
            train_top1=fits,
            variant=v,
        )
        for v, fits, top1 in (("", 1.0, 0.5), ("epochs=7", 0.875, 0.25))
        for method, gain in (("baseline", 0.0), ("conadv", 0.125 * fits))
        for seed in range(2)
    ]
    rows += [row("conadv", 8, s, 0.5, variant="weight=2") for s in range(2)]
    text = markdown(tmp_path, rows)
    section = text[text.index("## Gain and training accuracy") :].split(
        "\n## "
    )[0]
    assert "| ConAdv | 8 |  | 100.0 | 2 | +18.75 | [" in section
    assert "| ConAdv | 8 | epochs=7 | 87.5 | 2 | +16.41 | [" in section
    assert "weight=2" not in section and (tmp_path / "fit.png").is_file()
    text = markdown(tmp_path, [{**row, "train_top1": ""} for row in rows])
    assert (
        "Gain and training accuracy: No baseline with a training accuracy"
        in text
    )


@pytest.mark.parametrize(
    "rows, columns, message",
    [
        (None, None, "has no results.csv"),
        ([], COLUMNS, "holds no run yet"),
        ([], COLUMNS[2:], "lacks the columns preset, network"),
        ([row("conadv", 8, 1, 0.5)] * 2, COLUMNS, "found two of"),
        ([row("conadv", 8, 1, 50)], COLUMNS, "in .0, 1. as top1.*'50.0'"),
        ([row("aa", 8, 1, 0.5, split="dev")], COLUMNS, "'dev'"),
        ([row("aa", "8k", 1, 0.5)], COLUMNS, "line 2.*'8k'"),
        (
            [row("aa", 8, 1, 0.5), row("aa", 8.5, 1, 0.5)],
            COLUMNS,
            "line 3.*8.5",
        ),
        (
            [{**row("aa", 8, 1, 0.5), "seed": ""}],
            COLUMNS,
            "a whole number as seed",
        ),
    ],
)
def test_bad_input(rows, columns, message, tmp_path):
    if rows is not None:
        write(tmp_path, rows, columns=columns)
    with pytest.raises(ValueError, match=message):
        seed_groups.comparable_runs(sweep.read_sweep(tmp_path))


def test_a_file_that_is_no_table(tmp_path):
    (tmp_path / "results.csv").write_bytes(b"")
    with pytest.raises(ValueError, match="results.csv is not a CSV table"):
        sweep.read_sweep(tmp_path)


def test_epsilon_that_no_run_has(tmp_path):
    read = sweep.read_sweep(write(tmp_path, [row("conadv", 8, 0, 0.5)]))
    with pytest.raises(ValueError, match=r"0.3; the runs have \[0.1\]"):
        seed_groups.comparable_runs(read, 0.3)
