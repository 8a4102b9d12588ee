"""Presets are complete, agree with the paper, and run."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from experiments import config as config_lib
from experiments import digits_policy
from experiments import preset_list
from experiments import presets
from experiments import smoke_test
from experiments.presets import paper
from experiments.presets import tpu
from experiments.sweeps import grid

ROOT = pathlib.Path(__file__).parents[1]


def _run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, str(ROOT / "experiments" / "run.py"), *arguments],
        cwd=cwd,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_cell_of_the_papers_tables_has_a_preset():
    for network, rows in paper.TABLES.items():
        for method, cells in rows.items():
            for size, published in cells.items():
                preset = presets.get(f"{network}_{size}_{method}")
                assert preset.published == published
                assert (
                    preset.config.global_batch_size == paper.BATCH_SIZES[size]
                )
    for (network, size, method), cells in paper.TABLE_4.items():
        for p in cells:
            preset = presets.get(f"{network}_{size}_{method}_p{p}")
            assert preset.config.attack.epsilon == p / 255
    # The accuracies of two cells are unknown.
    assert len(presets.PRESETS) == 67 + 2 + 144 + 54 + 2


def test_the_documented_numbers_of_presets():
    every = presets.PRESETS.values()
    numbers = [
        len(every),
        sum(each.hours is not None for each in every),
        sum(each.published is not None for each in every),
    ]
    text = (pathlib.Path(__file__).parents[1] / "docs/running.md").read_text()
    sentence = re.search(r"There are \d+ presets\. .*? accuracy\.", text, re.S)
    assert list(map(int, re.findall(r"\b\d+\b", sentence[0]))) == numbers


def test_the_list_has_each_preset_once_below_a_heading():
    lines = list(preset_list.lines(preset_list.matching("")))
    assert max(map(len, lines)) <= 100
    words = [line.split() for line in lines if line.startswith("  ")]
    names = [each[0] for each in words if each[0] in presets.PRESETS]
    assert sorted(names) == sorted(presets.PRESETS)
    assert lines[0] == "Digits of other writers: on any machine"
    row = ["resnet50_32k_conadv", "32,768", "77.3%", "v3-512", "16", "min"]
    assert [*row, "133"] in words
    assert "  v3-512        v5litepod-256 x2, v6e-256 x2, v5p-1024" in lines
    listed = " ".join(lines[lines.index(lines[-10]) :])
    for name, members in presets.GROUPS.items():
        assert f"{name} ({len(members)})" in listed


@pytest.mark.parametrize(
    "pattern, names",
    [
        ("1297_shared", ["digits_1297_shared_pass"]),
        ("digits_*_lamb", presets.GROUPS["digits_lamb"]),
        ("table3", presets.GROUPS["table3"]),
    ],
)
def test_a_pattern_selects_presets(pattern, names):
    found = preset_list.matching(pattern)
    assert [preset.name for preset in found][: len(names)] == list(names)
    assert len(found) < len(names) + 2
    with pytest.raises(ValueError, match="Did you mean 'digits_table1' or"):
        preset_list.matching("table1")


@pytest.mark.parametrize(
    "group, size, methods",
    [
        ("digits_table1", 30, "baseline aa disadv conadv conadv_aa"),
        (
            "digits_cheaper",
            42,
            "baseline disadv conadv conadv_quarter shared_pass "
            "shared_pass_keep_clean delayed",
        ),
        ("digits_lamb", 2, "baseline conadv"),
        ("resnet50_table1", 28, "baseline aa disadv conadv"),
        ("efficientnet_b2_table2", 24, "baseline aa disadv conadv"),
        ("table3", 39, "baseline aa conadv_aa"),
        ("resnet50_figure2", 18, "baseline aa"),
        ("table4_resnet50_96k_conadv_aa", 12, "conadv_aa"),
    ],
)
def test_groups(group, size, methods):
    names = presets.GROUPS[group]
    assert len(set(names)) == len(names) == size
    rows = [presets.get(name) for name in names]
    assert {grid.method_name(row.config) for row in rows} == set(
        methods.split()
    )
    if group.startswith("table4"):
        assert [row.published for row in rows][-4:] == [76.2, 76.2, 76.0, 76.0]


# An image's weight in the moving statistics decays with the number of images
# since, as with batches of 64.
def test_moving_statistics_of_digits_span_as_many_images_at_all_sizes():
    for name in presets.GROUPS["digits_table1"]:
        config = presets.get(name).config
        momentum = config.network.batch_norm_momentum
        if config.global_batch_size == 64:
            assert momentum is None
        else:
            remains = momentum ** (64 / config.global_batch_size)
            np.testing.assert_allclose(remains, 0.9, atol=1e-4)


def test_every_preset_is_in_a_group():
    grouped = {name for names in presets.GROUPS.values() for name in names}
    # Figure 2 shows more of DisAdv and ConAdv, but without numbers.
    assert set(presets.PRESETS) == grouped


# The run of section 4.1: 1024 cores with 96 images each, 1173 updates in 90
# epochs, learning rate 43 after 41 epochs.
def test_the_96k_run():
    preset = presets.get("resnet50_96k_conadv_aa")
    config = preset.config
    assert preset.published == 76.2
    assert preset.cores == 1024
    assert config.global_batch_size == 1024 * 96
    assert round(90 * 1281167 / config.global_batch_size) == 1173
    assert config.optimizer.learning_rate == 43
    assert config.optimizer.warmup_epochs == 41
    assert config.views == 2 and config.augmentation == "autoaugment"
    assert config.attack.epsilon == 8 / 255
    assert "TPU v3-1024, about 11 min (183 core-hours)" in preset.describe()


@pytest.mark.parametrize(
    "preset", presets.PRESETS.values(), ids=lambda p: p.name
)
def test_a_preset_is_restored_from_json(preset):
    values = json.loads(json.dumps(dataclasses.asdict(preset.config)))
    assert config_lib.from_dict(values) == preset.config
    per_core = preset.config.global_batch_size / (preset.cores or 1)
    assert per_core >= 64


def test_the_error_of_an_unknown_preset_suggests_others():
    with pytest.raises(ValueError, match="resnet50_96k_conadv_aa"):
        presets.get("resnet50_96k_conadv+aa")


def test_a_smoke_test_keeps_what_defines_a_run():
    config = presets.get("efficientnet_b2_16k_conadv_aa").config
    small = smoke_test.prepare(config)
    for name in ("method", "network", "attack", "optimizer", "precision"):
        assert getattr(small, name) == getattr(config, name)
    data = ca.data.load(
        small.dataset, small.global_batch_size, image_size=small.image_size
    )
    assert data.num_classes == 4 and data.steps_per_epoch == 4


# The policy fills with black, never with grey.
def test_the_digits_policy_keeps_the_background_black():
    digit = np.zeros((8, 8, 1), np.uint8)
    digit[2:6, 3:5] = 255
    augment = tf.function(
        lambda seed: ca.data.auto_augment(digit, seed, digits_policy.DIGITS)
    )
    images = np.stack([augment(tf.constant([0, i])) for i in range(200)])
    assert len(np.unique(images, axis=0)) > 20
    borders = np.concatenate([images[:, 0], images[:, -1]]).ravel()
    assert borders.max() < 32
    # The digit never vanishes.
    assert images.max(axis=(1, 2, 3)).min() > 64


@pytest.mark.slow
def test_a_digits_preset_runs(tmp_path):
    result = _run(
        "--preset=digits_432_conadv_aa", "--quick", "--seed=3", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["batch_size"] == 432 and summary["seed"] == 3
    assert '"augmentation": "autoaugment_digits"' in result.stdout


# The slow job runs the networks and methods that differ most.
_SLOW = (
    ("resnet50", "baseline"),
    ("resnet50", "conadv_aa"),
    ("efficientnet_b2", "conadv"),
)


@pytest.mark.parametrize(
    "network, method",
    [
        pytest.param(
            network,
            method,
            marks=pytest.mark.slow
            if (network, method) in _SLOW
            else pytest.mark.large,
        )
        for network in paper.TABLES
        for method in paper.RESNET50
    ],
)
def test_a_smoke_test_of_an_imagenet_preset_runs(network, method, tmp_path):
    result = _run(
        f"--preset={network}_16k_{method}",
        "--quick",
        f"--model_dir={tmp_path / 'run'}",
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["steps"] == 4
    assert np.isfinite(summary["final_loss"])


@pytest.mark.parametrize(
    "cores, expected",
    [
        (8, [("v5litepod-8", 1), ("v6e-8", 1), ("v5p-16", 1)]),
        (1024, [("v5litepod-256", 4), ("v6e-256", 4), ("v5p-2048", 1)]),
    ],
)
def test_newer_slices_have_as_many_micro_batches_as_v3_has_cores(
    cores, expected
):
    assert tpu.equivalents(cores) == expected
    chips = {"v5litepod": 1, "v6e": 1, "v5p": 2}
    for name, count in expected:
        family, _, size = name.partition("-")
        assert int(size) // chips[family] * count == cores
