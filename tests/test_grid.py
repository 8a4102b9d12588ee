"""Runs of a sweep, tuning of learning rates, and the table of results."""

import pytest

from experiments import presets
from experiments.sweeps import axes
from experiments.sweeps import grid
from experiments.sweeps import overview
from experiments.sweeps import tuning

EMULATED = ["emulate_replicas=4", "per_replica_batch_size=16"]


def _names(specs):
    return [spec.name for spec in specs]


def test_a_group_gives_the_configurations_of_its_presets():
    specs = grid.make_specs("digits_table1")
    assert _names(specs) == list(presets.GROUPS["digits_table1"])
    assert len(specs) == 30
    for spec in specs:
        assert spec.config == presets.get(spec.name).config
        assert spec.name == (
            f"digits_{spec.config.global_batch_size}_"
            f"{grid.method_name(spec.config)}"
        )


def test_methods_and_batch_sizes_select_from_a_group():
    specs = grid.make_specs(
        "table3", ["aa", "conadv_aa", "aa"], [98304, 16384], ["epochs=7"]
    )
    assert _names(specs) == [
        "resnet50_16k_aa",
        "resnet50_16k_conadv_aa",
        "resnet50_96k_aa",
        "resnet50_96k_conadv_aa",
        "efficientnet_b2_16k_aa",
        "efficientnet_b2_16k_conadv_aa",
    ]
    # The published accuracy is for 350 epochs.
    assert specs[-1].published is None and specs[-1].preset == specs[-1].name
    assert {spec.config.epochs for spec in specs} == {7}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("digits_table1", ["baseline"], [100]), r"1297\]; received \[100\]"),
        (
            ("table3", ["disadv"]),
            r"received \['disadv'\]. A preset, such as --preset=resnet50\w+",
        ),
        (("resnet50_table", ()), "mean .resnet50_table1.*Groups: digits"),
        (("", (), (), ["method=disadv"]), "received 'method=disadv'"),
        (("", (), (), ["epoch=3"]), "Unknown configuration key 'epoch'"),
        # Used to be ignored silently.
        (
            ("", (), (), ["augmentation=randaugment"]),
            "augmentation=randaugment was given, but the methods of this sweep",
        ),
        (
            ("", ["disadv"], (), ["step.staleness=3"]),
            "step.staleness=3 was given.*needs method conadv",
        ),
        # Runs with batches of 64 used to be named after 128 and 432.
        (("", (), [128, 432], EMULATED), "share 128 images.*received 4 repl"),
        (
            ("digits_table1", (), [432], EMULATED),
            "share 432 images.*received 4 replicas of 16",
        ),
    ],
)
def test_wrong_grids(arguments, message):
    with pytest.raises(ValueError, match=message):
        grid.make_specs(*arguments)


# A published accuracy holds only for the method and batch size of its preset.
def test_one_preset_is_changed_by_methods_and_batch_sizes():
    (alone,) = grid.make_specs("resnet50_96k_conadv_aa")
    assert alone.config == presets.get("resnet50_96k_conadv_aa").config
    assert alone.published == 76.2
    specs = grid.make_specs("resnet50_96k_conadv_aa", ["disadv", "aa"], [512])
    assert _names(specs) == [
        "resnet50_96k_conadv_aa_512_disadv",
        "resnet50_96k_conadv_aa_512_aa",
    ]
    assert [grid.method_name(spec.config) for spec in specs] == ["disadv", "aa"]
    assert {spec.config.global_batch_size for spec in specs} == {512}
    assert {spec.published for spec in specs} == {None}
    for changes, published in (
        # Changes of the hardware, the precision and the learning rate.
        (["strategy=tpu", "optimizer.learning_rate=3"], 76.2),
        (["precision=float32"], 76.2),
        (["label_smoothing=0"], None),
    ):
        (spec,) = grid.make_specs("resnet50_96k_conadv_aa", (), (), changes)
        assert spec.published == published, changes


def test_without_a_preset():
    assert _names(grid.make_specs()) == [
        f"digits_{size}_{method}"
        for size in (128, 432)
        for method in ("baseline", "disadv", "conadv")
    ]
    for dataset, policy in (
        ("digits", "autoaugment_digits"),
        ("cifar100", "autoaugment_cifar"),
        ("food101", "autoaugment"),
    ):
        (spec,) = grid.make_specs(
            "", ["conadv_aa"], [32], [f"dataset={dataset}"]
        )
        assert spec.name == f"{dataset}_32_conadv_aa"
        assert spec.config.augmentation == policy


# Runs are not repeated for a setting that has no effect on their method.
def test_axes_and_seeds():
    specs = axes.with_axes(
        grid.make_specs("", ["baseline", "disadv", "conadv"], [432]),
        {
            "attack.epsilon": [0.05, 0.1],
            "step.staleness": [1, 3],
            "optimizer.learning_rate": [4.0],
        },
    )
    assert _names(specs) == [
        "digits_432_baseline_rate4",
        "digits_432_disadv_epsilon0.05_rate4",
        "digits_432_disadv_epsilon0.1_rate4",
        "digits_432_conadv_epsilon0.05_staleness1_rate4",
        "digits_432_conadv_epsilon0.05_staleness3_rate4",
        "digits_432_conadv_epsilon0.1_staleness1_rate4",
        "digits_432_conadv_epsilon0.1_staleness3_rate4",
    ]
    last = specs[-1].config
    assert (last.attack.epsilon, last.step.staleness) == (0.1, 3)
    specs = axes.with_seeds(specs, 2)
    assert [spec.config.seed for spec in specs] == [0] * 7 + [1] * 7
    assert specs[7].name == "digits_432_baseline_rate4_seed1"


# A name shows six digits of a value.
def test_runs_with_equal_names_are_refused():
    specs = grid.make_specs("", ["conadv"], [64])
    specs = axes.with_axes(specs, {"attack.epsilon": [0.1, 0.10000001]})
    with pytest.raises(ValueError, match="called digits_64_conadv_epsilon0.1"):
        axes.with_seeds(specs, 1)


def test_axes_without_an_effect_are_refused():
    specs = grid.make_specs("", ["baseline", "disadv"], [64])
    with pytest.raises(ValueError, match=r"step.staleness=\[2, 3\] was given"):
        axes.with_axes(specs, {"step.staleness": [2, 3]})
    with pytest.raises(ValueError, match=r"attack.epsilon=\[0.05\] was given"):
        axes.with_axes(specs[:1], {"attack.epsilon": [0.05]})


def test_variants():
    specs = grid.make_specs("", ["baseline", "conadv"], [64])
    both = "start.epoch=5,epochs=9"
    variants = ["start.epoch=5", both, both]
    found = axes.with_variants(specs, variants)
    assert _names(found) == [
        "digits_64_baseline",
        "digits_64_conadv",
        "digits_64_conadv_start.epoch-5",
        "digits_64_baseline_start.epoch-5-epochs-9",
        "digits_64_conadv_start.epoch-5-epochs-9",
    ]
    assert [spec.variant for spec in found] == ["", "", variants[0], both, both]
    assert found[:2] == specs
    last = found[-1].config
    assert (last.start.epoch, last.epochs) == (5, 9)
    with pytest.raises(ValueError, match="received 'seed=3'"):
        axes.with_variants(specs, ["epochs=3,seed=3"])
    with pytest.raises(ValueError, match="received 'epochs=30'.*already"):
        axes.with_variants(specs, ["epochs=30"])


# Staleness has no effect on DisAdv, and the baseline has no attack.
def test_a_variant_changes_only_runs_that_it_affects():
    specs = grid.make_specs("", [], [64])
    names = ["digits_64_baseline", "digits_64_disadv", "digits_64_conadv"]
    assert _names(specs) == names
    found = axes.with_variants(
        specs, ["step.staleness=4", "attack.epsilon=0.2"]
    )
    assert _names(found[3:]) == [
        "digits_64_conadv_step.staleness-4",
        "digits_64_disadv_attack.epsilon-0.2",
        "digits_64_conadv_attack.epsilon-0.2",
    ]
    with pytest.raises(ValueError, match="staleness=4'.*no effect on any"):
        axes.with_variants(specs[:2], ["step.staleness=4"])


# With a quarter of the images held out, batches must shrink by a quarter for
# an epoch to keep its number of updates.
@pytest.mark.parametrize(
    "size, expected", [(432, 324), (64, 48), (1297, 972), (1, 1)]
)
def test_trials_shrink_batches_with_the_training_set(size, expected):
    (spec,) = grid.make_specs("", ["conadv"], [size])
    trials = tuning.trials([spec], [0.5, 2.0], 0.25)
    assert _names(trials) == [
        f"digits_{size}_conadv_rate0.5",
        f"digits_{size}_conadv_rate2",
    ]
    for trial, rate in zip(trials, (0.5, 2.0)):
        assert trial.config.split == "validation"
        assert trial.config.validation_fraction == 0.25
        assert trial.config.global_batch_size == expected
        assert trial.config.optimizer.learning_rate == rate
        assert trial.tuned_run == spec.name


def test_trials_shrink_the_batches_of_emulated_replicas():
    (spec,) = grid.make_specs("", ["conadv"], (), EMULATED)
    assert spec.name == "digits_conadv" and spec.config.global_batch_size == 64
    (trial,) = tuning.trials([spec], [1.0], 0.25)
    assert trial.config.per_replica_batch_size == 12
    assert trial.config.global_batch_size == 48


@pytest.mark.parametrize(
    "accuracies, best",
    [
        ({0.5: [0.8, 0.9], 1.0: [0.9, 0.9], 2.0: [0.7, 1.0]}, 1.0),
        ({2.0: [0.9], 1.0: [0.9], 4.0: [0.9]}, 1.0),  # The smaller of equals.
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


# A tuned rate differs only between batch sizes, so it makes no line. A setting
# that differs within a batch size does.
def test_table():
    rows = [
        _row("baseline", 64, 0.5, learning_rate="1.0"),
        _row("conadv", 64, 0.75),
        _row("conadv", 64, 0.25),
        _row("conadv", 432, 0.5, learning_rate="8.0"),
    ]
    assert overview.markdown(rows) == (
        "| method | batch 64 | batch 432 |\n"
        "|---|---|---|\n"
        "| baseline | 50.00 (n=1) |  |\n"
        "| conadv | 50.00 +- 35.36 (n=2) | 50.00 (n=1) |"
    )
    rows.append(_row("conadv", 64, 1.0, epsilon="0.2"))
    assert list(overview.series(rows)) == [
        "baseline, epsilon 0.1",
        "conadv, epsilon 0.1",
        "conadv, epsilon 0.2",
    ]
    rows[-1].update(epsilon="0.1", variant="epochs=9")
    assert list(overview.series(rows)) == [
        "baseline, variant none",
        "conadv, variant none",
        "conadv, variant epochs=9",
    ]
