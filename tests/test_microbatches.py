"""Several micro-batches per update against as many replicas."""

import dataclasses
import functools

import numpy as np
import pytest

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow


# Batch norm statistics and attacks of each replica, one update: the weights
# and moving statistics of as many replicas. The fraction of each micro-batch is
# attacked. Replicas train on the first batch twice, first with a zero
# perturbation, because attacks run ahead. Micro-batches do not run ahead, so
# that they get the first batch twice.
@pytest.mark.parametrize(
    "step, replicas, microbatches, targeted",
    [
        slow(ca.Sequential(), 1, 4, "random"),
        slow(ca.Sequential(), 2, 2, None),
        slow(ca.Sequential(fraction=0.5), 1, 2, None),
        (ca.Concurrent(), 1, 2, None),
        slow(ca.Concurrent(staleness=3), 1, 4, None),
        slow(ca.Plain(), 1, 2, None),
    ],
)
def test_microbatches_equal_replicas(step, replicas, microbatches, targeted):
    batches = networks.batches(5, size=8)
    # Small rate, L2 attack: differences of the last bit grow otherwise.
    build = functools.partial(
        models.build,
        network=networks.small(),
        attack=ca.PGD(0.1, norm="l2", random_start=0.8, targeted=targeted),
        optimizer=functools.partial(models.lars, 0.05),
        seed=5,
    )
    expected = build(step, replicas=replicas * microbatches)
    expected.fit(networks.dataset(batches), verbose=0)
    if expected.stale_network is not None:
        batches = [batches[0], *batches[:-1]]
    step = dataclasses.replace(step, microbatches=microbatches)
    model = build(step, replicas=replicas)
    # The same images in the same order, a part of a batch at a time.
    data = networks.dataset(batches).unbatch()
    data = data.batch(8 // microbatches, drop_remainder=True)
    model.fit(data, verbose=0)
    assert model.optimizer.iterations.numpy() == 5
    networks.assert_same_weights(model, expected, 1e-4, 1e-6)


@pytest.mark.parametrize("arguments", [slow({"jit_compile": True}), {}])
def test_ways_to_execute(arguments):
    model = models.build(ca.Concurrent(microbatches=2), **arguments)
    before = networks.weights(model.network)
    for images, labels in networks.batches(2, size=4):
        np.testing.assert_array_equal(before, networks.weights(model.network))
        model.train_on_batch(images, labels)
    assert not np.allclose(before, networks.weights(model.network))


# An epoch that ends in the middle of an update: the next epoch completes it,
# and the next `fit` starts from the beginning.
def test_updates_over_the_end_of_an_epoch():
    model = models.build(ca.Plain(microbatches=4))
    data = networks.dataset(networks.batches(6, size=2))
    model.fit(data, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 3
    model.fit(data, verbose=0)
    assert int(model.optimizer.iterations) == 4
    model.fit(data.unbatch().batch(2).take(2), verbose=0)
    assert int(model.optimizer.iterations) == 5


@pytest.mark.parametrize("step_class", [ca.Plain, ca.Concurrent])
def test_several_steps_in_one_call_are_refused(step_class):
    step = step_class(microbatches=2)
    with pytest.raises(ValueError, match="steps_per_execution=1.*received 3"):
        models.build(step, steps_per_execution=3)


# Replicas would add their gradients.
@pytest.mark.parametrize("step", [ca.Plain, ca.Concurrent])
def test_a_loss_that_is_a_sum_is_refused(step):
    loss = type(networks.LOSS)(from_logits=True, reduction="sum")
    models.build(step(), loss=loss)
    with pytest.raises(ValueError, match="microbatches=2.*reduction='sum'"):
        models.build(step(microbatches=2), loss=loss)
