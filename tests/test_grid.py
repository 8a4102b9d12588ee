"""The cells of a sweep, and how a learning rate is chosen."""

import pytest

from experiments import config as config_lib
from experiments import presets
from experiments.sweeps import axes
from experiments.sweeps import grid
from experiments.sweeps import table
from experiments.sweeps import tuning

EMULATED = ["emulate_replicas=4", "per_replica_batch_size=16"]


def _names(cells):
    return [cell.name for cell in cells]


def test_a_group_gives_its_rows():
    rows = grid.rows("digits_table1")
    assert _names(rows) == list(presets.GROUPS["digits_table1"])
    assert len(rows) == 30
    for row in rows:
        assert row.config == presets.get(row.name).config
        assert row.name == (
            f"digits_{row.config.global_batch_size}_"
            f"{grid.method_name(row.config)}"
        )


def test_methods_and_batch_sizes_select_rows_of_a_group():
    rows = grid.rows(
        "table3", ["aa", "conadv_aa", "aa"], [98304, 16384], ["epochs=7"]
    )
    assert _names(rows) == [
        "resnet50_16k_aa",
        "resnet50_16k_conadv_aa",
        "resnet50_96k_aa",
        "resnet50_96k_conadv_aa",
        "efficientnet_b2_16k_aa",
        "efficientnet_b2_16k_conadv_aa",
    ]
    # Of 350 epochs.
    assert rows[-1].published is None and rows[-1].preset == rows[-1].name
    assert {row.config.epochs for row in rows} == {7}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("digits_table1", ["baseline"], [100]), r"1297\]; received \[100\]"),
        (("table3", ["disadv"]), r"received \['disadv'\]"),
        (("resnet50_table", ()), "mean .resnet50_table1.*Groups: digits"),
        (("", (), (), ["method=disadv"]), "received 'method=disadv'"),
        (("", (), (), ["epoch=3"]), "Unknown configuration key 'epoch'"),
        # Once trained without it, and without a word.
        (
            ("", (), (), ["augmentation=randaugment"]),
            "Expected augmentation=randaugment to be of some run",
        ),
        (
            ("", ["disadv"], (), ["staleness=3"]),
            "staleness=3 was given.*needs method conadv",
        ),
        # Batches of 64 once went by the names of batches of 128 and 432.
        (("", (), [128, 432], EMULATED), "share 128 images.*received 4 of 16"),
        (
            ("digits_table1", (), [432], EMULATED),
            "share 432 images.*received 4 of 16",
        ),
    ],
)
def test_wrong_grids(arguments, message):
    with pytest.raises(ValueError, match=message):
        grid.rows(*arguments)


# What a preset says is published is so no longer for another method or size.
def test_one_preset_is_changed_by_methods_and_batch_sizes():
    (alone,) = grid.rows("resnet50_96k_conadv_aa")
    assert alone.config == presets.get("resnet50_96k_conadv_aa").config
    assert alone.published == 76.2
    rows = grid.rows("resnet50_96k_conadv_aa", ["disadv", "aa"], [512])
    assert _names(rows) == [
        "resnet50_96k_conadv_aa_512_disadv",
        "resnet50_96k_conadv_aa_512_aa",
    ]
    assert [grid.method_name(row.config) for row in rows] == ["disadv", "aa"]
    assert {row.config.global_batch_size for row in rows} == {512}
    assert {row.published for row in rows} == {None}
    for changes, published in (
        # Where and how it is computed, and a rate that is shown.
        (["strategy=tpu", "optimizer.learning_rate=3"], 76.2),
        (["precision=float32"], 76.2),
        (["label_smoothing=0"], None),
    ):
        (row,) = grid.rows("resnet50_96k_conadv_aa", (), (), changes)
        assert row.published == published, changes


def test_without_a_preset():
    assert _names(grid.rows()) == [
        f"digits_{size}_{method}"
        for size in (128, 432)
        for method in ("baseline", "disadv", "conadv")
    ]
    for dataset, policy in (
        ("digits", "autoaugment_digits"),
        ("cifar100", "autoaugment_cifar"),
        ("food101", "autoaugment"),
    ):
        (row,) = grid.rows("", ["conadv_aa"], [32], [f"dataset={dataset}"])
        assert row.name == f"{dataset}_32_conadv_aa"
        assert row.config.augmentation == policy


# An axis that a method does not have does not multiply its runs.
def test_axes_and_seeds():
    rows = grid.rows("", ["baseline", "disadv", "conadv"], [432])
    settings = axes.with_axes(rows, [0.05, 0.1], [1, 3], [4.0])
    assert _names(settings) == [
        "digits_432_baseline_rate4",
        "digits_432_disadv_epsilon0.05_rate4",
        "digits_432_disadv_epsilon0.1_rate4",
        "digits_432_conadv_epsilon0.05_staleness1_rate4",
        "digits_432_conadv_epsilon0.05_staleness3_rate4",
        "digits_432_conadv_epsilon0.1_staleness1_rate4",
        "digits_432_conadv_epsilon0.1_staleness3_rate4",
    ]
    last = settings[-1].config
    assert (last.attack.epsilon, last.staleness) == (0.1, 3)
    cells = axes.with_seeds(settings, 2)
    assert [cell.config.seed for cell in cells] == [0] * 7 + [1] * 7
    assert cells[7].name == "digits_432_baseline_rate4_seed1"
    assert cells[7].setting == settings[0].name


# Six digits are all that a name tells.
def test_cells_of_one_name():
    rows = grid.rows("", ["conadv"], [64])
    cells = axes.with_axes(rows, [0.1, 0.10000001])
    with pytest.raises(ValueError, match="called digits_64_conadv_epsilon0.1"):
        axes.with_seeds(cells, 1)


def test_axes_that_are_for_no_row():
    rows = grid.rows("", ["baseline", "disadv"], [64])
    with pytest.raises(ValueError, match=r"staleness=\[2, 3\] was given"):
        axes.with_axes(rows, staleness=[2, 3])
    with pytest.raises(ValueError, match=r"attack.epsilon=\[0.05\] was given"):
        axes.with_axes(rows[:1], epsilons=[0.05])


@pytest.mark.parametrize(
    "changes, name",
    [
        (("baseline", None), "baseline"),
        (("baseline", "autoaugment_cifar"), "aa"),
        (("conadv", "autoaugment_digits"), "conadv_aa"),
        (("disadv", "autoaugment"), "disadv_aa"),
        (("baseline", "mixup"), "baseline_mixup"),
        (("conadv", "autoaugment", 0.25, "shared"), "conadv_shared_aa"),
        (("conadv", "autoaugment", 0.5), "conadv_aa"),
    ],
)
def test_method_names(changes, name):
    keys = "method", "augmentation", "adversarial_fraction", "attack_pass"
    config = config_lib.RunConfig(**dict(zip(keys, changes)))
    assert grid.method_name(config) == name


def test_variants():
    rows = axes.with_axes(grid.rows("", ["baseline", "conadv"], [64]))
    both = "attack.start_epoch=5,epochs=9"
    variants = ["attack.start_epoch=5", both, both]
    cells = axes.with_variants(rows, variants)
    assert _names(cells) == [
        "digits_64_baseline",
        "digits_64_conadv",
        "digits_64_conadv_attack.start-epoch-5",
        "digits_64_baseline_attack.start-epoch-5-epochs-9",
        "digits_64_conadv_attack.start-epoch-5-epochs-9",
    ]
    assert [cell.variant for cell in cells] == ["", "", variants[0], both, both]
    assert cells[:2] == rows
    last = cells[-1].config
    assert (last.attack.start_epoch, last.epochs) == (5, 9)
    assert cells[-1].setting == cells[-1].name
    with pytest.raises(ValueError, match="received 'seed=3'"):
        axes.with_variants(rows, ["epochs=3,seed=3"])
    with pytest.raises(ValueError, match="received 'epochs=30'.*already"):
        axes.with_variants(rows, ["epochs=30"])


# Another tau trains DisAdv as before, and the baseline has no attack.
def test_a_variant_is_of_rows_that_depend_on_it():
    rows = axes.with_axes(grid.rows("", [], [64]))
    names = ["digits_64_baseline", "digits_64_disadv", "digits_64_conadv"]
    assert _names(rows) == names
    cells = axes.with_variants(rows, ["staleness=4", "attack.epsilon=0.2"])
    assert _names(cells[3:]) == [
        "digits_64_conadv_staleness-4",
        "digits_64_disadv_attack.epsilon-0.2",
        "digits_64_conadv_attack.epsilon-0.2",
    ]
    with pytest.raises(ValueError, match="'staleness=4'.*no effect on any"):
        axes.with_variants(rows[:2], ["staleness=4"])


# Validation takes a quarter of the images, so that a batch must shrink by a
# quarter for an epoch to have as many updates.
@pytest.mark.parametrize(
    "size, expected", [(432, 324), (64, 48), (1297, 972), (1, 1)]
)
def test_tuning_cells(size, expected):
    settings = axes.with_axes(grid.rows("", ["conadv"], [size]))
    cells = tuning.cells(settings, [0.5, 2.0], 0.25)
    assert _names(cells) == [
        f"digits_{size}_conadv_rate0.5",
        f"digits_{size}_conadv_rate2",
    ]
    for cell, rate in zip(cells, (0.5, 2.0)):
        assert cell.config.split == "validation"
        assert cell.config.validation_fraction == 0.25
        assert cell.config.global_batch_size == expected
        assert cell.config.optimizer.learning_rate == rate
        assert cell.setting == settings[0].name


def test_tuning_shrinks_the_batches_of_emulated_replicas():
    (row,) = grid.rows("", ["conadv"], (), EMULATED)
    assert row.name == "digits_conadv" and row.config.global_batch_size == 64
    (cell,) = tuning.cells([row], [1.0], 0.25)
    assert cell.config.per_replica_batch_size == 12
    assert cell.config.global_batch_size == 48


@pytest.mark.parametrize(
    "accuracies, best",
    [
        ({0.5: [0.8, 0.9], 1.0: [0.9, 0.9], 2.0: [0.7, 1.0]}, 1.0),
        ({2.0: [0.9], 1.0: [0.9], 4.0: [0.9]}, 1.0),  # Ties: the smaller.
        ({1.0: [0.5], 8.0: [None]}, 1.0),
        ({1.0: [0.5, 0.6], 8.0: [0.9, None]}, 1.0),  # One seed diverged.
        ({1.0: [0.0]}, 1.0),
    ],
)
def test_best_rates(accuracies, best):
    results = [
        ("a", rate, value)
        for rate, values in accuracies.items()
        for value in values
    ]
    other = [("b", 3.0, 0.1), ("c", 3.0, None)]
    assert tuning.best_rates(other + results) == {"a": best, "b": 3.0}


def _row(method, size, top1, **axes):
    return {
        "network": "n",
        "dataset": "d",
        "epsilon": "0.1",
        "staleness": "1",
        "learning_rate": "4.0",
        "variant": "",
        "method": method,
        "batch_size": str(size),
        "top1": str(top1),
        **axes,
    }


# A tuned rate differs between batch sizes and is no line of its own; an axis
# differs within one.
def test_table():
    rows = [
        _row("baseline", 64, 0.5, learning_rate="1.0"),
        _row("conadv", 64, 0.75),
        _row("conadv", 64, 0.25),
        _row("conadv", 432, 0.5, learning_rate="8.0"),
    ]
    assert table.markdown(rows) == (
        "| method | batch 64 | batch 432 |\n"
        "|---|---|---|\n"
        "| baseline | 50.00 (n=1) |  |\n"
        "| conadv | 50.00 +- 35.36 (n=2) | 50.00 (n=1) |"
    )
    rows.append(_row("conadv", 64, 1.0, epsilon="0.2"))
    assert list(table.lines(rows)) == [
        "baseline, epsilon 0.1",
        "conadv, epsilon 0.1",
        "conadv, epsilon 0.2",
    ]
    rows[-1].update(epsilon="0.1", variant="epochs=9")
    assert list(table.lines(rows)) == [
        "baseline, variant none",
        "conadv, variant none",
        "conadv, variant epochs=9",
    ]
