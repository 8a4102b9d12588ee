"""Warm-up and decay against the formula, durations, scaling rules."""

import math

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.optimizers import learning_rates


def _plain(t, base, n, w, power, end):
    """The rate of update t by the formula of the docstring, float64."""
    if t < w:
        return base * (t + 1) / w
    done = min((t + 1 - w) / (n - w), 1.0)
    return end + (base - end) * (1 - done) ** power


@pytest.mark.parametrize("power", [1.0, 1.6, 2.0])
@pytest.mark.parametrize("n, w", [(20, 5), (20, 0), (7, 1), (1301, 593)])
def test_rates_equal_the_formula(power, n, w):
    base, end = 43.0, 1e-4
    schedule = ca.WarmupPolynomialDecay(
        base, n, w, power=power, end_learning_rate=end
    )
    # First, last of the warm-up, first of the decay, middle, last, after.
    for t in {0, max(w - 1, 0), w, (n + w) // 2, n - 2, n - 1, n, 2 * n}:
        np.testing.assert_allclose(
            float(schedule(t)), _plain(t, base, n, w, power, end), rtol=1e-4
        )


def test_key_steps_by_hand():
    schedule = ca.WarmupPolynomialDecay(8.0, 8, 4, end_learning_rate=0.0)
    rates = [float(schedule(t)) for t in range(10)]
    np.testing.assert_allclose(
        rates, [2, 4, 6, 8, 4.5, 2, 0.5, 0, 0, 0], atol=1e-6
    )


@pytest.mark.parametrize("n, w", [(20, 5), (20, 0), (5, 5), (20.5, 3.3)])
def test_no_update_has_rate_0(n, w):
    schedule = ca.WarmupPolynomialDecay(1.0, n, w)
    assert min(float(schedule(t)) for t in range(30)) >= 1e-4 * (1 - 1e-6)


# A fractional warm-up must not exceed the base rate.
@pytest.mark.parametrize("w", [0.4, 2.5, 3.0])
def test_base_rate_is_the_peak(w):
    schedule = ca.WarmupPolynomialDecay(2.0, 20, w)
    assert max(float(schedule(t)) for t in range(20)) <= 2.0 + 1e-6


# Without a decay there must be no division by zero.
def test_warmup_may_last_the_whole_training():
    schedule = ca.WarmupPolynomialDecay(2.0, 4, 4)
    rates = [float(schedule(t)) for t in range(5)]
    np.testing.assert_allclose(rates, [0.5, 1.0, 1.5, 2.0, 1e-4], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["int64", "int32", "float32"])
def test_step_of_any_dtype_inside_tf_function(dtype):
    schedule = ca.WarmupPolynomialDecay(1.0, 20, 5)
    rate = tf.function(schedule)(tf.constant(2, dtype))
    assert rate.dtype == tf.float32 and rate.shape == []
    np.testing.assert_allclose(rate, 0.6, rtol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"train_steps": 200, "warmup_steps": 30},
        {"train_epochs": 20, "warmup_epochs": 3},
        {"train_examples": 20000, "warmup_examples": 3000},
        {"train_epochs": 20, "warmup_steps": 30},
        {"train_steps": 200, "warmup_examples": 3000},
    ],
    ids=str,
)
def test_steps_epochs_and_examples_are_equivalent(arguments):
    schedule = ca.WarmupPolynomialDecay(
        0.5, **arguments, global_batch_size=100, num_examples=1000
    )
    assert schedule.get_config() == {
        "base_learning_rate": 0.5,
        "train_steps": 200.0,
        "warmup_steps": 30.0,
        "power": 2.0,
        "end_learning_rate": 1e-4,
    }


def test_durations_may_be_fractions_of_a_step():
    steps = learning_rates.duration_in_steps(
        "warmup", epochs=2.5, global_batch_size=300, num_examples=1000
    )
    assert steps == pytest.approx(25 / 3)


def test_round_trip_through_keras():
    schedule = ca.WarmupPolynomialDecay(
        0.5,
        train_epochs=90,
        warmup_epochs=5,
        power=1.6,
        end_learning_rate=1e-3,
        global_batch_size=96,
        num_examples=1000,
    )
    config = tf.keras.optimizers.schedules.serialize(schedule)
    copy = tf.keras.optimizers.schedules.deserialize(config)
    assert type(copy) is ca.WarmupPolynomialDecay
    for t in (0, 30, 60, 500, 10**4):
        assert float(copy(t)) == float(schedule(t))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "exactly one of train_steps, .* received none"),
        (
            {"train_steps": 10, "train_epochs": 3},
            "received {'train_steps': 10, 'train_epochs': 3}",
        ),
        (
            {"train_steps": 9, "warmup_steps": 1, "warmup_examples": 2},
            "received {'warmup_steps': 1, 'warmup_examples': 2}",
        ),
        ({"train_steps": -5}, "train_steps >= 0; received -5"),
        ({"train_steps": math.nan}, "train_steps >= 0; received nan"),
        ({"train_steps": math.inf}, "train_steps >= 0; received inf"),
        ({"train_steps": 0}, "0 warm-up steps of 0 training steps"),
        (
            {"train_steps": 10, "warmup_steps": 11},
            "11 warm-up steps of 10 training steps",
        ),
        (
            {"train_epochs": 10, "num_examples": 100},
            "global_batch_size > 0 .* train_epochs=10 .* received None",
        ),
        (
            {"train_epochs": 10, "global_batch_size": 8},
            "num_examples > 0 .* train_epochs=10 .* received None",
        ),
        (
            {"train_examples": 10, "global_batch_size": -8},
            "global_batch_size > 0 .* train_examples=10 .* received -8",
        ),
        (
            {"train_steps": 10, "base_learning_rate": 0.0},
            r"base_learning_rate > 0 .* received 0\.0 and 2\.0",
        ),
        (
            {"train_steps": 10, "power": -1},
            r"power > 0; received 1\.0 and -1",
        ),
    ],
    ids=str,
)
def test_bad_arguments_are_named_with_their_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        ca.WarmupPolynomialDecay(**{"base_learning_rate": 1.0, **arguments})


# --- Scaling rules ----------------------------------------------------------


# The batch sizes are the edges of the table in the authors' code.
@pytest.mark.parametrize(
    "global_batch_size, rate, epochs",
    [
        (4096, 10.0, 5),
        (16383, 10.0, 5),
        (16384, 25.0, 5),
        (32767, 25.0, 5),
        (32768, 31.2, 25),
        (65535, 31.2, 25),
        (65536, 43.0, 41),
        (98304, 43.0, 41),
    ],
)
def test_paper_table(global_batch_size, rate, epochs):
    found = ca.scaling_rule(global_batch_size)
    assert found.base_learning_rate == rate
    assert found.warmup_epochs == epochs
    assert found.warmup_examples == epochs * 1281167
    assert found.warmup_steps == pytest.approx(
        epochs * 1281167 / global_batch_size
    )


@pytest.mark.parametrize(
    "rule, expected", [("linear", 0.1 * 64), ("sqrt", 0.1 * 8)]
)
def test_linear_and_sqrt_rules(rule, expected):
    found = ca.scaling_rule(16384, rule=rule)
    assert found.base_learning_rate == pytest.approx(expected)
    assert found.warmup_epochs == 5.0
    other = ca.scaling_rule(
        16384,
        rule=rule,
        base_learning_rate=0.2,
        base_batch_size=1024,
        warmup_epochs=7,
    )
    factor = 16 if rule == "linear" else 4
    assert other.base_learning_rate == pytest.approx(0.2 * factor)
    assert other.warmup_epochs == 7


def test_scaled_rate_makes_the_schedule():
    schedule = ca.scaling_rule(65536).schedule(train_epochs=90)
    steps = 1281167 / 65536
    assert schedule.get_config() == {
        "base_learning_rate": 43.0,
        "train_steps": pytest.approx(90 * steps),
        "warmup_steps": pytest.approx(41 * steps),
        "power": 1.6,
        "end_learning_rate": 1e-4,
    }


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"global_batch_size": 0}, "received 0 and 1281167"),
        ({"global_batch_size": 8, "num_examples": -3}, "received 8 and -3"),
        ({"global_batch_size": 8, "rule": "cubic"}, "received 'cubic'"),
    ],
    ids=str,
)
def test_scaling_rule_errors_name_the_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        ca.scaling_rule(**arguments)
