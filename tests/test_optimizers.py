"""LAMB of tensorflow-addons in experiment configurations."""

import sys

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from experiments import callbacks
from experiments import config as config_lib
from experiments import optimizers
from tests import networks
from tests.marks import in_stack_a

LAMB = config_lib.OptimizerConfig(
    name="lamb", learning_rate=0.05, weight_decay=0.01, end_learning_rate=0.0
)


def lamb_update(weight, gradient, adapt):
    """The first update of LAMB, where the moments are g and its square.

    Algorithm 2 of arXiv 1904.00962 with bias correction.
    """
    direction = gradient / (np.abs(gradient) + 1e-6)
    if adapt:
        direction += LAMB.weight_decay * weight
        direction *= np.linalg.norm(weight) / np.linalg.norm(direction)
    return weight - LAMB.learning_rate * direction


# Variables that LARS excludes get neither decay nor a trust ratio.
@in_stack_a
def test_lamb_equals_the_paper_and_excludes_the_same_variables_as_lars():
    network = ca.split_batch_norm(networks.convolutional())
    weights = network.trainable_variables
    generator = np.random.default_rng(0)
    for weight in weights:
        weight.assign(generator.normal(size=weight.shape))
    before = [weight.numpy() for weight in weights]
    gradients = [generator.normal(size=weight.shape) for weight in weights]
    optimizer = optimizers.build(LAMB, LAMB.learning_rate)
    optimizer.apply_gradients(
        (tf.constant(gradient, tf.float32), weight)
        for gradient, weight in zip(gradients, weights)
    )
    excluded = [ca.LARS().is_excluded(weight) for weight in weights]
    assert {True, False} == set(excluded)
    for i, weight in enumerate(weights):
        expected = lamb_update(before[i], gradients[i], not excluded[i])
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


@in_stack_a
def test_a_model_trains_with_lamb_and_its_rate_is_logged():
    model = ca.ConAdvModel(networks.convolutional(), ca.PGD(0.1), seed=0)
    rate = tf.keras.optimizers.schedules.PolynomialDecay(0.5, 4, 0.1)
    model.compile(optimizers.build(LAMB, rate), networks.LOSS)
    data = networks.dataset(networks.batches(3))
    before = [weight.numpy() for weight in model.trainable_variables]
    history = model.fit(
        data, verbose=0, callbacks=[callbacks.LearningRateLogger()]
    )
    np.testing.assert_allclose(history.history["learning_rate"], 0.3)
    changed = [
        (weight.numpy() != old).any()
        for weight, old in zip(model.trainable_variables, before)
    ]
    assert all(changed)


def test_without_addons_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    with pytest.raises(ImportError, match=r"2.15.*\[experiments\].*lars"):
        optimizers.build(LAMB, 0.1)


# The default rate is for LARS. LAMB would move each weight by four times its
# norm in each step.
def test_learning_rate_of_lars_is_refused_for_lamb():
    with pytest.raises(ValueError, match="< 1 with.*received 4.0. Begin with"):
        config_lib.OptimizerConfig(name="lamb")
