"""Errors about unknown names suggest similar names; help exits with 0."""

import pathlib
import subprocess
import sys

import pytest

import conadv_tf as ca
from conadv_tf import spelling
from experiments import config as config_lib
from experiments import config_fields
from experiments import presets
from experiments.sweeps import grid
from tests.marks import slow

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize(
    "name, first",
    [
        ("optimizer.lr", ["optimizer.learning_rate"]),
        ("wd", ["optimizer.weight_decay"]),
        ("batch_size", ["global_batch_size", "per_replica_batch_size"]),
        ("momentum", ["optimizer.momentum", "network.batch_norm_momentum"]),
        ("attack.eps", ["attack.epsilon"]),
        ("optimizer.momentun", ["optimizer.momentum"]),
        ("Epoch", ["epochs", "start.epoch"]),
        ("nothing_like_it", []),
        ("e", ["emulate_replicas", "epochs"]),
    ],
)
def test_similar_settings(name, first):
    found = spelling.close_matches(
        name, config_fields.names(config_lib.RunConfig)
    )
    assert found[: len(first)] == first and bool(found) == bool(first)
    if name != "Epoch":
        with pytest.raises(ValueError) as error:
            config_fields.parse(config_lib.RunConfig, [f"{name}=1"])
        for each in first:
            assert f"'{each}'" in str(error.value)


def test_similar_presets():
    with pytest.raises(ValueError) as error:
        presets.get("resnet50_96k")
    for method in ("baseline", "aa", "disadv", "conadv", "conadv_aa"):
        assert f"'resnet50_96k_{method}'" in str(error.value)
    for name, meant in (
        ("digits_tabel1", "'digits_table1'"),
        ("digits_432_conavd", "'digits_432_conadv'"),
    ):
        with pytest.raises(ValueError, match=f"Did you mean {meant}"):
            grid.make_specs(name)


def test_similar_datasets():
    with pytest.raises(ValueError, match="Did you mean 'imagenet2012' or"):
        ca.data.load("imagenet", 8)


def test_staleness_0_is_another_method():
    with pytest.raises(ValueError, match="--method=disadv"):
        config_fields.override(config_lib.RunConfig(), ["step.staleness=0"])


@pytest.mark.parametrize(
    "script, flag, said",
    [
        slow("experiments/run.py", "--staleness=0", "--method=disadv"),
        slow("experiments/sweep.py", "--help", "--tune_learning_rate"),
        slow("tools/report.py", "-h", "--margin"),
        slow("tools/report.py", "--helpfull", "absl.app"),
    ],
)
def test_commands(script, flag, said, tmp_path):
    result = subprocess.run(
        [sys.executable, str(ROOT / script), flag],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == ("help" not in flag and flag != "-h")
    assert said in result.stdout + result.stderr
