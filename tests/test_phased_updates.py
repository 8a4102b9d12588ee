"""Phased placement: updates left out, continued, compiled, written."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.steps import Batch
from tests import networks
from tests import phased_models
from tests import resumable

THIRDS, PAIRS = (3, {}), (2, phased_models.PAIRS)
SCHEDULES = pytest.mark.parametrize(
    "replicas, arguments", [THIRDS, PAIRS], ids=["thirds", "pairs"]
)


# At zero gradients LARS decays weights, and a loss scale grows.
@SCHEDULES
def test_no_update_before_all_have_data(replicas, arguments):
    model = phased_models.build(
        replicas,
        networks.small(),
        lambda: tf.keras.mixed_precision.LossScaleOptimizer(
            ca.LARS(0.5, weight_decay=0.1),
            initial_scale=8.0,
            dynamic_growth_steps=3,
        ),
        **arguments,
    )
    idle = 2 * replicas - 1
    data = networks.dataset(networks.batches(idle, size=2 * replicas))
    before = networks.weights(model.network)
    model.fit(data, verbose=0)
    np.testing.assert_array_equal(networks.weights(model.network), before)
    assert model.optimizer.iterations.numpy() == model.skipped_steps == 0
    assert float(model.optimizer.loss_scale) == 8.0
    # Each `fit` begins anew.
    model.fit(data, verbose=0)
    np.testing.assert_array_equal(networks.weights(model.network), before)
    # An epoch without a loss, then one with: nothing diverges.
    model.fit(data, epochs=2, verbose=0)
    assert model.optimizer.iterations.numpy() == idle
    assert not np.allclose(networks.weights(model.network), before, 1e-4)


# A NaN on one replica stops the updates in which it has a part: adversarial
# and clean, or start, clean and adversarial.
@pytest.mark.parametrize(
    "schedule, skipped",
    [(THIRDS, (7, 8)), (PAIRS, (4, 5, 6))],
    ids=["thirds", "pairs"],
)
def test_a_gradient_that_is_not_finite(schedule, skipped):
    (replicas, arguments), steps = schedule, 12
    size, idle = 2 * replicas, 2 * replicas - 1
    images, labels = (
        np.concatenate(part)
        for part in zip(*networks.batches(steps, size=size))
    )
    weights = np.ones(len(images), np.float32)
    # Replica 0 works on it from the age of 2 num_turns.
    weights[replicas * size] = np.nan
    data = tf.data.Dataset.from_tensor_slices((images, labels, weights))
    model = phased_models.build(replicas, **arguments)
    watch = phased_models.Watch()
    data = data.batch(size, drop_remainder=True)
    model.fit(data, callbacks=[watch], verbose=0)
    assert model.skipped_steps == len(skipped)
    assert model.first_skipped_step == skipped[0] - idle
    assert model.optimizer.iterations.numpy() == steps - idle
    for age in range(idle + 1, steps):
        same = all(
            np.array_equal(old, new)
            for both in zip(*watch.seen[age - 1 : age + 1])
            for old, new in zip(*both)
        )
        assert same == (age in skipped), age
    assert np.isfinite(networks.weights(model.network)).all()


# Before the first update, and after it.
@pytest.mark.parametrize(
    "schedule, stop_at",
    [
        pytest.param(THIRDS, 4, marks=pytest.mark.slow, id="thirds-4"),
        pytest.param(THIRDS, 9, marks=pytest.mark.slow, id="thirds-9"),
        pytest.param(PAIRS, 9, id="pairs-9"),
    ],
)
def test_continued_equals_uninterrupted(schedule, stop_at, tmp_path):
    replicas, arguments = schedule
    network = networks.linear((6, 6, 1))
    batches = networks.batches(13, size=2 * replicas)

    def train(first, *callbacks):
        model = phased_models.build(replicas, network, **arguments)
        data = ca.data.resume_at(networks.dataset(batches), 0, first, 13)
        model.fit(data, steps_per_epoch=13, callbacks=callbacks, verbose=0)
        return model

    source, cut = tmp_path / "whole", tmp_path / "cut"
    checkpoints = ca.Checkpoints(source, every_steps=1)
    copy = resumable.CopyAt(checkpoints, stop_at, source, cut)
    whole = train(0, checkpoints, copy)
    checkpoints = ca.Checkpoints(cut, every_steps=1, restore=True)
    assert checkpoints.position == (0, stop_at)
    continued = train(stop_at, checkpoints)
    np.testing.assert_array_equal(
        networks.weights(continued.network), networks.weights(whole.network)
    )
    assert continued.history.history == whole.history.history


@pytest.mark.slow
def test_several_steps_in_one_call():
    data = networks.dataset(networks.batches(12, size=6))
    network = networks.small()
    once = phased_models.build(3, network)
    several = phased_models.build(3, network, steps_per_execution=4)
    for model in (once, several):
        model.fit(data, verbose=0)
    np.testing.assert_allclose(
        networks.weights(several.network),
        networks.weights(once.network),
        1e-5,
        1e-6,
    )
    images, labels = networks.batches(1, size=6)[0]
    assert np.isfinite(once.evaluate(images, labels, verbose=0)).all()


# A single replica takes turns with itself: nothing to train with, but all
# there is for XLA to compile.
@SCHEDULES
def test_xla_compiles_the_step(replicas, arguments):
    network, results = networks.small(), []
    batches = networks.batches(9, size=phased_models.SHARE)
    for jit_compile in (False, True):
        arguments = {"attack": phased_models.attack(), **arguments}
        model = ca.ConAdvModel(network, placement="phased", **arguments)
        model.compile(
            phased_models.sgd(), networks.LOSS, jit_compile=jit_compile
        )
        specs = [
            tf.TensorSpec(array.shape, array.dtype) for array in batches[0]
        ]
        model.step.prepare(tuple(specs), jit_compile)
        model.optimizer.build(model.trainable_variables)
        step = tf.function(
            lambda *batch, step=model.step: step(step.receive(batch)),
            jit_compile=jit_compile,
            input_signature=specs,
        )
        logs = [step(*batch) for batch in batches][-1]
        results.append(np.append(networks.weights(model.network), logs["loss"]))
    np.testing.assert_allclose(*results, 1e-4, 1e-5)


def test_the_attack_writes_nothing():
    model = ca.ConAdvModel(networks.small(), phased_models.attack())
    model.compile(phased_models.sgd(), networks.LOSS)
    before = networks.weights(model.network)
    images, labels = map(tf.constant, networks.batches(1)[0])
    crafted = model.step.attack.craft(
        model.network,
        Batch(images, labels).to_attack(),
        [phased_models.SEED, 0],
    )
    np.testing.assert_array_equal(networks.weights(model.network), before)
    assert not np.allclose(crafted, images)
