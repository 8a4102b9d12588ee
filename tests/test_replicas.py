"""Several replicas, on logical devices of one CPU."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow


def _train(replicas, network, attack, data, method="conadv", **fit_args):
    # A small rate: differences of the last bit grow at a large one.
    lars = functools.partial(models.lars, 0.05)
    model = models.build(
        method, network, attack, lars, seed=3, replicas=replicas
    )
    history = model.fit(data, verbose=0, **fit_args).history
    return networks.weights(model.network), history


def _frozen_batch_norm():
    network = networks.small()
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.trainable = False
    return network


NETWORKS = {
    "none": lambda: networks.linear((6, 6, 1)),
    "frozen": _frozen_batch_norm,
    "synchronized": lambda: networks.small(synchronized=True),
}


# Where statistics are not per replica, two replicas are one with their batch:
# weights, metrics, random starts and targets.
@pytest.mark.parametrize(
    "batch_norm, method",
    [
        ("frozen", "disadv"),
        ("synchronized", "conadv"),
        slow("none", "conadv"),
        slow("none", "disadv"),
        slow("none", "staler"),
        slow("frozen", "conadv"),
        slow("frozen", "staler"),
        slow("synchronized", "disadv"),
        slow("synchronized", "staler"),
    ],
)
def test_two_replicas_equal_one(batch_norm, method):
    network = NETWORKS[batch_norm]()
    # L2, because a sign turns a difference in the last bit into 2 epsilon.
    attack = ca.PGD(0.5, random_start=0.8, norm="l2", targeted="random")
    data = networks.dataset(networks.batches(10))
    (one, one_history), (two, two_history) = (
        _train(replicas, network, attack, data, method, epochs=2)
        for replicas in (1, 2)
    )
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)
    for key, values in one_history.items():
        np.testing.assert_allclose(
            two_history[key], values, rtol=1e-3, atol=1e-3, err_msg=key
        )


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", ["frozen", "synchronized"])
def test_four_replicas_equal_one(batch_norm):
    network = NETWORKS[batch_norm]()
    attack = ca.PGD(0.5, random_start=0.8, norm="l2")
    data = networks.dataset(networks.batches(20))
    one, four = (
        _train(replicas, network, attack, data)[0] for replicas in (1, 4)
    )
    np.testing.assert_allclose(four, one, rtol=1e-4, atol=1e-5)


def test_statistics_are_per_replica_by_default():
    data = networks.dataset(networks.batches(4))
    network = networks.small()
    one, two = (
        _train(replicas, network, ca.FGSM(0.1), data)[0] for replicas in (1, 2)
    )
    assert not np.allclose(one, two, atol=1e-5)


# 20 images in batches of 8: the last batch has 4, two on each replica.
@pytest.mark.slow
def test_a_smaller_last_batch_on_two_replicas():
    images, labels = (
        np.concatenate(values)[:20] for values in zip(*networks.batches(3))
    )
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    network = networks.linear((6, 6, 1))
    one, two = (
        _train(replicas, network, ca.PGD(0.1), data)[0] for replicas in (1, 2)
    )
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["auto", "one_device", "mirrored"])
@pytest.mark.slow
def test_strategy_by_name_trains(name):
    strategy = ca.distribution.strategy(name)
    with strategy.scope():
        model = models.build(network=networks.linear((6, 6, 1)))
    data = networks.dataset(networks.batches(3))
    history = model.fit(data, verbose=0).history
    assert np.isfinite(networks.weights(model.network)).all()
    assert np.isfinite(history["loss"]).all()
    count = strategy.num_replicas_in_sync
    assert count == (4 if name == "mirrored" else 1)
    assert f"{count} replica" in ca.distribution.describe(strategy)


def test_wrong_strategies_are_refused():
    with pytest.raises(ValueError, match="'horovod'"):
        ca.distribution.strategy("horovod")
    with pytest.raises(ValueError, match="'local'"):
        ca.distribution.strategy("tpu")
    with pytest.raises(ValueError, match="tpu='x'.*'mirrored'"):
        ca.distribution.strategy("mirrored", tpu="x")
    with pytest.raises(ValueError, match="num_replicas=2.*'auto'"):
        ca.distribution.strategy("auto", num_replicas=2)
    with pytest.raises(ValueError, match="from 1 to 4.*received 5"):
        ca.distribution.strategy("mirrored", num_replicas=5)
