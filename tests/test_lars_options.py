"""LARS's arguments: excluded weights, saved configurations, wrong values."""

import json

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import lars_variables


def test_config_round_trip_keeps_every_argument():
    optimizer = ca.LARS(
        ca.WarmupPolynomialDecay(0.5, 10, 3, power=1.6),
        momentum=0.8,
        weight_decay=0.1,
        trust_coefficient=0.02,
        epsilon=0.01,
        nesterov=True,
        exclude=("zero", "dead"),
        exclude_kinds=("bias",),
        decay_in_norm=True,
        name="mine",
        global_clipnorm=2.0,
    )
    config = tf.keras.optimizers.serialize(optimizer)
    copy = tf.keras.optimizers.deserialize(json.loads(json.dumps(config)))
    assert type(copy) is ca.LARS
    assert isinstance(copy._learning_rate, ca.WarmupPolynomialDecay)
    assert copy.get_config() == optimizer.get_config()
    assert copy.global_clipnorm == 2.0
    ours, theirs = lars_variables.make(), lars_variables.make()
    assert lars_variables.excluded(copy) == {
        "zero/kernel",
        "dead/kernel",
        "a/bias",
    }
    for step in range(5):
        lars_variables.apply(
            optimizer, ours, lars_variables.gradients(ours, step)
        )
        lars_variables.apply(copy, theirs, lars_variables.gradients(ours, step))
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


# An argument that get_config omits is lost when an optimizer is loaded.
def test_config_has_every_constructor_argument():
    arguments = set(ca.LARS.__init__.__code__.co_varnames[1:11])
    assert {"learning_rate", "exclude", "exclude_kinds"} < arguments
    assert arguments <= set(ca.LARS().get_config())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"momentum": 1.0}, r"momentum in \[0, 1\); received 1\.0"),
        ({"momentum": -0.1}, r"momentum .* received -0\.1"),
        ({"weight_decay": -0.5}, r"weight_decay >= 0; received -0\.5"),
        ({"trust_coefficient": 0}, "trust_coefficient > 0; received 0"),
        ({"epsilon": -1e-9}, "epsilon >= 0; received -1e-09"),
        ({"exclude_kinds": ["kernel"]}, r"received \['kernel'\]"),
    ],
    ids=str,
)
def test_bad_arguments_are_named_with_their_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        ca.LARS(**arguments)


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"received \['weights'\]"):
        ca.LARS().set_kind([], "weights")


# --- Exclusion --------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({}, {"a/bias", "norm/gamma"}),
        ({"exclude_kinds": ("bias",)}, {"a/bias"}),
        ({"exclude_kinds": ("normalization",)}, {"norm/gamma"}),
        ({"exclude_kinds": ()}, set()),
        ({"exclude_kinds": (), "exclude": "zero|dead"}, {"zero", "dead"}),
        ({"exclude_kinds": (), "exclude": ["^zero", "bias"]}, {"zero", "bias"}),
        ({"exclude": ["^kernel"]}, {"a/bias", "norm/gamma"}),
    ],
)
def test_exclusion_by_kind_and_pattern(arguments, expected):
    excluded = lars_variables.excluded(ca.LARS(**arguments))
    short = {"zero": "zero/kernel", "dead": "dead/kernel", "bias": "a/bias"}
    assert excluded == {short.get(name, name) for name in expected}


def test_set_kind_overrides_the_name():
    variables = lars_variables.make()
    optimizer = ca.LARS(exclude_kinds=("normalization",))
    optimizer.set_kind([variables["a/kernel"]], "normalization")
    optimizer.set_kind([variables["norm/gamma"]], "bias")
    assert lars_variables.excluded(optimizer, variables) == {"a/kernel"}


# Variables of nested models can have equal names.
def test_set_kind_distinguishes_variables_of_equal_names():
    first, second = (tf.Variable([3.0, 4.0], name="kernel") for _ in "ab")
    optimizer = ca.LARS(1.0, momentum=0.0, trust_coefficient=0.1)
    optimizer.set_kind([second], "bias")
    gradient = tf.constant([10.0, 0.0])
    optimizer.apply_gradients([(gradient, first), (gradient, second)])
    np.testing.assert_allclose(first, [2.5, 4.0], rtol=1e-6)  # Trust 0.05.
    np.testing.assert_allclose(second, [-7.0, 4.0], rtol=1e-6)


def test_set_kind_on_two_replicas():
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    with strategy.scope():
        first, second = (tf.Variable([3.0, 4.0], name="kernel") for _ in "ab")
        optimizer = ca.LARS(1.0, momentum=0.0, trust_coefficient=0.1)
        optimizer.set_kind([second], "bias")
        optimizer.build([first, second])

    def step():  # Keras sums gradients over the replicas.
        gradient = tf.constant([5.0, 0.0])
        optimizer.apply_gradients([(gradient, first), (gradient, second)])

    tf.function(lambda: strategy.run(step))()
    np.testing.assert_allclose(first.numpy(), [2.5, 4.0], rtol=1e-6)
    np.testing.assert_allclose(second.numpy(), [-7.0, 4.0], rtol=1e-6)
