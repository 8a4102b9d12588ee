"""Rotating roles: skipped updates, resuming, compilation, memory, errors."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.steps import Batch
from tests import models
from tests import networks
from tests import resumable
from tests import rotating_roles_models
from tests.rotating_roles_oracle import FIRST_UPDATE

SIZE = 3 * rotating_roles_models.SHARE


# At zero gradients LARS decays weights, and a loss scale grows.
@pytest.mark.slow
def test_no_update_before_all_have_data():
    model = rotating_roles_models.build(
        3,
        optimizer=lambda: tf.keras.mixed_precision.LossScaleOptimizer(
            ca.LARS(0.5, weight_decay=0.1),
            initial_scale=8.0,
            dynamic_growth_steps=3,
        ),
    )
    data = networks.dataset(networks.batches(FIRST_UPDATE, size=SIZE))
    before = networks.weights(model.network)
    model.fit(data, verbose=0)
    np.testing.assert_array_equal(networks.weights(model.network), before)
    assert model.optimizer.iterations.numpy() == model.skipped_steps == 0
    assert float(model.optimizer.loss_scale) == 8.0
    # A reset empties the buffers.
    model.reset_pending()
    model.fit(data, verbose=0)
    np.testing.assert_array_equal(networks.weights(model.network), before)
    # An epoch without a loss, then one with: nothing diverges.
    model.reset_pending()
    model.fit(data, epochs=2, verbose=0)
    assert model.optimizer.iterations.numpy() == FIRST_UPDATE
    assert not np.allclose(networks.weights(model.network), before, 1e-4)


# A NaN on one replica stops the updates in which it has a part: adversarial
# and clean.
@pytest.mark.slow
def test_a_gradient_that_is_not_finite():
    steps, skipped = 12, (7, 8)
    images, labels = (
        np.concatenate(part)
        for part in zip(*networks.batches(steps, size=SIZE))
    )
    weights = np.ones(len(images), np.float32)
    # Replica 0 attacks it in step 6.
    weights[3 * SIZE] = np.nan
    data = tf.data.Dataset.from_tensor_slices((images, labels, weights))
    model = rotating_roles_models.build(3)
    watch = rotating_roles_models.Watch()
    data = data.batch(SIZE, drop_remainder=True)
    model.fit(data, callbacks=[watch], verbose=0)
    assert model.skipped_steps == len(skipped)
    assert model.first_skipped_step == skipped[0] - FIRST_UPDATE
    assert model.optimizer.iterations.numpy() == steps - FIRST_UPDATE
    for step in range(FIRST_UPDATE + 1, steps):
        same = all(
            np.array_equal(old, new)
            for both in zip(*watch.seen[step - 1 : step + 1])
            for old, new in zip(*both)
        )
        assert same == (step in skipped), step
    assert np.isfinite(networks.weights(model.network)).all()


# Before the first update, and after it.
@pytest.mark.parametrize("stop_at", [4, 9])
@pytest.mark.slow
def test_continued_equals_uninterrupted(stop_at, tmp_path):
    network = networks.linear((6, 6, 1))
    batches = networks.batches(13, size=SIZE)

    def train(first, *callbacks):
        model = rotating_roles_models.build(3, network)
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
    networks.assert_same_weights(continued, whole)
    assert continued.history.history == whole.history.history


@pytest.mark.slow
def test_several_steps_in_one_call():
    data = networks.dataset(networks.batches(12, size=SIZE))
    network = networks.small()
    once = rotating_roles_models.build(3, network)
    several = rotating_roles_models.build(3, network, steps_per_execution=4)
    for model in (once, several):
        model.fit(data, verbose=0)
    networks.assert_same_weights(several, once, 1e-5, 1e-6)
    images, labels = networks.batches(1, size=SIZE)[0]
    assert np.isfinite(once.evaluate(images, labels, verbose=0)).all()


# A single replica plays all roles by itself: nothing to train with, but all
# there is for XLA to compile.
@pytest.mark.slow
def test_xla_compiles_the_step():
    network, results = networks.small(), []
    batches = networks.batches(9, size=rotating_roles_models.SHARE)
    specs = tuple(
        tf.TensorSpec(array.shape, array.dtype) for array in batches[0]
    )
    for jit_compile in (False, True):
        model = rotating_roles_models.build(1, network, jit_compile=jit_compile)
        step = model.runner.as_function(specs)
        logs = [step(*map(tf.constant, batch)) for batch in batches][-1]
        results.append(np.append(networks.weights(model.network), logs["loss"]))
    np.testing.assert_allclose(*results, 1e-4, 1e-5)


def test_the_attack_writes_nothing():
    model = models.build(attack=rotating_roles_models.attack())
    before = networks.weights(model.network)
    images, labels = map(tf.constant, networks.batches(1)[0])
    adversarial = model.runner.attack.generate(
        model.network, Batch(images, labels).attacked_sub_batch(), [7, 0]
    )
    np.testing.assert_array_equal(networks.weights(model.network), before)
    assert not np.allclose(adversarial, images)


def test_training_that_does_not_fit():
    def build(replicas, **arguments):
        network = networks.linear((6, 6, 1))
        return rotating_roles_models.build(replicas, network, **arguments)

    data = networks.dataset(networks.batches(2))
    with pytest.raises(ValueError, match="multiple of 3.*received 4"):
        build(4).fit(data, verbose=0)
    images, labels = networks.batches(1, size=9)[0]
    ragged = tf.data.Dataset.from_tensor_slices((images, labels)).batch(6)
    with pytest.raises(ValueError, match="drop_remainder=True"):
        build(3).fit(ragged, verbose=0)
    loss = tf.keras.losses.MeanSquaredError(reduction="sum")
    with pytest.raises(ValueError, match="received reduction='sum'"):
        build(3, loss=loss)
