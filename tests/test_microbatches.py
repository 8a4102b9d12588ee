"""Several micro-batches per update against as many replicas."""

import dataclasses

import numpy as np
import pytest

import conadv_tf as ca
from tests import models
from tests import networks


def _model(step, network, **attack_arguments):
    # Small rate, L2 attack: differences of the last bit grow otherwise.
    attack = ca.PGD(0.1, norm="l2", random_start=0.8, **attack_arguments)
    lars = ca.LARS(0.05, weight_decay=1e-4)
    return models.build(step, network, attack, lars, seed=5)


def _train_replicas(step, network, batches, replicas=4, **attack_arguments):
    strategy = ca.distribution.strategy("mirrored", num_replicas=replicas)
    with strategy.scope():
        model = _model(step, network, **attack_arguments)
    model.fit(networks.dataset(batches), verbose=0)
    return model


def _micro(batches, microbatches=4):
    """The same images in the same order, a part of a batch at a time."""
    size = len(batches[0][0]) // microbatches
    return networks.dataset(batches).unbatch().batch(size, drop_remainder=True)


# Batch norm statistics and attacks of each replica, one update: the weights
# and moving statistics of as many replicas. Replicas train on the first batch
# twice, first with a zero perturbation, because attacks run ahead.
# Micro-batches do not run ahead, so that they get the first batch twice.
@pytest.mark.parametrize(
    "method, count",
    [
        pytest.param("disadv", 4, marks=pytest.mark.slow),
        ("conadv", 2),
        pytest.param("staler", 4, marks=pytest.mark.slow),
        ("plain", 2),
    ],
)
def test_microbatches_equal_replicas(method, count):
    batches = networks.batches(5, size=8)
    network, step = networks.small(), models.METHODS[method]
    expected = _train_replicas(step, network, batches, count)
    if expected.stale_network is not None:
        batches = [batches[0], *batches[:-1]]
    step = dataclasses.replace(step, microbatches=count)
    model = _model(step, network)
    model.fit(_micro(batches, count), verbose=0)
    assert int(model.optimizer.iterations) == 5
    for weight, wanted in zip(model.network.weights, expected.network.weights):
        np.testing.assert_allclose(
            weight.numpy(),
            wanted.numpy(),
            rtol=1e-4,
            atol=1e-6,
            err_msg=weight.name,
        )


@pytest.mark.slow
def test_random_targets_and_starts_are_those_of_replicas():
    batches = networks.batches(3, size=8)
    network = networks.small()
    random = {"targeted": "random"}
    expected = _train_replicas("disadv", network, batches, **random)
    model = _model(ca.Sequential(microbatches=4), network, **random)
    model.fit(_micro(batches), verbose=0)
    np.testing.assert_allclose(
        networks.weights(model.network),
        networks.weights(expected.network),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.slow
def test_microbatches_on_two_replicas_equal_four_replicas():
    batches = networks.batches(3, size=8)
    network = networks.small()
    expected = _train_replicas("disadv", network, batches)
    with ca.distribution.strategy("mirrored", num_replicas=2).scope():
        model = _model(ca.Sequential(microbatches=2), network)
    data = networks.dataset(batches).unbatch().batch(4, drop_remainder=True)
    model.fit(data, verbose=0)
    np.testing.assert_allclose(
        networks.weights(model.network),
        networks.weights(expected.network),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("arguments", [{"jit_compile": True}, {}])
def test_ways_to_execute(arguments):
    model = models.build(ca.Concurrent(microbatches=2), **arguments)
    before = networks.weights(model.network)
    for images, labels in networks.batches(2, size=4):
        np.testing.assert_array_equal(before, networks.weights(model.network))
        model.train_on_batch(images, labels)
    assert not np.allclose(before, networks.weights(model.network))


# An epoch that ends in the middle of an update: the next epoch completes it,
# and the next `fit` begins anew.
def test_updates_over_the_end_of_an_epoch():
    model = models.build(ca.Plain(microbatches=4))
    data = networks.dataset(networks.batches(6, size=2))
    model.fit(data, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 3
    model.fit(data, verbose=0)
    assert int(model.optimizer.iterations) == 4
    model.fit(data.unbatch().batch(2).take(2), verbose=0)
    assert int(model.optimizer.iterations) == 4


@pytest.mark.parametrize("step_class", [ca.Plain, ca.Concurrent])
def test_several_steps_in_one_call_are_refused(step_class):
    step = step_class(microbatches=2)
    with pytest.raises(ValueError, match="steps_per_execution=1.*received 3"):
        models.build(step, steps_per_execution=3)
