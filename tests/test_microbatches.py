"""Several micro-batches per update against as many replicas."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks


def _model(network, attack, staleness, **kwargs):
    model = ca.ConAdvModel(network, attack, staleness, seed=5, **kwargs)
    # Small rate, L2 attack: differences of the last bit grow otherwise.
    model.compile(
        ca.LARS(0.05, weight_decay=1e-4), networks.LOSS, metrics=["accuracy"]
    )
    return model


def _attack(**kwargs):
    return ca.PGD(0.1, norm="l2", random_start=0.8, **kwargs)


def _train_replicas(network, attack, staleness, batches, replicas=4):
    strategy = ca.distribution.strategy("mirrored", num_replicas=replicas)
    with strategy.scope():
        model = _model(network, attack, staleness)
    model.fit(networks.dataset(batches), verbose=0)
    return model


def _micro(batches, microbatches=4):
    """The same images in the same order, a part of a batch at a time."""
    size = len(batches[0][0]) // microbatches
    return networks.dataset(batches).unbatch().batch(size, drop_remainder=True)


# Batch norm statistics and attacks of each replica, one update: the weights
# and moving statistics of as many replicas. Replicas train on the first batch
# twice, first unperturbed, because attacks run ahead; micro-batches do not run
# ahead, so they get the first batch twice.
@pytest.mark.parametrize(
    "staleness, attack, count",
    [
        pytest.param(0, _attack(), 4, id="disadv", marks=pytest.mark.slow),
        pytest.param(1, _attack(), 2, id="conadv"),
        pytest.param(3, _attack(), 4, id="staler", marks=pytest.mark.slow),
        pytest.param(None, None, 2, id="baseline"),
    ],
)
def test_microbatches_equal_replicas(staleness, attack, count):
    batches = networks.batches(5, size=8)
    network = networks.small()
    expected = _train_replicas(network, attack, staleness, batches, count)
    if expected.stale_network is not None:
        batches = [batches[0], *batches[:-1]]
    model = _model(network, attack, staleness, microbatches=count)
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
    attack = _attack(targeted="random")
    expected = _train_replicas(network, attack, 0, batches)
    model = _model(network, attack, 0, microbatches=4)
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
    expected = _train_replicas(network, _attack(), 0, batches)
    with ca.distribution.strategy("mirrored", num_replicas=2).scope():
        model = _model(network, _attack(), 0, microbatches=2)
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
    model = ca.ConAdvModel(
        networks.small(), _attack(), step=ca.Concurrent(microbatches=2)
    )
    model.compile(ca.LARS(0.05), networks.LOSS, **arguments)
    before = networks.weights(model.network)
    for images, labels in networks.batches(2, size=4):
        np.testing.assert_array_equal(before, networks.weights(model.network))
        model.train_on_batch(images, labels)
    assert not np.allclose(before, networks.weights(model.network))


# An epoch that ends in the middle of an update: the next epoch completes it,
# and the next `fit` begins anew.
def test_updates_over_the_end_of_an_epoch():
    model = _model(networks.small(), None, None, microbatches=4)
    data = networks.dataset(networks.batches(6, size=2))
    model.fit(data, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 3
    model.fit(data, verbose=0)
    assert int(model.optimizer.iterations) == 4
    model.fit(data.unbatch().batch(2).take(2), verbose=0)
    assert int(model.optimizer.iterations) == 4


def test_errors():
    network = networks.small()
    for wrong in (0, 2.0, True):
        with pytest.raises(ValueError, match=f"received {wrong!r}"):
            ca.ConAdvModel(
                network, _attack(), step=ca.Concurrent(microbatches=wrong)
            )
    model = ca.ConAdvModel(network, None, step=ca.Plain(microbatches=2))
    with pytest.raises(ValueError, match="steps_per_execution=1.*received 3"):
        model.compile("sgd", networks.LOSS, steps_per_execution=3)


def test_save_and_load(tmp_path):
    model = _model(networks.small(), _attack(), 1, microbatches=2)
    model.fit(networks.dataset(networks.batches(4)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    loaded.fit(networks.dataset(networks.batches(4)), verbose=0)
    assert int(loaded.optimizer.iterations) == 4
