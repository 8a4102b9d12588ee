"""When the attack of a run starts, and what the run then costs."""

import json

import numpy as np
import pytest

from conadv_tf import csv_file
from experiments import build
from experiments import config as config_lib
from experiments import config_fields
from experiments import results
from experiments import smoke_test
from experiments import start
from experiments.start import StartConfig
from tests import in_process

DELAYED = StartConfig(accuracy=0.9)


def _config(method="shared_pass", start=DELAYED, **fields):
    return config_lib.RunConfig(method=method, start=start, **fields)


def _rows(*attacked):
    return [{"epoch": i, "attacked": each} for i, each in enumerate(attacked)]


@pytest.mark.parametrize(
    "config, rows, expected",
    [
        (_config(), _rows(0, 0, 0, 1), (True, 3, 1.0625)),
        (_config(), _rows(0, 0), (True, None, 1.0)),
        (_config("conadv"), _rows(0, 1), (True, 1, 1 + 5 / 6)),
        (_config("conadv", StartConfig()), [], (False, 0, 1 + 5 / 3)),
        (_config("baseline", StartConfig()), [], (False, None, 1.0)),
        # The history was removed.
        (_config(), [], (True, None, 1.0)),
    ],
)
def test_the_summary_has_the_start_and_the_cost(config, rows, expected):
    attack = None if config.tau is None else build.attack(config)
    cost = build.step(config.step).cost(attack, config.views)
    found = start.summary(config, cost, rows)
    np.testing.assert_allclose(found.pop("mean_cost"), expected[2])
    assert (found["delayed"], found["attack_started"]) == expected[:2]


@pytest.mark.parametrize(
    "started, text", [(None, "never"), (17, "after epoch 17")]
)
def test_the_table_says_when_the_attack_started(started, text, capsys):
    summary = {"delayed": True, "attack_started": started, "mean_cost": 1.14}
    results.print_summary(
        {
            **dict.fromkeys(("method", "seed", "steps")),
            **{"batch_size": 8, "top1": 0.5, "seconds": 1.0, **summary},
        },
        "here",
    )
    printed = capsys.readouterr().out
    assert text in printed and "1.14 times plain training" in printed


# A condition that is given replaces all conditions of the method.
def test_the_method_delayed_has_conditions_of_its_own():
    default = StartConfig(accuracy=0.95, update=50)
    config = config_lib.RunConfig(method="delayed")
    assert config.conditions == default and config.views == 1
    given = StartConfig(epoch=3)
    assert _config("delayed", given).conditions == given
    assert _config("conadv", StartConfig()).conditions == StartConfig()
    # Another method does not keep them.
    changed = config_fields.replace(config, {"method": "shared_pass"})
    assert not changed.conditions.is_delayed
    assert smoke_test.scale_down(config).start == StartConfig(epoch=1)


@pytest.mark.parametrize("started, cost", [(0, 8 / 3), (None, 1.0), (0, None)])
def test_the_table_has_the_cost_of_an_attack(started, cost):
    summary = {"delayed": False, "attack_started": started, "mean_cost": cost}
    rows = {"arithmetic": "2.67 times plain training"} if cost == 8 / 3 else {}
    assert start.table_rows(summary) == rows


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"start": StartConfig(epoch=30)}, "start.epoch < epochs"),
        ({"drift_every": 2}, "no drift_every with StartConfig"),
        (
            {"drift_every": 2, "method": "delayed", "start": StartConfig()},
            "no drift_every with StartConfig",
        ),
        (
            {"attack": config_lib.AttackConfig(warmup_epochs=1)},
            "no attack.warmup_epochs with StartConfig",
        ),
    ],
)
def test_settings_that_exclude_each_other(fields, message):
    with pytest.raises(ValueError, match=message):
        _config(**fields)


# The plain steps equal the baseline's, which has no clean view.
def test_a_delayed_attack_perturbs_augmented_images():
    augmentation = {"augmentation": "autoaugment_digits"}
    assert _config(**augmentation).views == 1
    assert _config(start=StartConfig(), **augmentation).views == 2


def test_a_smoke_test_has_both_phases():
    small = smoke_test.scale_down(_config())
    assert small.epochs == 2 and small.start == StartConfig(epoch=1)


def test_a_run_starts_its_attack(tmp_path, capsys):
    in_process.main(
        "--method=delayed",
        "--epochs=2",
        "--set=start.epoch=1",
        "--set=network.depth=8",
        "--set=network.width=4",
        f"--model_dir={tmp_path / 'run'}",
    )
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["attack_started"] == 1 and summary["mean_cost"] == 1.125
    rows = csv_file.read(tmp_path / "run/history.csv")
    assert [row["attacked"] for row in rows] == ["0.0", "1.0"]
    assert rows[0]["adversarial_loss"] == "" != rows[1]["adversarial_loss"]
    lines = capsys.readouterr().out.splitlines()
    said = lines.index("the attack starts: after epoch 1")
    assert lines[said - 1].startswith("  1/2 ")
    assert lines[1].endswith("first epoch with epoch >= 1")
    assert "attack started       after epoch 1" in lines
