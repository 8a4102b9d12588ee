"""Attacks on a part of each batch: the option `fraction` of a step."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow
from tests.slow_oracle import attack
from tests.slow_oracle import compare


# Of 8 images 4 or 2 are attacked; parts of unequal sizes go through their
# batch norms, split or in one piece under XLA.
@pytest.mark.parametrize(
    "staleness, fraction, views, arguments, jit_compile",
    [
        slow(0, 0.5, 1, {}, False),
        (1, 0.25, 1, {"norm": "l2"}, False),
        slow(3, 0.5, 2, {}, False),
        slow(1, 0.5, 2, {"targeted": "random"}, True),
        (0, 0.25, 1, {}, True),
    ],
)
def test_oracle(staleness, fraction, views, arguments, jit_compile):
    compare(
        networks.small(),
        staleness,
        attack(**arguments),
        20 if staleness == 1 else 6,
        views=views,
        fraction=fraction,
        jit_compile=jit_compile,
    )


def _model(step, network=None, pgd=None, replicas=1):
    return models.build(
        step,
        network,
        pgd,
        lambda: tf.keras.optimizers.SGD(0.1, 0.9),
        replicas=replicas,
        weighted_metrics=["accuracy"],
    )


# A last batch of 3 is attacked with its own share; what fit logs are means
# over each part's own images, and the loss has the parts' shares.
def test_batches_of_any_size_and_their_logs():
    model = _model(ca.Concurrent(fraction=0.34))
    images = np.concatenate([x for x, _ in networks.batches(2)])[:11]
    labels = np.arange(11) % 3
    weights = np.linspace(0.5, 1.5, 11)
    history = model.fit(
        images, labels, 8, sample_weight=weights, epochs=3, verbose=0
    ).history
    assert model.runner.buffers.variables()["adversarial"].shape[0] is None
    # 8 and 3 images; 3 and 1 of them attacked.
    clean, adversarial = history["clean_loss"], history["adversarial_loss"]
    assert np.isfinite([*clean, *adversarial]).all()
    model = _model(ca.Concurrent(fraction=0.34))
    logs = model.train_on_batch(images, labels, return_dict=True)
    np.testing.assert_allclose(
        logs["loss"],
        (logs["clean_loss"] + logs["adversarial_loss"]) / 2,
        rtol=1e-5,
    )


# One image at least, a rounded number of them.
@pytest.mark.parametrize(
    "size, fraction, count",
    [slow(8, 0.25, 2), slow(10, 0.25, 2), (10, 0.26, 3)],
)
def test_number_of_attacked_images(size, fraction, count):
    model = _model(ca.Concurrent(fraction=fraction))
    images, labels = networks.batches(1, size=size)[0]
    model.train_on_batch(images, labels)
    held = model.runner.buffers.variables()["adversarial"].numpy()
    assert len(held) == count
    assert (np.abs(held - images[:count]).reshape(count, -1).max(1) > 0).all()


# Frozen statistics: replicas share nothing else. Here the first
# images of the replicas are interleaved into the first images of one.
@pytest.mark.parametrize(
    "step",
    [
        slow(ca.Sequential(fraction=0.5)),
        slow(ca.Concurrent(fraction=0.5)),
        slow(ca.SharedPass(fraction=0.5, replace_clean=False)),
        ca.SharedPass(fraction=0.5),
    ],
    ids=str,
)
def test_two_replicas_equal_one(step):
    network = networks.small()
    network.trainable = False
    network.layers[-1].trainable = network.layers[1].trainable = True
    pgd = ca.PGD(0.1, random_start=False, norm="l2")
    data = networks.batches(4)
    two = _model(step, network, pgd, replicas=2)
    two.fit(networks.dataset(data), verbose=0)
    order = [0, 1, 4, 5, 2, 3, 6, 7]
    one = _model(step, network, pgd)
    one.fit(
        networks.dataset([(x[order], y[order]) for x, y in data]), verbose=0
    )
    networks.assert_same_weights(one, two, 1e-5, 1e-6)


@pytest.mark.parametrize("step_class", [ca.Sequential, ca.Concurrent])
def test_less_than_an_image(step_class):
    step = step_class(fraction=0.1)
    model = models.build(step, networks.linear(), jit_compile=True)
    images, labels = networks.batches(1, shape=(2, 2, 1))[0]
    with pytest.raises(ValueError, match="replica receives 8 image.* to 0.13"):
        model.fit(images, labels, 8, verbose=0)
