"""LARS's configuration round-trips; bad arguments are refused."""

import json

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import lars_variables


def test_config_round_trip_keeps_everything():
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


# A constructor argument that get_config forgets cannot come back.
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
        ca.LARS().exclude_variables([], "weights")
