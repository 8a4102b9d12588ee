"""One pass for all parts: what it costs, keeps, takes and refuses."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.steps import lowering
from tests import networks
from tools.step import graph_walk
from tools.step import models


def _model(network=None, attack=None, optimizer=None, loss=None, **kwargs):
    model = ca.ConAdvModel(
        network or networks.small(),
        attack or ca.PGD(0.1),
        **{
            "attack_pass": "shared",
            "adversarial_fraction": 0.5,
            **kwargs,
        },
    )
    model.compile(
        optimizer or tf.keras.optimizers.SGD(0.05),
        loss or networks.LOSS,
        metrics=["accuracy"],
    )
    return model


def _graph(attack, **kwargs):
    network = networks.small()
    model = ca.ConAdvModel(network, attack, **kwargs)
    model.compile(ca.LARS(0.1), networks.LOSS)
    specs = models.batch_specs(network, 8)
    step = lowering.step_function(model, specs)
    return step.get_concrete_function(*specs).graph


# Plain training's products and one more: the gradient by the images.
@pytest.mark.parametrize("replaces", [False, True])
def test_one_forward_and_one_backward_pass(replaces):
    plain = _graph(None)
    shared = _graph(
        ca.PGD(0.1),
        attack_pass="shared",
        adversarial_fraction=0.25,
        start_replaces_clean=replaces,
    )
    products = graph_walk.count_products(plain)
    assert graph_walk.count_products(shared) == products + 1
    chain = graph_walk.longest_chain(plain)
    assert graph_walk.longest_chain(shared) == chain


def test_it_keeps_no_shadow_and_a_part_of_the_batch():
    model = _model(adversarial_fraction=0.25)
    batch = networks.batches(1)[0]
    memory = ca.step_memory(model, batch, compile_step=False)
    images, labels = (array.nbytes for array in batch)
    assert memory.shadow == 0
    assert memory.pending == images // 4 + labels // 4 + 8


def test_epsilon_0_attacks_nothing():
    model = _model(attack=ca.PGD(0.0))
    images, labels = networks.batches(1)[0]
    model.train_on_batch(images, labels)
    held = model.step.buffers.variables()["adversarial"].numpy()
    np.testing.assert_array_equal(held, images[:4])


def test_what_fit_logs():
    model = _model(views=2)
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
def test_a_bad_batch_is_skipped_once():
    data = networks.batches(4)
    weights = np.ones([4, 8], np.float32)
    weights[1, 0] = np.nan
    model = _model()
    kept = []
    for (images, labels), weight in zip(data, weights):
        model.train_on_batch(images, labels, sample_weight=weight)
        kept.append(networks.weights(model.network))
    np.testing.assert_array_equal(kept[0], kept[1])
    # Its labels are trained on once more, with its weights, as adversarial.
    assert model.skipped_steps == 2
    assert np.isfinite(kept[3]).all() and not np.allclose(kept[2], kept[3])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_low_precision(policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    model = _model()
    history = model.fit(
        networks.dataset(networks.batches(4)), epochs=2, verbose=0
    ).history
    assert np.isfinite(history["loss"]).all()
    held = model.step.buffers.variables()["adversarial"]
    assert held.dtype == tf.float32


def test_binary_loss_schedule_and_last_smaller_batch():
    attack = ca.ScheduledAttack(
        ca.PGD(0.1, random_start=False), lambda step: tf.where(step < 1, 0, 1)
    )
    loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    model = _model(networks.small(1), attack, loss=loss)
    images = np.concatenate([x for x, _ in networks.batches(2)])[:11]
    labels = np.arange(11.0)[:, None] % 2
    model.fit(images[:8], labels[:8], batch_size=8, shuffle=False, verbose=0)
    held = model.step.buffers.variables()["adversarial"].numpy()
    np.testing.assert_array_equal(held, images[:4])
    model.fit(
        images,
        labels,
        batch_size=8,
        class_weight={0: 1.0, 1: 2.0},
        shuffle=False,
        verbose=0,
    )
    assert len(model.step.buffers.variables()["adversarial"].numpy()) == 2


# Stopped after an epoch and continued by another model: the pending twins and
# the position in the random numbers come from the checkpoint.
def test_an_interrupted_run_equals_an_uninterrupted_one(tmp_path):
    data = networks.dataset(networks.batches(3))

    def train(epochs, **kwargs):
        tf.keras.utils.set_random_seed(0)
        model = _model(seed=3)
        callbacks = [ca.Checkpoints(tmp_path, **kwargs)] if kwargs else []
        model.fit(data, epochs=epochs, callbacks=callbacks, verbose=0)
        return networks.weights(model.network)

    train(1, restore=False)
    np.testing.assert_array_equal(train(2, restore=True), train(2))


class NoPieces:
    """An attack that crafts, but has no start and no step of its own."""

    value_range = (0.0, 1.0)

    def __call__(self, network, images, labels, seed, loss=None):
        return images


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"attack": None}, "Expected an attack"),
        (
            {"attack": NoPieces()},
            r"initial_points\(images, seed\) and apply_gradient",
        ),
        ({"staleness": 0}, "staleness=1 .* Received 0"),
        ({"staleness": 2}, "staleness=1 .* Received 2"),
        ({"microbatches": 2}, "microbatches=1 .* Received 2"),
        ({"attack": ca.PGD(0.1, num_steps=3)}, "num_steps=1 .* Received 3"),
        (
            {"attack": ca.PGD(0.1, targeted="random")},
            "targeted=None .* Received 'random'",
        ),
        ({"adversarial_weight": 0}, "adversarial_weight > 0"),
        ({"start_replaces_clean": True}, "no clean image"),
        ({"placement": "phased"}, "adversarial_fraction=0.5 .* Received 1"),
        (
            {"attack_pass": "own", "start_replaces_clean": True},
            "received 'own'",
        ),
        ({"attack_pass": "none"}, "one of .* received 'none'"),
    ],
)
def test_what_does_not_go_with_it(arguments, message):
    arguments = {
        "attack": ca.FGSM(0.1),
        "attack_pass": "shared",
        **arguments,
    }
    with pytest.raises(ValueError, match=message):
        ca.ConAdvModel(networks.linear(), **arguments)
