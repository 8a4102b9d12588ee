"""What LARS excludes: by kind, by name, by identity."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import lars_variables


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


def test_identity_goes_before_the_name():
    variables = lars_variables.make()
    optimizer = ca.LARS(exclude_kinds=("normalization",))
    optimizer.exclude_variables([variables["a/kernel"]], "normalization")
    optimizer.exclude_variables([variables["norm/gamma"]], "bias")
    assert lars_variables.excluded(optimizer, variables) == {"a/kernel"}


# Layers of nested models have the same variable names.
def test_identity_tells_variables_of_one_name_apart():
    first, second = (tf.Variable([3.0, 4.0], name="kernel") for _ in "ab")
    optimizer = ca.LARS(1.0, momentum=0.0, trust_coefficient=0.1)
    optimizer.exclude_variables([second], "bias")
    gradient = tf.constant([10.0, 0.0])
    optimizer.apply_gradients([(gradient, first), (gradient, second)])
    np.testing.assert_allclose(first, [2.5, 4.0], rtol=1e-6)  # Trust 0.05.
    np.testing.assert_allclose(second, [-7.0, 4.0], rtol=1e-6)


def test_exclusion_by_identity_on_two_replicas():
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    with strategy.scope():
        first, second = (tf.Variable([3.0, 4.0], name="kernel") for _ in "ab")
        optimizer = ca.LARS(1.0, momentum=0.0, trust_coefficient=0.1)
        optimizer.exclude_variables([second], "bias")
        optimizer.build([first, second])

    def step():  # Keras sums gradients over the replicas.
        gradient = tf.constant([5.0, 0.0])
        optimizer.apply_gradients([(gradient, first), (gradient, second)])

    tf.function(lambda: strategy.run(step))()
    np.testing.assert_allclose(first.numpy(), [2.5, 4.0], rtol=1e-6)
    np.testing.assert_allclose(second.numpy(), [-7.0, 4.0], rtol=1e-6)
