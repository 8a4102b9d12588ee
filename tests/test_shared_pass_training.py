"""The shared pass: its products, memory, logs, precision and losses."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow
from tools.step import graph_walk
from tools.step.models import batch_specs

STEP = ca.SharedPass(fraction=0.5, replace_clean=False)


def _graph(step):
    model = models.build(step)
    specs = batch_specs(model.network, 8)
    function = model.runner.as_function(specs)
    return function.get_concrete_function(*specs).graph


# Plain training's products and one more: the gradient by the images.
@pytest.mark.parametrize("replaces", [slow(False), True])
def test_one_forward_and_one_backward_pass(replaces):
    plain = _graph("plain")
    shared = _graph(ca.SharedPass(replace_clean=replaces))
    products = graph_walk.count_products(plain)
    assert graph_walk.count_products(shared) == products + 1
    chain = graph_walk.longest_chain(plain)
    assert graph_walk.longest_chain(shared) == chain


def test_epsilon_0_attacks_nothing():
    model = models.build(STEP, attack=ca.PGD(0.0))
    images, labels = networks.batches(1)[0]
    model.train_on_batch(images, labels)
    held = model.runner.buffers.variables()["adversarial"].numpy()
    np.testing.assert_array_equal(held, images[:4])


def test_what_fit_logs():
    model = models.build(STEP, views=2)
    images, labels = networks.batches(1)[0]
    logs = model.train_on_batch((images, images), labels, return_dict=True)
    parts = [
        logs[f"{name}_loss"]
        for name in ("clean", "augmented", "start", "adversarial")
    ]
    np.testing.assert_allclose(
        logs["loss"], np.dot(parts, [1, 1, 0.5, 0.5]) / 3, rtol=1e-5
    )
    assert set(logs) > {"accuracy", "adversarial_accuracy"}


# The loss of a bad step is NaN, and so is its direction: the next attack must
# not inherit it.
@pytest.mark.slow
def test_a_bad_batch_is_skipped_once():
    data = networks.batches(4)
    weights = np.ones([4, 8], np.float32)
    weights[1, 0] = np.nan
    model = models.build(STEP)
    kept = []
    for (images, labels), weight in zip(data, weights):
        model.train_on_batch(images, labels, sample_weight=weight)
        kept.append(networks.weights(model.network))
    np.testing.assert_array_equal(kept[0], kept[1])
    # Its labels are trained on once more, with its weights, as adversarial.
    assert model.skipped_steps == 2
    assert np.isfinite(kept[3]).all() and not np.allclose(kept[2], kept[3])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.slow
def test_low_precision(policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    model = models.build(STEP)
    history = model.fit(
        networks.dataset(networks.batches(4)), epochs=2, verbose=0
    ).history
    assert np.isfinite(history["loss"]).all()
    held = model.runner.buffers.variables()["adversarial"]
    assert held.dtype == tf.float32


def test_binary_loss_schedule_and_last_smaller_batch():
    attack = ca.ScheduledAttack(
        ca.PGD(0.1, random_start=False), lambda step: tf.where(step < 1, 0, 1)
    )
    loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    model = models.build(STEP, networks.small(1), attack, loss=loss)
    images = np.concatenate([x for x, _ in networks.batches(2)])[:11]
    labels = np.arange(11.0)[:, None] % 2
    model.fit(images[:8], labels[:8], batch_size=8, shuffle=False, verbose=0)
    held = model.runner.buffers.variables()["adversarial"].numpy()
    np.testing.assert_array_equal(held, images[:4])
    model.fit(
        images,
        labels,
        batch_size=8,
        class_weight={0: 1.0, 1: 2.0},
        shuffle=False,
        verbose=0,
    )
    assert len(model.runner.buffers.variables()["adversarial"].numpy()) == 2


# A last batch of one image left no clean image, and the step was skipped.
@pytest.mark.parametrize("fraction, size", [(0.25, 9), slow(0.9, 4)])
def test_at_least_one_clean_image_remains(fraction, size):
    model = models.build(ca.SharedPass(fraction=fraction), networks.small())
    images, labels = models.arrays()
    model.fit(images[: 2 * size - 1], labels[: 2 * size - 1], size, verbose=0)
    model.fit(images[: size + 1], labels[: size + 1], size, verbose=0)
    assert model.skipped_steps == 0
