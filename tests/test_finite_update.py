"""A gradient that is not finite changes nothing but a counter."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.steps import update
from tests import models
from tests import networks
from tests.marks import slow


def _poisoned(batches, index):
    """Batches of which one has a NaN among its sample weights."""
    data = []
    for number, (images, labels) in enumerate(batches):
        weights = np.ones(len(labels), np.float32)
        weights[-1] = np.nan if number == index else 1.0
        data.append((images, labels, weights))
    images, labels, weights = (np.concatenate(part) for part in zip(*data))
    return tf.data.Dataset.from_tensor_slices((images, labels, weights)).batch(
        len(batches[0][0]), drop_remainder=True
    )


def _state(model):
    """Weights, moving statistics and slots."""
    variables = [*model.network.variables, *model.optimizer.variables[2:]]
    return [np.array(variable) for variable in variables]


def _lars():
    return ca.LARS(0.5, weight_decay=0.1)


def _legacy():
    return tf.keras.optimizers.legacy.SGD(0.1, momentum=0.9)


# One NaN on one of the replicas: the update is skipped on all.
@pytest.mark.parametrize(
    "optimizer, method, replicas",
    [
        (_lars, "disadv", 2),
        (_lars, "plain", 1),
        slow("adam", "plain", 2),
        (_legacy, "plain", 1),
        slow(_legacy, "disadv", 2),
    ],
)
def test_a_bad_batch_changes_nothing(optimizer, method, replicas):
    model = models.build(method, optimizer=optimizer, replicas=replicas)
    batches = networks.batches(2)
    model.fit(_poisoned(batches, None), verbose=0)
    before = [np.array(variable) for variable in model.network.variables]
    bad = _poisoned(batches[:1], 0)
    model.fit(bad, verbose=0)
    for variable, old in zip(model.network.variables, before):
        np.testing.assert_array_equal(variable.numpy(), old, variable.name)
    assert int(model.skipped_steps) == 1
    assert model.optimizer.iterations.numpy() == 3
    model.fit(_poisoned(batches, None), verbose=0)
    assert np.isfinite(networks.weights(model.network)).all()
    assert not np.allclose(model.network.variables[0], before[0])


# Slots too: with the bad batch the run is the one without it, at a rate that
# does not depend on the step.
@pytest.mark.parametrize("jit_compile", [slow(False), True])
def test_a_run_with_a_bad_batch_equals_one_without_it(jit_compile):
    batches, results = networks.batches(4), []
    network = networks.small()
    for data in (
        _poisoned(batches, 1),
        _poisoned([batches[i] for i in (0, 2, 3)], None),
    ):
        model = models.build(
            "disadv",
            network,
            ca.FGSM(0.1),
            ca.LARS(0.5, momentum=0.9),
            jit_compile=jit_compile,
        )
        model.fit(data, verbose=0)
        results.append(_state(model))
    for first, second in zip(*results):
        np.testing.assert_array_equal(first, second)


# ConAdv sees the bad batch again as the pending one, once: the run goes on
# with the batch after it.
def test_conadv_moves_on():
    model = models.build()
    model.fit(_poisoned(networks.batches(5), 2), verbose=0)
    assert int(model.skipped_steps) == 1
    assert np.isfinite(networks.weights(model.network)).all()


def test_microbatches_skip_the_whole_update():
    model = models.build(ca.Plain(microbatches=2))
    before = networks.weights(model.network)
    model.fit(_poisoned(networks.batches(2), 0), verbose=0)
    np.testing.assert_array_equal(before, networks.weights(model.network))
    model.fit(_poisoned(networks.batches(2), None), verbose=0)
    assert int(model.skipped_steps) == 1
    assert not np.allclose(before, networks.weights(model.network))


# Keras applies the gradients of a fixed loss scale, whatever they are.
@pytest.mark.parametrize("dynamic, scale", [(True, 4.0), (False, 8.0)])
def test_a_dynamic_loss_scale_is_lowered(dynamic, scale):
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
        tf.keras.optimizers.SGD(0.1), dynamic=dynamic, initial_scale=8.0
    )
    model = models.build(optimizer=optimizer)
    before = networks.weights(model.network)
    model.fit(_poisoned(networks.batches(1), 0), verbose=0)
    np.testing.assert_array_equal(before, networks.weights(model.network))
    assert float(optimizer.loss_scale) == scale
    assert model.skipped_steps == int(optimizer.iterations) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_all_finite(value):
    good = tf.constant([[1.0, -2.0]])
    slices = tf.IndexedSlices(tf.constant([1.0, value]), tf.constant([0, 1]))
    assert update.all_finite([good, 1.5e38 * good])
    assert not update.all_finite([good, slices])
    assert not update.all_finite([tf.constant([value, 1.0]), good])
